"""The tasks of a run with state, duration and retries; without a run, the last runs of the experiment."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from components.errors import Exit, UserError
from pipeline import server_options
from pipeline.api import calls
from pipeline.api.connection import Connection
from pipeline.api.records import Run
from pipeline.cluster import load_cluster
from pipeline.waiting import state_of

LOOKED_AT = 500  # newest runs among which the beginning of an id is looked for


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    parser.add_argument("run_id", nargs="?", default="", metavar="RUN", help="id of a run, its beginning, or `latest`")
    parser.add_argument("--last", type=int, default=10, metavar="N", help="runs to list (default: 10)")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    server_options.arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Run `status`."""
    cluster = load_cluster(options.cluster, options.cluster_set)
    connection = server_options.connected(options, cluster)
    experiment = server_options.experiment_of(options, cluster)
    if options.run_id:
        run = find_run(connection, experiment, options.run_id)
        print(json.dumps(facts(run), indent=1, sort_keys=True) if options.json else page_of(run, connection))
        return Exit.OK
    runs = list(of_experiment(connection, experiment, options.last))
    if options.json:
        print(json.dumps([facts(run) for run in runs], indent=1, sort_keys=True))
    else:
        rows = [(run.id, run.name, run.state, when(run.created), took(run.created, run.finished)) for run in runs]
        print(table(("run", "name", "state", "created", "took"), rows) if rows else f"no runs in {experiment}")
    return Exit.OK


def of_experiment(connection: Connection, name: str, most: int) -> list[Run]:
    """The newest runs of an experiment, none where there is no such experiment."""
    experiment = calls.known_experiment(connection, name)
    return list(calls.runs(connection, experiment, most)) if experiment else []


def find_run(connection: Connection, experiment: str, text: str) -> Run:
    """The run of an id, of the beginning of one, or the latest; UserError where that is none or several."""
    if len(text) == 36:
        return calls.run(connection, text)
    runs = of_experiment(connection, experiment, LOOKED_AT)
    found = runs[:1] if text == "latest" else [run for run in runs if run.id.startswith(text)]
    if len(found) != 1:
        how = f"{len(found)} runs" if found else "no run"
        raise UserError(f"{how} of the last {len(runs)} in experiment {experiment} begin with {text}",
                        "stillhouse pipeline status lists them; --experiment NAME chooses another experiment")
    return calls.run(connection, found[0].id)


def page_of(run: Run, connection: Connection) -> str:
    """What is printed of a run."""
    rows = [(task.name, state_of(task), when(task.started), took(task.started, task.finished), str(task.retries))
            for task in run.tasks]
    lines = [f"{run.name}  {run.state}  created {when(run.created)}, took {took(run.created, run.finished)}",
             f"{connection.access.ui}/#/runs/details/{run.id}", run.error,
             table(("task", "state", "started", "took", "retries"), rows) if rows else "no task has started",
             *(f"{task.name}: {task.error}" for task in run.tasks if task.error)]
    return "\n".join(line for line in lines if line)


def facts(run: Run) -> dict[str, Any]:
    """A run as JSON holds it; times in ISO 8601."""
    tasks = [{"name": task.name, "state": task.state, "cached": task.cached, "started": iso(task.started),
              "finished": iso(task.finished), "retries": task.retries, "pods": list(task.pods), "error": task.error}
             for task in run.tasks]
    return {"id": run.id, "name": run.name, "state": run.state, "created": iso(run.created), "error": run.error,
            "finished": iso(run.finished), "schedule": run.schedule, "tasks": tasks}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what stands in them.

    >>> print(table(("task", "took"), [("train-1", "3 min"), ("index", "20 s")]))
    task     took
    train-1  3 min
    index    20 s
    """
    whole = [heads, *rows]
    widths = [max(len(row[place]) for row in whole) for place in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in whole)


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else "-"


def iso(moment: datetime | None) -> str | None:
    """A moment as JSON holds it."""
    return moment.astimezone(UTC).isoformat() if moment else None


def took(begun: datetime | None, ended: datetime | None) -> str:
    """How long something took, or has taken until now.

    >>> took(datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 1, 9, 2, 3, tzinfo=UTC))
    '1 h 02 min'
    """
    if begun is None:
        return "-"
    seconds = max(round(((ended or datetime.now(UTC)) - begun).total_seconds()), 0)
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    return f"{minutes} min {seconds % 60:02} s" if minutes else f"{seconds} s"
