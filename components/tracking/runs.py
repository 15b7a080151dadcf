"""Runs in MLflow: one parent a pipeline run, one child a step. Nothing here can make a step fail."""

import getpass
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import Terminated, UserError
from components.runtime import Runtime
from components.tracking import journal as journals
from components.tracking.keys import dotted, final_metrics, pipeline_of
from components.tracking.lineage import upstream
from components.tracking.where import environment, shown_uri, without_secrets

# Seconds that a step waits at its end for a sender that loads MLflow, has had no answer yet, or sends.
PATIENCE = {"": 20.0, "loading": 20.0, "connecting": 8.0, "sending": 60.0}
HASTE = {"": 3.0, "loading": 3.0, "connecting": 3.0, "sending": 3.0}  # the same after SIGTERM
NOTE = "One run of the pipeline. Its steps are the child runs; settings are those of all, metrics those of the last."
MODEL_FILES = {"model.json", "model.safetensors"}


@dataclass
class Child:
    """The run of one step; without a journal it is none and everything is a no-op."""

    run_id: str = ""
    step: str = ""
    reports: Path = Path("reports")
    journal: journals.Journal | None = None
    sender: "subprocess.Popen[bytes] | None" = None
    closing: dict[str, Any] = field(default_factory=dict)

    def finish(self, facts: dict[str, Any], outputs: Mapping[str, Path]) -> None:
        """Note how the step ended and send what is left of its journal, in bounded time."""
        if self.journal is None:
            return
        metrics = {f"work/{name}": float(value) for name, value in facts.items() if is_number(value)}
        tags = {f"stillhouse.{name}": value for name, value in facts.items() if isinstance(value, str) and value}
        tags |= {f"output.{name}": digest for name, digest in facts["outputs"].items()}
        self.closing = {
            "tags": tags,
            "metrics": metrics | metrics_of(outputs),
            "artifacts": [artifact_of(name, path, facts["outputs"][name]) for name, path in outputs.items()],
            "cached": upstream(facts["inputs"], self.reports) if self.step == "export" else [],
        }
        self.close("FINISHED", PATIENCE)

    def close(self, status: str, patience: Mapping[str, float]) -> None:
        """Write the last line, wait for the sender, and say where the journal stays if it could not be sent."""
        if self.journal is None:
            return
        self.journal.append({"kind": "close", "status": status} | journals.EMPTY | self.closing)
        self._wait(patience)
        self.journal.close()
        self.journal = None

    def _wait(self, patience: Mapping[str, float]) -> None:
        assert self.journal is not None
        path = self.journal.path
        sent = self.sender is not None and wait(self.sender, path, patience)
        self.run_id = last_state(path).get("run_id", "")
        if sent:
            journals.discard(path)
        else:
            complain(path)


@contextmanager
def child_run(section: str, step: str, runtime: Runtime, values: dict[str, Any], inputs: dict[str, str],
              roots: dict[str, str]) -> Iterator[Child]:
    """The run of a step: opened here, finished by the step, closed as failed or killed where it ends otherwise."""
    if not runtime.tracking:
        yield Child()
        return
    try:
        journal = journals.Journal(runtime.work_here().parent / "journal", section)
    except OSError as error:
        print(f"warning: nothing of this step goes to MLflow: {error.filename}: {error.strerror}", file=sys.stderr)
        yield Child()
        return
    journal.append(opening(section, step, runtime, values, inputs, roots))
    child = Child(step=step, reports=Path(runtime.reports), journal=journal, sender=start_sender(journal.path))
    journals.activate(journal)
    try:
        yield child
    except (Terminated, KeyboardInterrupt):
        child.close("KILLED", HASTE)
        raise
    except BaseException as error:
        child.closing = {"tags": {"stillhouse.error": error.cause if isinstance(error, UserError) else repr(error)}}
        child.close("FAILED", PATIENCE)
        raise
    finally:
        journals.deactivate(journal)


