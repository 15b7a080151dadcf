"""What a step is: a function of settings and artifacts, and how one is run.

A step is an ordinary function: settings first, then artifacts by keyword, nothing returned. Running one takes its
locks, verifies its inputs, gives it private paths to write to, and seals and renames what it wrote, or leaves nothing.
"""

import inspect
import io
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from components import process
from components.crew import behind_the_first, run_in_workers, workers_to_start
from components.errors import Terminated, UsageError
from components.ports import Input as Input  # the ports are part of what a step is declared with
from components.ports import Inputs as Inputs
from components.ports import Output as Output
from components.ports import Port as Port
from components.ports import Source as Source
from components.ports import bind_inputs, digest_inputs, grouped, refuse_changes, refuse_overlaps
from components.runtime import Runtime
from components.settings import Settings, near
from components.signals import on_sigterm
from components.storage import atomic, receipts
from components.storage.digests import file_digest, signature, tree_digests, value_digest
from components.storage.locks import locked
from components.storage.receipts import Receipt
from components.tracking.runs import child_run

STEPS = {
    "fetch": "bring the data of a revision, a bucket or a folder here, every byte checked",
    "sample": "draw the embedded data set, faults and all",
    "validate": "decode every image and say what is wrong with it",
    "index": "turn images and labels into a Dataset",
    "train": "train a teacher, or the plain student, on a Dataset",
    "teach": "store what each teacher says of every sample and view",
    "distill": "train the student on what the teachers said",
    "evaluate": "measure every model on the same samples",
    "pull": "copy the latest model of the registry here, to hold a new one against",
    "compare": "hold the new model against the champion and say whether it may take its place",
    "export": "write the ONNX graph, check its parity, describe the model",
    "promote": "publish the model and its export where the verdict allows it",
}


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

    key: str = ""
    work: Path = Path()
    reports: Path | None = None
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


def run_key() -> str:
    """The digest of inputs and settings of the current run; empty where none is active."""
    run = _current.get()
    return "" if run is None else run.key


def report_folder() -> Path | None:
    """The folder for what is told of the current run and is no artifact; None where no run is active."""
    run = _current.get()
    return None if run is None else run.reports


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


@dataclass(frozen=True)
class Job:
    """A step, its settings and its real paths; `written` holds the private paths that stand for the outputs."""

    step: Step
    settings: Settings
    section: str
    inputs: dict[str, Path]
    outputs: dict[str, Path]
    written: dict[str, Path]


def run_step(step: Step, settings: Settings, section: str, paths: Mapping[str, Path]) -> dict[str, Any]:
    """Run a step on real paths and return its facts (the content of run.json).

    Of a step that several processes do together, the first of them does all this; the others only work.
    Raises UserError for bad inputs, TryAgain where an output is being written by another process.
    """
    process.prepare()
    settings = settings.resolved()
    inputs = bind_inputs(step.ports, settings, paths)
    outputs = {name: paths[name] for name, port in step.ports.items() if port.kind == "output"}
    refuse_overlaps(inputs, outputs)
    if count := workers_to_start(step.name, runtime_of(settings)):
        return run_in_workers(step.name, settings, section, paths, count)
    if behind_the_first(step.name):
        return follow(step, settings, section, inputs)
    targets = list(outputs.values())
    with active(Run()) as run, locked(targets), atomic.private(targets) as private:
        written = dict(zip(outputs, private, strict=True))
        facts = perform(Job(step, settings, section, inputs, outputs, written), run)
        write_facts(Path(runtime_of(settings).reports) / section / "run.json", facts, outputs)
    shutil.rmtree(run.work, ignore_errors=True)
    return facts


def perform(job: Job, run: Run) -> dict[str, Any]:
    """Digest the inputs, let the step work on private paths, and put into place what it wrote; its facts."""
    started = time.time()
    before = {name: signature(path) for name, path in job.inputs.items()}
    digests, roots = digest_inputs(job.inputs)
    values, runtime, name = job.settings.digestible(), runtime_of(job.settings), job.step.name
    run.key = receipts.key(name, job.section, values, digests)
    run.work = runtime.work_here() / run.key[:32]
    run.reports = Path(runtime.reports) / job.section
    with kept_elsewhere(runtime.work, run.work), child_run(job.section, name, runtime, values, digests, roots) as child:
        job.step.function(job.settings, **grouped(job.step.ports, job.inputs), **job.written)
        refuse_changes(job.inputs, before, digests)
        with deferred_termination():
            sealed = seal(Receipt(name, job.section, values, digests, {}, roots), job.written)
            for port, path in job.outputs.items():
                atomic.move_into_place(job.written[port], path)
        made = {"step": name, "section": job.section, "settings": values, "inputs": digests, "outputs": sealed}
        facts = made | gather_facts(run, started)
        child.finish(facts, job.outputs)
    return facts | {"mlflow_run": child.run_id}


def kept_elsewhere(place: str, work: Path) -> AbstractContextManager[None]:
    """Keep the state of a step in a bucket too, where the place is one."""
    if "://" not in place:
        return nullcontext()
    from components.storage.mirror import mirrored

    return mirrored(f"{place.rstrip('/')}/{work.name}", work)


def follow(step: Step, settings: Settings, section: str, inputs: dict[str, Path]) -> dict[str, Any]:
    """Do a step as one of several processes, behind the first: nothing is locked, written or said."""
    with active(Run()) as run, tempfile.TemporaryDirectory() as name, redirect_stderr(io.StringIO()):
        digests = {port: receipts.digest(path) if receipts.is_sealed(path) else receipts.folder_digest(path)
                   for port, path in inputs.items()}
        run.key = receipts.key(step.name, section, settings.digestible(), digests)
        run.work = Path(name) / "work"
        outputs = {port: Path(name) / port for port, one in step.ports.items() if one.kind == "output"}
        step.function(settings, **grouped(step.ports, inputs), **outputs)
    return {"outputs": {}}


def runtime_of(settings: Settings) -> Runtime:
    """The runtime settings that a step was given."""
    runtime = getattr(settings, "runtime", None)
    return runtime if isinstance(runtime, Runtime) else Runtime()


def seal(receipt: Receipt, written: Mapping[str, Path]) -> dict[str, str]:
    """Write the receipt of every output folder, flush all, and return the digest of every output."""
    sealed: dict[str, str] = {}
    for name, path in written.items():
        assert path.exists(), f"{receipt.step} wrote no {name}"
        if path.is_dir():
            text = replace(receipt, files=tree_digests(path)).text()
            (path / receipts.NAME).write_text(text, encoding="utf-8")
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
def active(run: Run) -> Iterator[Run]:
    """Make a run the current one and let SIGTERM end it in an orderly way, once."""

    def on_term() -> None:
        first, run.terminated = not run.terminated, True
        if first and not run.deferring:
            raise Terminated

    token = _current.set(run)
    try:
        with on_sigterm(on_term):
            yield run
    finally:
        _current.reset(token)
