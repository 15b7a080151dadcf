"""Carries a journal to MLflow: `python -m components.tracking.sender JOURNAL`, a process beside the step.

It begins with the step and loads MLflow meanwhile; a line on its standard input, or the end of it, says that the step
is over. It may be killed at any moment: whatever was sent twice is the same in MLflow as once.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.storage import receipts
from components.storage.digests import file_digest
from components.tracking.journal import EMPTY, Record, claim, discard, files_folder, kept_journals, now, read_records
from components.tracking.where import parent_lock

if TYPE_CHECKING:
    from components.tracking.mlflow_client import Server

VERDICTS = ("evaluate", "compare", "export")  # the sections whose metrics the pipeline run shows as well
TICK = 1.0  # seconds between looks at the journal
ORPHANED = 1.5  # seconds that a sender may outlive a step that was killed


class Sending:
    """One journal on its way: how far it was read and which run it fills."""

    def __init__(self, path: Path, connect: "Callable[[str, Path], Server]") -> None:
        self.path = path
        records, self._offset = read_records(path)
        if records[0]["kind"] != "open":
            raise ValueError(f"{path} does not begin as a journal does")
        self._head = records[0]
        self.closed = False
        self._server = connect(self._head["experiment"], parent_lock(path))
        self.parent = "" if self._head["adopt"] else self._open_parent()
        self.run_id = self._head["adopt"] or self._server.child(
            self.parent, path.stem, self._head["section"], self._head["time"])
        self._server.describe(self.run_id, self._head["params"], self._head["tags"])
        self._server.datasets(self.run_id, self._head["datasets"])
        self._send(records[1:])

    def _open_parent(self) -> str:
        pipeline = self._head["pipeline"]
        parent = self._server.pipeline(pipeline["key"], pipeline["name"], pipeline["tags"])
        self._server.start(parent)
        return parent

    def proceed(self) -> None:
        """Send what was written since."""
        records, self._offset = read_records(self.path, self._offset)
        self._send(records)

    def end_killed(self) -> None:
        """Close the run of a step that could not close it."""
        if not self.closed:
            self._close({"status": "KILLED", "time": now()} | EMPTY)

    def _send(self, records: list[Record]) -> None:
        metrics = [(name, value, record["time"], record["step"]) for record in records if record["kind"] == "metrics"
                   for name, value in record["values"].items()]
        self._server.metrics(self.run_id, metrics)
        for record in records:
            if record["kind"] == "file":
                self._send_file(record)
            elif record["kind"] == "close":
                self._close(record)

    def _send_file(self, record: Record) -> None:
        target = Path(record["path"])
        kept = files_folder(self.path) / record["kept"] / target.name
        if kept.exists():
            folder = target.parent.as_posix()
            self._server.artifact(self.run_id, kept, "" if folder == "." else folder)

    def _close(self, record: Record) -> None:
        self._server.describe(self.run_id, {}, record["tags"])
        self._server.metrics(self.run_id, final(record["metrics"], record["time"]))
        for one in record["artifacts"]:
            self._send_output(one)
        if self._head["adopt"]:  # who made that run ends it
            self.closed = True
            return
        self._server.end(self.run_id, record["status"], record["time"])
        self._tell_parent(self._head["section"], self._head["params"], record)
        self._add_cached(record["cached"], record["time"])
        self._server.end(self.parent, record["status"], record["time"])
        self.closed = True

    def _send_output(self, one: Record) -> None:
        path = Path(one["path"])
        if not path.exists() or digest_of(path) != one["digest"]:
            print(f"{path} is no longer what the step wrote; not sent", file=sys.stderr)
            return
        self._server.artifact(self.run_id, path, one["folder"])

    def _add_cached(self, stages: list[dict[str, Any]], time_ms: int) -> None:
        present = self._server.sections(self.parent) if stages else set()
        absent = [stage for stage in stages if stage["section"] not in present]
        for number, stage in enumerate(absent, time_ms - len(absent)):  # a millisecond each keeps their order
            run = self._server.child(self.parent, f"{self.parent}-{stage['section']}", stage["section"], number)
            self._server.describe(run, stage["params"], stage["tags"])
            self._server.metrics(run, final(stage["metrics"], number))
            self._server.end(run, "FINISHED", number)
            self._tell_parent(stage["section"], stage["params"], stage | {"time": number})

    def _tell_parent(self, section: str, params: dict[str, str], record: Record) -> None:
        """Give the pipeline run all settings and the verdicts, so that pipeline runs can be compared by their rows."""
        self._server.describe(self.parent, params, {})
        if section in VERDICTS:
            self._server.metrics(self.parent, final(record["metrics"], record["time"]))


def final(values: dict[str, float], time_ms: int) -> list[tuple[str, float, int, int]]:
    """Metrics that belong to no epoch."""
    return [(name, value, time_ms, 0) for name, value in values.items()]


def digest_of(path: Path) -> str:
    """The digest by which receipts and run.json know an output."""
    return receipts.digest(path) if receipts.is_sealed(path) else file_digest(path) if path.is_file() else ""


def connector() -> "Callable[[str, Path], Server]":
    """The class that connects; importing it takes seconds."""
    from components.tracking.mlflow_client import Server

    return Server


def send_kept(path: Path) -> bool:
    """Send a journal whose step has ended and remove it; False where its step still lives."""
    descriptor = claim(path)
    if descriptor is None:
        return False
    with closing(os.fdopen(descriptor)):
        if not read_records(path)[0]:  # its step ended before it had begun
            discard(path)
            return True
        sending = Sending(path, connector())
        sending.end_killed()
        discard(path)
    return True


def follow(path: Path) -> None:
    """Send the journal of a living step until it is over; use the waiting to send what earlier steps left."""
    say({"state": "loading"})
    connect = connector()
    say({"state": "connecting"})
    sending = Sending(path, connect)
    say({"state": "sending", "run_id": sending.run_id})
    kept = [other for other in kept_journals(path.parent) if other != path]
    while not is_over(TICK):
        sending.proceed()
        if kept:
            send_kept(kept.pop(0))
    if orphaned():
        signal.setitimer(signal.ITIMER_REAL, ORPHANED)
    sending.proceed()
    sending.end_killed()


def say(state: Record) -> None:
    """One line for the step that waits: standard output is the `.state` file."""
    print(json.dumps(state), flush=True)


def is_over(seconds: float) -> bool:
    """Wait, at most so long, for the step to say that it is over, or to be gone."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) or orphaned()


def orphaned() -> bool:
    """Whether the step that started this process is gone."""
    return os.getppid() != int(sys.argv[2])


def main() -> None:
    """Send one journal, beside the step that writes it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # meant for the step, which says when it is over
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # the step waits for this end, and unloading MLflow takes most of a second


if __name__ == "__main__":
    main()