def opening(section: str, step: str, runtime: Runtime, values: dict[str, Any], inputs: dict[str, str],
            roots: dict[str, str]) -> dict[str, Any]:
    """The first line of a journal: everything that is known before the step begins."""
    pipeline = pipeline_of(roots)
    common = {
        "mlflow.source.name": f"stillhouse {step}" + (f" {section}" if section != step else ""),
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user(),
        "mlflow.source.git.commit": pipeline.commit,
        "git.commit": pipeline.commit,
    }
    tags = {"stillhouse.step": step, "stillhouse.section": section}
    tags |= {f"input.{name}": digest for name, digest in inputs.items()}
    tags |= {f"root.{name}": digest for name, digest in roots.items()}
    starter = "dvc repro" if "DVC_ROOT" in os.environ else "stillhouse"
    parent = {"mlflow.source.name": starter, "mlflow.note.content": NOTE}
    return {
        "kind": "open",
        "experiment": runtime.experiment,
        "section": section,
        "adopt": os.environ.get("MLFLOW_RUN_ID", ""),
        "pipeline": {"key": pipeline.key, "name": pipeline.name, "tags": filled(common | parent)},
        "params": dotted(section, values),
        "tags": filled(common | tags),
        "datasets": [data_of(name, inputs[name], step) for name in ("source", "dataset") if name in inputs],
    }


def user() -> str:
    """Who runs this; "" in containers whose user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def data_of(name: str, digest: str, step: str) -> dict[str, str]:
    """Which data a step read, as MLflow's column of datasets shows it."""
    return {"name": name, "digest": digest, "context": step, "source": json.dumps({"sha256": digest})}


def filled(values: Mapping[str, str]) -> dict[str, str]:
    """The values that are not empty."""
    return {name: value for name, value in values.items() if value}


def start_sender(path: Path) -> "subprocess.Popen[bytes] | None":
    """Start the process that speaks to MLflow; None, and the journal stays, where none can be started."""
    project = Path(__file__).parents[2]
    variables = environment()
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), variables.get("PYTHONPATH", "")]))
    command = [sys.executable, "-P", "-W", "ignore", "-m", "components.tracking.sender", str(path), str(os.getpid())]
    try:
        with path.with_suffix(".state").open("wb") as state, path.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=state, stderr=log, env=variables)
    except OSError:
        return None


def wait(sender: "subprocess.Popen[bytes]", path: Path, patience: Mapping[str, float]) -> bool:
    """Tell the sender that the step is over and wait, longer where a server has answered; True if all was sent."""
    assert sender.stdin is not None
    try:
        sender.stdin.write(b"over\n")
        sender.stdin.close()
    except BrokenPipeError:  # it has ended already
        pass
    state, since = "", time.monotonic()
    while sender.poll() is None and time.monotonic() - since < patience[state]:
        time.sleep(0.02)
        if (now := last_state(path).get("state", "")) != state:
            state, since = now, time.monotonic()
    if sender.poll() is None:
        sender.kill()
        sender.wait()
    return sender.returncode == 0


def last_state(path: Path) -> dict[str, Any]:
    """What the sender of a journal said last."""
    state = path.with_suffix(".state")
    records = journals.read_records(state)[0] if state.exists() else []
    return records[-1] if records else {}


def complain(path: Path) -> None:
    """One line about a journal that could not be sent."""
    log = path.with_suffix(".log")
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    reason = f" ({without_secrets(lines[-1])[:160]})" if lines else ""
    log.unlink(missing_ok=True)  # MLflow writes passwords of addresses into its errors
    print(f"warning: MLflow did not take this step{reason}; MLFLOW_TRACKING_URI is {shown_uri()}; "
          f"{path} is kept, `stillhouse track` sends it", file=sys.stderr)


def is_number(value: Any) -> bool:
    """Whether a fact is a number rather than a text or a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def metrics_of(outputs: Mapping[str, Path]) -> dict[str, float]:
    """The numbers of the step's metrics.json, flat."""
    path = outputs.get("metrics")
    if path is None:
        return {}
    return final_metrics(json.loads(path.read_text(encoding="utf-8")), "curves" in outputs)


def artifact_of(name: str, path: Path, digest: str) -> dict[str, str]:
    """What of an output goes to MLflow: files, plots, models and exports whole; of data only the receipt."""
    whole = {"path": os.fspath(path), "digest": digest}
    if path.is_file():
        return whole | {"folder": ""}
    inside = {file.name for file in path.iterdir()}
    if name in ("plots", "exported") or inside >= MODEL_FILES:
        return whole | {"folder": "model" if inside >= MODEL_FILES else name}
    return {"path": os.fspath(path / "receipt.json"), "digest": digest, "folder": f"receipts/{name}"}
