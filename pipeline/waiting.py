"""Follows a run to its end: what its tasks do, what keeps them waiting, and how it ended."""

import sys
import time
from datetime import UTC, datetime

from components.errors import Exit, TryAgain, UserError
from pipeline.api import calls
from pipeline.api.connection import Connection
from pipeline.api.records import Run
from pipeline.api.tasks import Task

POLL = 10.0  # seconds between two looks
AWAY = 900.0  # seconds for which the server may be away while a run is followed
PATIENCE = 300.0  # seconds after which a pod that does not start is spoken of


def wait_for(connection: Connection, run_id: str, timeout: float = 0.0) -> Run:
    """Follow a run, telling every change on stderr; TryAgain after `timeout` seconds (0: never)."""
    begun = answered = time.monotonic()
    known: dict[str, str] = {}
    warned: set[str] = set()
    while True:
        try:
            run = calls.run(connection, run_id)
            answered = time.monotonic()
        except TryAgain:
            if time.monotonic() - answered > AWAY:
                raise
        else:
            tell(run, known, warned, connection.namespace)
            if run.ended:
                return run
        if timeout and time.monotonic() - begun > timeout:
            raise TryAgain(f"run {run_id} has not ended after {timeout:.0f} s; it goes on",
                           f"stillhouse pipeline status {run_id}")
        time.sleep(POLL)


def tell(run: Run, known: dict[str, str], warned: set[str], namespace: str) -> None:
    """Tell what changed since the last look, and once of every pod that does not start."""
    for task in run.tasks:
        if known.get(task.name) != (state := state_of(task)):
            known[task.name] = state
            print(f"{clock()}  {task.name:<16} {state}", file=sys.stderr)
        if stuck(task) and task.pods[-1] not in warned:
            warned.add(task.pods[-1])
            print(f"warning: {task.name} has been waiting for over {PATIENCE / 60:.0f} min: no node has room, or the "
                  f"image is missing; kubectl -n {namespace or 'kubeflow'} describe pod {task.pods[-1]}",
                  file=sys.stderr)
    if known.get("") != run.state:
        known[""] = run.state
        print(f"{clock()}  {'the run':<16} {run.state}", file=sys.stderr)


def stuck(task: Task) -> bool:
    """Whether the pod of a task has not started for long."""
    return task.waiting is not None and (datetime.now(UTC) - task.waiting).total_seconds() > PATIENCE


def state_of(task: Task) -> str:
    """The state of a task in a word or three."""
    if task.cached:
        return f"{task.state} (from the cache)"
    return f"{task.state} (retry {task.retries})" if task.retries else task.state


def clock() -> str:
    """The time of day in UTC, as pods log it."""
    return datetime.now(UTC).strftime("%H:%M:%S")


def outcome(run: Run) -> int:
    """The exit code of a run that succeeded; UserError for another, with what failed first."""
    if run.state in ("SUCCEEDED", "SKIPPED"):
        return Exit.OK
    failed = [task for task in run.tasks if task.failed]
    said = next((task.error for task in failed if task.error), run.error)
    what = f" in {', '.join(task.name for task in failed)}" if failed else ""
    raise UserError(f"run {run.id} ended as {run.state}{what}{f': {said}' if said else ''}",
                    f"stillhouse pipeline logs {run.id}{f' {failed[0].name}' if failed else ''}")
