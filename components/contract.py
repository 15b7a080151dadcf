"""What a step is: a function of settings and artifacts, and how one is run.

A step is an ordinary function: settings first, then artifacts by keyword, nothing returned. Running one takes its
locks, verifies its inputs, gives it private paths to write to, and seals and renames what it wrote, or leaves nothing.
"""

import inspect
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

from components.errors import Terminated, UsageError, UserError
from components.settings import Runtime, Settings, near
from components.signals import on_sigterm
from components.storage import atomic, receipts
from components.storage.digests import file_digest, signature, tree_digests, value_digest
from components.storage.locks import locked
from components.tracking.runs import child_run

STEPS = {
    "sample": "draw the embedded data set, faults and all",
    "validate": "decode every image and say what is wrong with it",
    "index": "turn images and labels into a Dataset",
    "train": "train a teacher, or the plain student, on a Dataset",
    "teach": "store what each teacher says of every sample and view",
    "distill": "train the student on what the teachers said",
    "evaluate": "measure every model on the same samples",
    "export": "write the ONNX graph, check its parity, describe the model",
}


@dataclass(frozen=True)
class Port:
    """How a step's parameter takes part: read, read as a named collection, or written.

    setting: dotted path in params.yaml that supplies the path where none is given.
    """

    kind: Literal["input", "inputs", "output"]
    setting: str = ""


Input: TypeAlias = Annotated[Path, Port("input")]
Source: TypeAlias = Annotated[Path, Port("input", setting="data.path")]
Inputs: TypeAlias = Annotated[dict[str, Path], Port("inputs")]
Output: TypeAlias = Annotated[Path, Port("output")]


@dataclass(frozen=True)
class Step:
    """A step's function and the ports that its signature declares, in order."""

    name: str
    function: Callable[..., None]
    settings: type[Settings]
    ports: dict[str, Port]

    def sections(self) -> str:
        """The section pattern that configures it: its own name, or what may stand in its place."""
        return "teachers.NAME | student" if self.name == "train" else self.name


def load_step(name: str) -> Step:
    """The step of a name; UsageError for a name that is none."""
    if name not in STEPS:
        raise UsageError(f"{name} is not a step.{near(name, STEPS)}", f"expected one of {', '.join(STEPS)}")
    function = getattr(import_module(f"components.{name}"), name)
    hints = get_type_hints(function, include_extras=True)
    positional, *keywords = inspect.signature(function).parameters
    ports = {key: hints[key].__metadata__[0] for key in keywords}
    assert all(isinstance(port, Port) for port in ports.values()), f"{name}: every artifact is a port"
    return Step(name, function, hints[positional], ports)


@dataclass
class Run:
    """A step under way: where its resumable state lives and what it noted besides its artifacts."""

    key: str
    work: Path
    facts: dict[str, Any] = field(default_factory=dict)
    terminated: bool = False
    deferring: bool = False


_current: ContextVar[Run | None] = ContextVar("run", default=None)


def work_folder() -> Path:
    """The folder for the state needed to go on after an interruption, found by the digest of inputs and settings."""
    run = _current.get()
    if run is None:
        return Path(tempfile.mkdtemp(prefix="stillhouse-"))
    run.work.mkdir(parents=True, exist_ok=True)
    return run.work


def note(name: str, value: Any) -> None:
    """Keep a fact that may not stand in an artifact (a duration, a speed) for run.json and MLflow."""
    run = _current.get()
    if run is not None:
        run.facts[name] = value


@contextmanager
def deferred_termination() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM only raises a flag, which the yielded function reads; at the end it takes effect."""
    run = _current.get()
    if run is None:
        yield lambda: False
        return
    run.deferring = True
    try:
        yield lambda: run.terminated
    finally:
        run.deferring = False
    if run.terminated:
        raise Terminated


def run_step(step: Step, settings: Settings, section: str, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Run a step on real paths and return its facts (the content of run.json).

    Raises UserError for bad inputs, TryAgain where an output is being written by another process.
    """
    settings = settings.resolved()
    runtime = runtime_of(settings)
    inputs = bind_inputs(step, settings, paths)
    outputs = {name: paths[name] for name, port in step.ports.items() if port.kind == "output"}
    refuse_overlaps(inputs, outputs)
    started = time.time()
    with locked(list(outputs.values())), atomic.private(list(outputs.values())) as private:
        before = {name: signature(path) for name, path in inputs.items()}
        digests, roots = digest_inputs(inputs)
        values = settings.digestible()
        run = Run(key := receipts.key(step.name, section, values, digests), Path(runtime.work) / key[:32])
        written = dict(zip(outputs, private, strict=True))
        with child_run(section, step.name, runtime, values, digests, roots) as child:
            with active(run):
                step.function(settings, **grouped(step, inputs), **written)
            refuse_changes(inputs, before, digests)
            sealed = seal(step.name, section, values, digests, roots, written)
            for name, path in outputs.items():
                atomic.move_into_place(written[name], path)
            made = {"step": step.name, "section": section, "settings": values, "inputs": digests, "outputs": sealed}
            facts = made | gather_facts(run, started)
            child.finish(facts, outputs)
        facts["mlflow_run"] = child.run_id
    write_facts(Path(runtime.reports) / section / "run.json", facts, outputs)
    shutil.rmtree(run.work, ignore_errors=True)
    return facts


def runtime_of(settings: Settings) -> Runtime:
    """The runtime settings that a step was given."""
    runtime = getattr(settings, "runtime", None)
    return runtime if isinstance(runtime, Runtime) else Runtime()


