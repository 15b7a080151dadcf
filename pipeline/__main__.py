"""`python -m pipeline COMMAND`: the pipeline for Kubeflow, compiled, run here, or submitted to a cluster."""

import argparse
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from components.cli import Parser, guarded, report
from components.errors import Exit
from components.settings import Params
from pipeline.containers import refuse_failures, started_with
from pipeline.inputs import own_source, put, run_inputs

# Commands in modules of their own: name -> (module with `arguments(parser)` and `command(options)`, one line of help).
COMMANDS = {
    "submit": ("pipeline.submit", "start a run on Kubeflow, or find the one that is under way"),
    "schedule": ("pipeline.schedule", "have Kubeflow start runs again and again"),
    "status": ("pipeline.status", "tell what the tasks of a run do, or which runs there were"),
    "logs": ("pipeline.logs", "print what the tasks of a run have written"),
    "stop": ("pipeline.stop", "end a run"),
    "argo": ("pipeline.argo", "write the pipeline for Argo Workflows as YAML"),
    "services": ("pipeline.services.command", "run MLflow on PostgreSQL, an S3 store and Redis on this machine"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return guarded(lambda: dispatch(given), debug="--debug" in given)


def dispatch(given: list[str]) -> int:
    """Find the command and run it."""
    options = parser().parse_args(given)
    return int(options.run(options))


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    whole = Parser(prog="stillhouse pipeline", description="The pipeline for Kubeflow, here and on a cluster.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    compiling = commands.add_parser("compile", help="write the pipeline as YAML")
    compiling.add_argument("--output", type=Path, required=True, metavar="FILE", help="YAML file to write")
    compiling.set_defaults(run=compile_command)
    running = commands.add_parser("run-local", help="compile, then run the compiled file on this machine")
    running.add_argument("--output-folder", type=Path, default=Path(".stillhouse/kubeflow"), metavar="FOLDER",
                         help="where artifacts go (default: .stillhouse/kubeflow)")
    running.add_argument("--runner", choices=("process", "docker"), default="process",
                         help="where tasks run: in processes, or in containers of the image (default: process)")
    running.set_defaults(run=run_command)
    for command, parallelism in ((compiling, 0), (running, 1)):
        command.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                             help="settings (default: params.yaml)")
        command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a setting")
        command.add_argument("--parallelism", type=int, default=parallelism, metavar="N",
                             help=f"teachers trained at once, 0 for all (default: {parallelism})")
    for name, (module, text) in COMMANDS.items():
        imported = import_module(module)
        command = commands.add_parser(name, help=text, description=(imported.__doc__ or "").strip())
        imported.arguments(command)
        command.set_defaults(run=imported.command)
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return whole


def compile_command(options: argparse.Namespace) -> int:
    """Write the YAML."""
    write_pipeline(Params.load(options.params, options.set), options.output, options.parallelism)
    print(f"{options.output}: the pipeline, with the settings of {options.params} as its run inputs")
    return Exit.OK


def write_pipeline(params: Params, output: Path, parallelism: int) -> None:
    """Compile the pipeline with the values of params.yaml; local folders of images get their absolute path."""
    from pipeline.kubeflow import compile_pipeline

    source = own_source(params)
    if source is not None and "://" not in source:
        source = str(Path(source).absolute())
    compile_pipeline(run_inputs(params), source, output, parallelism)


def run_command(options: argparse.Namespace) -> int:
    """Run the compiled pipeline here; what a step keeps besides its artifacts goes below the output folder too."""
    from pipeline.kubeflow import run_here

    root = options.output_folder.absolute()
    here = [f"runtime.reports={root / 'reports'}", f"runtime.work={root / 'work'}", f"runtime.cache={root / 'cache'}"]
    compiled = root / "pipeline.yaml"
    params = Params.load(options.params, [*here, *options.set])
    name_registry_whole(params)
    write_pipeline(params, compiled, options.parallelism)
    os.environ.setdefault("STILLHOUSE_RUN", f"kubeflow {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}")
    containers = started_with(root, params, os.environ) if options.runner == "docker" else None
    try:
        folder = run_here(compiled, root, containers)
        refuse_failures(root)
    except RuntimeError as error:
        report(f"the run of {compiled} failed: {error}", "the failed task's own words are above")
        return Exit.USER
    metrics = (folder / "evaluate" / "metrics").read_text(encoding="utf-8")
    # Not print: kfp.local replaces it while tasks run, and with parallel tasks does not always put it back.
    sys.stdout.write(f"{metrics}artifacts: {folder}\nreport:    {folder / 'evaluate' / 'report'}\n")
    return Exit.OK


def name_registry_whole(params: Params) -> None:
    """Tasks may run in another working folder."""
    registry = str(params.setting("promote.registry"))
    if "://" not in registry:
        put(params.values, "promote.registry", str(Path(registry).absolute()))


if __name__ == "__main__":
    sys.exit(main())
