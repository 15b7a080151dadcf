"""`python -m pipeline COMMAND`: the pipeline for Kubeflow, compiled, run here, or submitted to a cluster."""

import argparse
import sys
from importlib import import_module

from components.cli import Parser, guarded

# name -> (module with `arguments(parser)` and `command(options)`, one line of help).
COMMANDS = {
    "compile": ("pipeline.compiling", "write the pipeline as YAML"),
    "run-local": ("pipeline.run_local", "compile, then run the compiled file on this machine"),
    "reference": ("pipeline.reference", "write the schema and the page of infra/kubeflow.yaml"),
    "submit": ("pipeline.submit", "start a run on Kubeflow, or find the one that is under way"),
    "schedule": ("pipeline.schedule", "have Kubeflow start runs again and again"),
    "status": ("pipeline.status", "tell what the tasks of a run do, or which runs there were"),
    "logs": ("pipeline.logs", "print what the tasks of a run have written"),
    "stop": ("pipeline.stop", "end a run"),
    "retrain": ("pipeline.retrain", "decide whether to train again, do it, and compare with the champion"),
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
    for name, (module, text) in COMMANDS.items():
        imported = import_module(module)
        command = commands.add_parser(name, help=text, description=(imported.__doc__ or "").strip())
        imported.arguments(command)
        command.set_defaults(run=imported.command)
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return whole


if __name__ == "__main__":
    sys.exit(main())
