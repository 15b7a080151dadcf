"""Have Kubeflow start runs again and again: one schedule of a name, replaced where it is to be another.

Runs never overlap, and what was missed while the cluster was away is not made up for.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.errors import Exit, UsageError, UserError
from components.settings import Params
from components.storage.digests import value_digest
from pipeline import options as shared
from pipeline import package, server_options
from pipeline.api import calls
from pipeline.api.connection import Connection, found_or_made
from pipeline.api.records import Schedule
from pipeline.api.refusals import Missing
from pipeline.cluster import Cluster
from pipeline.cron import trigger_of
from pipeline.package import Package
from pipeline.status import iso, table, when
from pipeline.submit import body_of, placed, warn_of_changes


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `schedule`."""
    shared.arguments(parser)
    server_options.arguments(parser, cluster=False)
    parser.add_argument("--cron", default="", metavar="FIELDS", help="six fields, the first of them seconds, in UTC")
    parser.add_argument("--every", default="", metavar="TIME", help="interval, e.g. 12h, instead of --cron")
    parser.add_argument("--name", default="", help="name of the schedule (default: server.pipeline)")
    parser.add_argument("--list", action="store_true", help="list the schedules, change nothing")
    parser.add_argument("--delete", action="store_true", help="remove the schedule of that name; its runs stay")
    parser.add_argument("--pause", action="store_true", help="let the schedule of that name start nothing")
    parser.add_argument("--resume", action="store_true", help="let it start runs again")
    parser.add_argument("--dry-run", action="store_true", help="compile and say what would be sent, to no server")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def command(options: argparse.Namespace) -> int:
    """Run `schedule`."""
    cluster = shared.cluster_of(options)
    name = options.name or cluster.server.pipeline
    wanted = [what for what in ("list", "delete", "pause", "resume") if getattr(options, what)]
    if len(wanted) > 1 or (wanted and (options.cron or options.every)):
        raise UsageError("only one of --cron, --every, --list, --delete, --pause and --resume at a time",
                         "stillhouse pipeline schedule --help")
    if not wanted:
        return schedule_command(options, cluster, name)
    connection = server_options.connected(options, cluster)
    if options.list:
        print(listed(calls.schedules(connection), options.json))
    else:
        change(connection, wanted[0], name)
    return Exit.OK


def schedule_command(options: argparse.Namespace, cluster: Cluster, name: str) -> int:
    """Make the schedule, or leave the one that is there already."""
    trigger = trigger_of(options.cron, options.every)
    cluster.image.refuse_mutable()
    with tempfile.TemporaryDirectory(prefix="stillhouse-") as folder:
        packed = package.package_of(Params.load(options.params, options.set), cluster, Path(folder), pinned=False)
        warn_of_changes(packed)
        experiment = server_options.experiment_of(options, cluster)
        body = schedule_body(packed, cluster, experiment, name, trigger)
        if options.dry_run:
            print(json.dumps(body, indent=1, sort_keys=True))
            return Exit.OK
        connection = server_options.connected(options, cluster)
        made, word = schedule(connection, body, lambda: placed(connection, packed, cluster.server.pipeline, experiment))
    if options.json:
        print(json.dumps(facts(made) | {"change": word}, indent=1, sort_keys=True))
    else:
        print(f"schedule {name}: {word}; {made.when}\n"
              f"link: {connection.access.ui}/#/recurringrun/details/{made.id}")
    return Exit.OK


def schedule_body(packed: Package, cluster: Cluster, experiment: str, name: str,
                  trigger: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The request for a schedule, without the ids that only a server knows."""
    run = body_of(packed, cluster, experiment, name, again=False)
    lines = run["description"].splitlines()
    return run | {
        "description": "\n".join([f"stillhouse {value_digest([lines[0], trigger])}", *lines[1:]]),
        "trigger": trigger, "mode": "ENABLE", "max_concurrency": "1", "no_catchup": True,
    }


def schedule(connection: Connection, body: dict[str, Any],
             place: Callable[[], dict[str, Any]]) -> tuple[Schedule, str]:
    """See to it that one schedule of a name exists and is as the body says; what was done, in a word.

    place: gives what the request says of where it belongs. The new one is made before the old one goes, so that an
    interruption leaves one too many rather than none.
    """
    name, marker = str(body["display_name"]), str(body["description"]).partition("\n")[0]
    before = calls.schedules(connection, name)
    kept = next((one for one in before if marker_of(one) == marker and one.enabled), None)
    word = "made" if kept is None else "unchanged"
    if kept is None:
        whole = place() | body
        kept = found_or_made(lambda: newly_made(connection, name, marker, before),
                             lambda: calls.create_schedule(connection, whole))
        time.sleep(calls.SECOND)
        kept = newly_made(connection, name, marker, before) or kept  # the earlier one, of two that came at once
    old = {one.id for one in before}
    for one in calls.schedules(connection, name):
        if one.id != kept.id and (one.id in old or marker_of(one) == marker):
            word = "replaced" if one.id in old else word
            with suppress(Missing):  # somebody else has deleted it meanwhile
                calls.on_schedule(connection, "delete", one)
    return kept, word


def newly_made(connection: Connection, name: str, marker: str, before: list[Schedule]) -> Schedule | None:
    """The earliest schedule as wanted that was not there before: also one of a request whose answer was lost."""
    old = {one.id for one in before}
    found = [one for one in calls.schedules(connection, name) if one.id not in old and marker_of(one) == marker]
    return min(found, key=lambda one: (iso(one.created) or "", one.id), default=None)


def marker_of(one: Schedule) -> str:
    """The first line of a schedule's description: the digest of what it was to be."""
    return one.description.partition("\n")[0]


def change(connection: Connection, what: str, name: str) -> None:
    """Delete, pause or resume the schedules of a name."""
    found = calls.schedules(connection, name)
    if not found and what != "delete":
        names = ", ".join(sorted({one.name for one in calls.schedules(connection)})) or "none"
        raise UserError(f"there is no schedule {name}; there are: {names}", "stillhouse pipeline schedule --list")
    verb = {"delete": "delete", "pause": "disable", "resume": "enable"}[what]
    for one in found:
        calls.on_schedule(connection, verb, one)
    done = {"delete": "deleted", "pause": "paused", "resume": "resumed"}[what]
    print(f"schedule {name}: {done}" if found else f"schedule {name}: there is none")


def listed(found: list[Schedule], as_json: bool) -> str:
    """What `--list` prints."""
    if as_json:
        return json.dumps([facts(one) for one in found], indent=1, sort_keys=True)
    rows = [(one.name, one.when, "on" if one.enabled else "paused", when(one.created), one.id) for one in found]
    return table(("schedule", "when", "state", "created", "id"), rows) if rows else "no schedules"


def facts(one: Schedule) -> dict[str, Any]:
    """A schedule as JSON holds it."""
    return {"id": one.id, "name": one.name, "when": one.when, "enabled": one.enabled, "created": iso(one.created),
            "error": one.error}
