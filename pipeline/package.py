"""The compiled pipeline as it is handed to a server: its bytes, what they are called, and the settings in them."""

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.settings import Params
from components.storage.digests import file_digest
from components.tracking.keys import git_commit
from pipeline.cluster import Cluster, load_cluster
from pipeline.inputs import own_source, run_inputs


@dataclass(frozen=True)
class Package:
    """A compiled pipeline. digest: SHA-256 of the file; commit: "" outside git; inputs: of a run, by name."""

    file: Path
    digest: str
    commit: str
    inputs: dict[str, Any]

    def version(self, pipeline: str) -> str:
        """The name of its version: equal names mean equal bytes. It may name an object in Kubernetes, too."""
        return f"{pipeline}-{self.commit[:12] or 'no-commit'}-{self.digest[:12]}"

    @property
    def tags(self) -> dict[str, str]:
        """What a server may list versions by; at most 63 characters each."""
        return {"commit": self.commit or "none", "digest": self.digest[:32]}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what is compiled."""
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a setting")
    parser.add_argument("--cluster", type=Path, default=Path("infra/kubeflow.yaml"), metavar="FILE",
                        help="the cluster's facts (default: infra/kubeflow.yaml)")
    parser.add_argument("--cluster-set", action="append", default=[], metavar="NAME=VALUE", help="override one of them")
    parser.add_argument("--image", metavar="NAME", help="image of all tasks, by digest or with its commit as tag")


def cluster_of(options: argparse.Namespace) -> Cluster:
    """The cluster's facts, as the options override them."""
    image = [f"image.name={options.image}"] if getattr(options, "image", None) else []
    return load_cluster(options.cluster, [*options.cluster_set, *image])


def package_of(params: Params, cluster: Cluster, folder: Path) -> Package:
    """Compile the pipeline into a folder."""
    from pipeline.kubeflow import compile_pipeline

    refuse_unseen(params, cluster)
    file, inputs = folder / "pipeline.yaml", run_inputs(params)
    compile_pipeline(inputs, own_source(params), file, cluster.parallelism)
    return Package(file, file_digest(file), git_commit(), inputs)


def refuse_unseen(params: Params, cluster: Cluster) -> None:
    """UserError for images in a folder of this machine only."""
    source = own_source(params)
    seen = source is None or "://" in source or any(
        Path(source).is_relative_to(volume.path) for volume in cluster.pods.volumes)
    if not seen:
        raise UserError(f"data.path is {source}, which pods do not see",
                        "give an address (--set data.path=s3://bucket/images) or a folder of one of pods.volumes")


def changed_files() -> int:
    """How many files of the working copy differ from its commit; 0 outside git."""
    asked = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=30, check=False)
    return len(asked.stdout.splitlines()) if asked.returncode == 0 else 0
