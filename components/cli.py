"""`stillhouse STEP ...`: the command line, derived from the signatures of the steps; imports only what is asked for."""

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from components.errors import Exit, Terminated, UsageError, UserError

if TYPE_CHECKING:
    from components.contract import Step
    from components.settings import Params

HELP = {"input": "path to read", "inputs": "folder of artifacts by name", "output": "path to write"}
SYSTEM = {
    errno.ENOSPC: "make room on that disk, then run the same command again",
    errno.EDQUOT: "make room within your quota, then run the same command again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), then run the same command again",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "give this user the right to read or write there",
}
STEPS_NOTE = "steps (settings come from params.yaml, artifacts from the options)"

# Commands that are no steps: name -> (module with `arguments(parser)` and `command(options)`, one line of help).
COMMANDS = {
    "init": ("components.commands.init", "make a repository of your own for your images, or upgrade it"),
    "trace": ("components.commands.trace", "walk from an artifact back to the images it was made from"),
    "summary": ("components.commands.summary", "print the table of the trained models, or the structure of one"),
    "publish": ("components.commands.publish", "make a model that passed the gate the latest of a registry"),
    "pull-model": ("components.commands.pull_model", "copy a published model here, or tell what is published"),
    "profile": ("components.commands.profile", "tell the size, work and speed of networks beside each other"),
    "track": ("components.commands.track", "send to MLflow what was kept while it was away"),
    "audit": ("components.commands.audit", "rank the given labels that models doubt"),
    "store": ("components.commands.store", "tell what is in a store, verify it, or tell two apart"),
    "ensemble": ("components.commands.ensemble", "make one of several models' words: votes, or means of probabilities"),
    "thresholds": ("components.commands.thresholds",
                   "find from which probability on a prediction may be acted on without a person"),
    "exchange": ("components.commands.exchange", "write or read probabilities, labels and weights as lines of text"),
    "suggest": ("components.commands.suggest", "rank the images that are most worth a label"),
    "compare-data": ("components.commands.compare_data", "tell what changed between two Datasets and if it matters"),
    "tune": ("components.commands.tune", "measure how fast a section trains in each way, for params.yaml"),
    "preview": ("components.commands.preview", "show samples as a training will show them to its network"),
    "range-test": ("components.commands.range_test", "find a learning rate: let it climb and watch the loss"),
    "schema": ("components.commands.schema", "write the JSON schema and the reference page of params.yaml"),
    "convert": ("components.commands.convert", "write a data set that is arrays (MNIST, CIFAR, ...) as images"),
    "lists": ("components.commands.lists", "write list files or a manifest of images, splits and labels"),
    "ended": ("components.commands.ended", "tell how a run on Argo Workflows ended: its exit handler"),
}


# What a step can say before it runs: step -> the same, run by `stillhouse STEP --plan`.
PLANS = {
    "teach": ("components.commands.plan", "say how large the store becomes and what a budget buys"),
}


