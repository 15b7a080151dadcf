"""Compile the pipeline for Kubeflow, then run the compiled file on this machine, without a cluster."""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from components.cli import report
from components.errors import Exit
from components.settings import Params
from pipeline import options as shared
from pipeline.cluster import Cluster, Image, Pods
from pipeline.containers import refuse_failures, started_with
from pipeline.inputs import put
from pipeline.shape import Shape, shape_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run-local`."""
    parser.add_argument("--output-folder", type=Path, default=Path(".stillhouse/kubeflow"), metavar="FOLDER",
                        help="where artifacts go (default: .stillhouse/kubeflow)")
    parser.add_argument("--runner", choices=("process", "docker"), default="process",
                        help="where tasks run: in processes, or in containers of the image (default: process)")
    parser.add_argument("--promote", action="store_true",
                        help="publish a model that passes the gate in promote.registry (default: never)")
    shared.arguments(parser)
    parser.set_defaults(parallelism=1)


def command(options: argparse.Namespace) -> int:
    """Run `run-local`; what a step keeps besides its artifacts goes below the output folder too."""
    from pipeline.kubeflow import compile_pipeline, run_here

    root = options.output_folder.absolute()
    params, cluster = settings_here(shared.params_of(options), root), cluster_here(shared.cluster_of(options), root)
    compiled = root / "pipeline.yaml"
    compile_pipeline(params, shape_here(params, cluster, options.promote), cluster, compiled)
    os.environ.setdefault("STILLHOUSE_RUN", f"kubeflow {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}")
    containers = started_with(root, params, os.environ) if options.runner == "docker" else None
    try:
        folder = run_here(compiled, root, containers)
        refuse_failures(root)
    except RuntimeError as error:
        report(f"the run of {compiled} failed: {error}", "the failed task's own words are above")
        return Exit.USER
    return told(folder)


def settings_here(params: Params, root: Path) -> Params:
    """The settings with folders named whole: tasks run in another working folder."""
    for name in ("reports", "work", "cache"):
        put(params.values, f"runtime.{name}", str(root / name))
    registry = str(params.setting("promote.registry"))
    if "://" not in registry:
        put(params.values, "promote.registry", str(Path(registry).absolute()))
    return params


def cluster_here(cluster: Cluster, root: Path) -> Cluster:
    """Of the cluster's facts those that hold on this machine: image, retries, teachers at once."""
    found = Cluster(image=Image(name=cluster.image.name), retries=cluster.retries, parallelism=cluster.parallelism)
    return found.model_copy(update={"pods": Pods(outcomes=str(root / "outcomes"))})  # seen by all, and no claim's


def shape_here(params: Params, cluster: Cluster, promote: bool) -> Shape:
    """The graph, which publishes only if asked to: a trial run should not change what is served."""
    return replace(shape_of(params, cluster), publish=params.setting("promote.when") if promote else "never")


def told(folder: Path) -> int:
    """Say what came of a run, and the exit code that says it to machines.

    Not print: kfp.local replaces it while tasks run, and with parallel tasks does not always put it back.
    """
    metrics = folder / "evaluate" / "metrics"
    if not metrics.exists():
        sys.stdout.write(f"artifacts: {folder}\nreport:    {folder / 'validate' / 'report'}\n")
        report("the images are not fit to be learnt from", f"the report names them: {folder / 'validate' / 'report'}")
        return Exit.USER
    sys.stdout.write(f"{metrics.read_text(encoding='utf-8')}artifacts: {folder}\n"
                     f"report:    {folder / 'evaluate' / 'report'}\nsummary:   {folder / 'report' / 'summary'}\n")
    return Exit.OK