def bind_inputs(step: Step, settings: Settings, paths: Mapping[str, Path]) -> dict[str, Path]:
    """Every input path by its full name (`teachers/NAME` for collected ones); UserError for a missing one."""
    bound: dict[str, Path] = {}
    for name, port in step.ports.items():
        if port.kind == "input":
            bound[name] = existing(paths[name], name)
        elif port.kind == "inputs":
            bound |= collected(name, paths[name], list(getattr(settings, name)))
    return bound


def existing(path: Path, name: str) -> Path:
    """The path, or UserError where nothing is there."""
    if not path.exists():
        remedy = "set data.path in params.yaml to a folder of images" if name == "source" else "make it: dvc repro"
        raise UserError(f"{path} does not exist; expected the {name} there", remedy)
    return path


def collected(name: str, folder: Path, names: list[str]) -> dict[str, Path]:
    """Exactly the artifacts that the settings list, from a folder that may hold others; those are said and left out."""
    present = {path.name for path in existing(folder, name).iterdir() if not path.name.startswith(".")}
    if not names:
        raise UserError(f"params.yaml names no {name}", f"add one below {name}:")
    missing = [one for one in names if one not in present]
    if missing:
        cause = f"{folder} has no {', '.join(missing)}; params.yaml lists {', '.join(names)}"
        raise UserError(cause, "make it: dvc repro")
    for other in sorted(present - set(names)):
        print(f"warning: {folder / other} is not listed in params.yaml and is left out", file=sys.stderr)
    return {f"{name}/{one}": folder / one for one in names}


def grouped(step: Step, inputs: Mapping[str, Path]) -> dict[str, Path | dict[str, Path]]:
    """Bound inputs as the step's function takes them: one path, or paths by name."""
    arguments: dict[str, Path | dict[str, Path]] = {}
    for name, port in step.ports.items():
        if port.kind == "input":
            arguments[name] = inputs[name]
        elif port.kind == "inputs":
            named = {key: path for key, path in inputs.items() if key.startswith(f"{name}/")}
            arguments[name] = {key.partition("/")[2]: path for key, path in named.items()}
    return arguments


def refuse_overlaps(inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """UsageError where an output would be written over, into or around another path of the step."""
    places = {name: path.resolve() for name, path in [*inputs.items(), *outputs.items()]}
    for name, path in outputs.items():
        mine = places[name]
        for other, place in places.items():
            if other != name and (mine.is_relative_to(place) or place.is_relative_to(mine)):
                raise UsageError(f"--{name} {path} and {other} {place} overlap", "give each its own place")


def digest_inputs(inputs: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """The digest of every input (sealed ones verified file by file), and of the raw folders they all come from."""
    digests: dict[str, str] = {}
    roots: dict[str, str] = {}
    for name, path in inputs.items():
        if receipts.is_sealed(path):
            digests[name] = receipts.verify(path)
            roots |= receipts.read(path).roots
        else:
            digests[name] = receipts.folder_digest(path)
            if path.is_dir():
                roots[name] = digests[name]
    return digests, roots


def refuse_changes(inputs: Mapping[str, Path], before: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """UserError where an input was changed while the step read it; the untouched are recognised by their stat."""
    for name, path in inputs.items():
        if path.exists() and signature(path) == before[name]:
            continue
        sealed = receipts.is_sealed(path)
        now = (receipts.verify(path) if sealed else receipts.folder_digest(path)) if path.exists() else "nothing"
        if now != digests[name]:
            raise UserError(f"{path} ({name}) was changed while the step was reading it; nothing was written",
                            "let the change finish, then run the same command again")


def seal(step: str, section: str, values: dict[str, Any], digests: dict[str, str], roots: dict[str, str],
         written: Mapping[str, Path]) -> dict[str, str]:
    """Write the receipt of every output folder, flush all, and return the digest of every output."""
    sealed: dict[str, str] = {}
    for name, path in written.items():
        assert path.exists(), f"{step} wrote no {name}"
        if path.is_dir():
            files = tree_digests(path)
            receipt = receipts.Receipt(step, section, values, digests, files, roots)
            (path / receipts.NAME).write_text(receipt.text(), encoding="utf-8")
            sealed[name] = receipts.digest(path)
        else:
            sealed[name] = file_digest(path)
        atomic.flush(path)
    return sealed


def gather_facts(run: Run, started: float) -> dict[str, Any]:
    """What is true of this run and of no artifact: when, where, how long."""
    return {
        "key": run.key,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "host": platform.node(),
        "python": platform.python_version(),
    } | run.facts


def write_facts(path: Path, facts: dict[str, Any], outputs: Mapping[str, Path]) -> None:
    """Keep run.json: the last runs of a section, by the digest that their outputs share; the newest last."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    name = value_digest(facts["outputs"])
    known.pop(name, None)
    known[name] = facts | {"paths": {key: os.fspath(value) for key, value in outputs.items()}}
    newest = dict(list(known.items())[-20:])
    atomic.write_file(path, json.dumps(newest, indent=1) + "\n")


@contextmanager
def active(run: Run) -> Iterator[None]:
    """Make a run the current one and let SIGTERM end it in an orderly way."""

    def on_term() -> None:
        run.terminated = True
        if not run.deferring:
            raise Terminated

    token = _current.set(run)
    try:
        with on_sigterm(on_term):
            yield
    finally:
        _current.reset(token)