class Parser(argparse.ArgumentParser):
    """A parser that says what to type next."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing a page."""
        raise UsageError(message, f"{self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return guarded(lambda: dispatch(given), debug="--debug" in given)


def guarded(work: Callable[[], int], debug: bool = False) -> int:
    """Do some work and return its exit code; what goes wrong is told in a line of cause and one of remedy."""
    try:
        return work()
    except (Exception, Terminated, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place that ends a program
        if debug:
            traceback.print_exc()
        return explained(error)


def explained(error: BaseException) -> int:
    """Tell what went wrong, and return the exit code that says it to machines."""
    again = "run the same command again to go on"
    match error:
        case UserError():
            report(error.cause, error.remedy)
            return error.exit_code
        case Terminated():
            report("terminated; finished work is kept", again)
            return Exit.TERMINATED
        case KeyboardInterrupt():
            report("interrupted; finished work is kept", again)
            return Exit.INTERRUPTED
        case BrokenPipeError():  # who read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.OK
        case OSError(errno=number) if number in SYSTEM:
            report(f"{error.filename or 'a file'}: {error.strerror}", SYSTEM[number])
            return Exit.USER
    report(f"internal error: {type(error).__name__}: {error}", "run again with --debug for the traceback")
    return Exit.INTERNAL


def report(cause: str, remedy: str) -> None:
    """Two lines on stderr: what is wrong, and what to do."""
    print(f"stillhouse: {cause}", file=sys.stderr)
    if remedy:
        print(f"  remedy: {remedy}", file=sys.stderr)


def dispatch(arguments: list[str]) -> int:
    """Find the step or command and run it."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return Exit.OK
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"stillhouse {version('stillhouse')}")
        return Exit.OK
    name, *rest = arguments
    if name in COMMANDS:
        return run_command(name, COMMANDS[name], rest)
    if name in PLANS and "--plan" in rest:
        return run_command(f"{name} --plan", PLANS[name], [one for one in rest if one != "--plan"])
    return run_from_line(name, rest)


def overview() -> str:
    """The page that `stillhouse --help` prints."""
    from components.contract import STEPS

    lines = ["usage: stillhouse NAME [options]      stillhouse NAME --help tells the options", "", f"{STEPS_NOTE}:"]
    lines += [f"  {name:<12} {text}" for name, text in STEPS.items()]
    lines += ["", "commands:"] + [f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()]
    lines += ["", "For clusters: stillhouse pipeline --help.",
              "The whole pipeline: dvc repro.   Settings: params.yaml, explained in docs/params.md.",
              "Exit codes: 0 done, 1 settings or data, 2 usage, 70 a defect, 75 try again, 143 terminated."]
    return "\n".join(lines)


def run_command(name: str, entry: tuple[str, str], rest: list[str]) -> int:
    """Run a command that is no step. entry: its module, and one line of help."""
    module, text = entry
    imported = import_module(module)
    parser = Parser(prog=f"stillhouse {name}", description=text)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    imported.arguments(parser)
    command: Callable[[argparse.Namespace], None] = imported.command
    command(parser.parse_args(rest))
    return Exit.OK


def run_from_line(name: str, rest: list[str]) -> int:
    """Run a step from command-line arguments."""
    from components import contract, pin
    from components.settings import Params
    from components.signals import die_with_parent

    step = contract.load_step(name)
    options = step_parser(step).parse_args(rest)
    params = Params.load(options.params, options.set)
    section = getattr(options, "section", None) or name
    pin.refuse_other_code(options.params.parent, section)
    if step.settings is not type(params.section(section)):
        raise UsageError(f"{name} cannot read section {section}", f"expected {step.sections()}")
    if "DVC_STAGE" in os.environ:
        die_with_parent()
    paths = given_paths(step, options, params)
    facts = contract.run_step(step, params.section(section), section, paths)
    if options.json:
        print(json.dumps(facts, indent=1))
    return Exit.OK


def step_parser(step: "Step") -> Parser:
    """The options of a step: its ports, and what every step takes."""
    parser = Parser(prog=f"stillhouse {step.name}", description=(step.function.__doc__ or "").strip())
    if step.sections() != step.name:
        parser.add_argument("section", help=f"section of params.yaml: {step.sections()}")
    for name, port in step.ports.items():
        text = HELP[port.kind] + (f" (default: {port.setting} of params.yaml)" if port.setting else "")
        parser.add_argument(f"--{name}", type=Path, required=not port.setting, metavar="PATH", help=text)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a setting, e.g. student.epochs=3")
    parser.add_argument("--json", action="store_true", help="print the facts of the run as JSON")
    if step.name in PLANS:
        parser.add_argument("--plan", action="store_true", help=f"do not run, but {PLANS[step.name][1]}; its options: "
                            f"stillhouse {step.name} --plan --help")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def given_paths(step: "Step", options: argparse.Namespace, params: "Params") -> dict[str, Path]:
    """The path of every port, from the options or from the setting that supplies it."""
    paths = {}
    for name, port in step.ports.items():
        given = getattr(options, name)
        paths[name] = given if given is not None else Path(params.setting(port.setting))
    return paths


if __name__ == "__main__":
    sys.exit(main())
