"""What every command that compiles the pipeline is told: settings, the cluster's facts, the image."""

import argparse
import os
from pathlib import Path

from components.settings import Params
from pipeline.cluster import Cluster, load_cluster


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a setting")
    cluster_arguments(parser)
    parser.add_argument("--image", default=os.environ.get("STILLHOUSE_IMAGE", ""), metavar="NAME",
                        help="image of all tasks (default: $STILLHOUSE_IMAGE, or the cluster's image.name)")
    parser.add_argument("--parallelism", type=int, metavar="N",
                        help="teachers trained at once, 0 for all (default: the cluster's parallelism)")


def cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of the cluster's facts alone."""
    parser.add_argument("--cluster", type=Path, default=Path("infra/kubeflow.yaml"), metavar="FILE",
                        help="the cluster's facts (default: infra/kubeflow.yaml)")
    parser.add_argument("--cluster-set", action="append", default=[], metavar="NAME=VALUE", help="override one of them")


def params_of(options: argparse.Namespace) -> Params:
    """The settings."""
    return Params.load(options.params, options.set)


def cluster_of(options: argparse.Namespace) -> Cluster:
    """The cluster's facts, as the options override them."""
    overrides = list(options.cluster_set)
    overrides += [f"image.name={options.image}"] if options.image else []
    overrides += [f"parallelism={options.parallelism}"] if options.parallelism is not None else []
    return load_cluster(options.cluster, overrides)
