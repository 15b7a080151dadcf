"""Write the pipeline for Kubeflow as YAML, with the values of params.yaml as the defaults of its run inputs."""

import argparse
import sys
from pathlib import Path

from components.errors import Exit
from components.fetch import digest_at
from components.settings import Params
from pipeline import options as shared
from pipeline.cluster import Cluster, elsewhere
from pipeline.inputs import put
from pipeline.shape import Shape, shape_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compile`."""
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="YAML file to write")
    shared.arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Run `compile`."""
    from pipeline.kubeflow import compile_pipeline

    cluster = shared.cluster_of(options)
    params, shape = planned(shared.params_of(options), cluster)
    compile_pipeline(params, shape, cluster, options.output)
    print(f"{options.output}: the pipeline, with the settings of {options.params} as its run inputs")
    return Exit.OK


def planned(params: Params, cluster: Cluster, pinned: bool = False) -> tuple[Params, Shape]:
    """The settings as the cluster wants them, and the graph that they ask for; what it leaves out is said.

    pinned: fetch.digest is filled in where it is empty, so that Kubeflow's cache goes by the bytes of the data.
    """
    there = Params(elsewhere(params.values, cluster), f"{params.origin} with params of the cluster")
    there.check()
    repository, rev, path = (there.setting(f"fetch.{name}") for name in ("repository", "rev", "path"))
    if pinned and repository and not there.setting("fetch.digest"):
        put(there.values, "fetch.digest", digest_at(repository, rev, path))
    shape = shape_of(there, cluster)
    for note in notes(there, cluster):
        print(f"warning: {note}", file=sys.stderr)
    return there, shape


def notes(params: Params, cluster: Cluster) -> list[str]:
    """What a run on this cluster will not do, and why."""
    found = []
    if not params.setting("runtime.tracking"):
        found.append("runs are not tracked: mlflow.uri names no server, mlflow.plugin is off")
    registry = str(params.setting("promote.registry"))
    if not cluster.sees(registry) and params.setting("promote.when") != "never":
        found.append(f"no model is published: pods do not share {registry}; "
                     "set params.promote.registry to s3://bucket/prefix or a folder of one of pods.volumes")
    work = str(params.setting("runtime.work"))
    if not cluster.sees(work):
        found.append(f"a lost pod begins anew: pods do not share {work} (params.runtime.work)")
    return found
