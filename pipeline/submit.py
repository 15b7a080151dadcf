"""Compile the pipeline, upload it as a version of its own, and start a run of it on Kubeflow."""

import argparse
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from components.errors import Exit
from components.settings import Params
from components.storage.digests import value_digest
from pipeline import options as shared
from pipeline import package, server_options
from pipeline.api import calls
from pipeline.api.connection import Connection, found_or_made
from pipeline.api.records import Run
from pipeline.cluster import Cluster
from pipeline.package import Package
from pipeline.waiting import outcome, wait_for

LOOKED_AT = 200  # newest runs of an experiment among which one that is under way is looked for


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `submit`."""
    shared.arguments(parser)
    server_options.arguments(parser, cluster=False)
    parser.add_argument("--name", default="", help="name of the run (default: pipeline, commit and digest)")
    parser.add_argument("--again", action="store_true", help="start a run even if the same one is under way")
    parser.add_argument("--wait", action="store_true", help="tell what happens until the run ends; exit 1 if it fails")
    parser.add_argument("--timeout", type=float, default=0.0, metavar="SECONDS",
                        help="with --wait: exit 75 after this time, the run goes on (default: none)")
    parser.add_argument("--dry-run", action="store_true", help="compile and say what would be sent, to no server")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def command(options: argparse.Namespace) -> int:
    """Run `submit`."""
    cluster = shared.cluster_of(options)
    cluster.image.refuse_mutable()
    with tempfile.TemporaryDirectory(prefix="stillhouse-") as folder:
        packed = package.package_of(Params.load(options.params, options.set), cluster, Path(folder))
        warn_of_changes(packed)
        experiment = server_options.experiment_of(options, cluster)
        body = body_of(packed, cluster, experiment, options.name, options.again)
        if options.dry_run:
            print(told(body, packed.version(cluster.server.pipeline), options.json))
            return Exit.OK
        connection = server_options.connected(options, cluster)
        run, fresh = submit(connection, placed(connection, packed, cluster.server.pipeline, experiment) | body)
    link = f"{connection.access.ui}/#/runs/details/{run.id}"
    if options.json:
        print(json.dumps({"run": run.id, "new": fresh, "link": link, "state": run.state}, indent=1, sort_keys=True))
    else:
        print(f"run:  {run.id}  {run.name}{'' if fresh else '  (under way already: --again starts another)'}\n"
              f"link: {link}", flush=True)
    return outcome(wait_for(connection, run.id, options.timeout)) if options.wait else Exit.OK


def warn_of_changes(packed: Package) -> None:
    """Say where the commit in the version's name is not all of the code here."""
    if packed.commit and (changed := package.changed_files()):
        print(f"warning: {changed} files differ from commit {packed.commit[:12]}, after which the version is called; "
              "what runs is the code in the image", file=sys.stderr)


def body_of(packed: Package, cluster: Cluster, experiment: str, name: str, again: bool) -> dict[str, Any]:
    """The request for a run, without the ids that only a server knows.

    Its description begins with the digest of all that can make a difference, by which the run is found again.
    """
    server, plugins = cluster.server, plugins_input(cluster)
    key = value_digest([packed.digest, packed.inputs, experiment, server.root, server.service_account, plugins])
    marker = f"stillhouse {key}" + (f" {secrets.token_hex(4)}" if again else "")
    return calls.filled({
        "display_name": name or f"{server.pipeline} {packed.commit[:7] or 'no commit'} {key[:6]}",
        "description": f"{marker}\ncommit {packed.commit or 'none'}\nimage {cluster.image.name}",
        "runtime_config": calls.filled({"parameters": packed.inputs, "pipeline_root": server.root}),
        "service_account": server.service_account,
        "plugins_input": plugins,
    })


def plugins_input(cluster: Cluster) -> dict[str, Any]:
    """What Kubeflow's MLflow plugin is told; a server without plugins is told nothing of them."""
    if cluster.mlflow.no_plugin:
        return {"mlflow": {"disabled": True}}
    wanted = cluster.mlflow.plugin and cluster.mlflow.experiment
    return {"mlflow": {"experiment_name": cluster.mlflow.experiment}} if wanted else {}


def placed(connection: Connection, packed: Package, pipeline: str, experiment: str) -> dict[str, Any]:
    """What a request says of where it belongs: the experiment, and the uploaded version, each made where missing."""
    owner = calls.pipeline_id(connection, pipeline)
    version = calls.version_id(connection, owner, packed.version(pipeline), packed.file, packed.tags)
    return {"experiment_id": calls.experiment_id(connection, experiment),
            "pipeline_version_reference": {"pipeline_id": owner, "pipeline_version_id": version}}


def submit(connection: Connection, body: dict[str, Any]) -> tuple[Run, bool]:
    """Start the run of a whole request; the run, and whether it is a new one.

    A run of the same digest that is under way is taken instead. Of two that start at once, the earlier one stays.
    """
    def earliest() -> Run | None:
        return next(iter(alike(connection, body["experiment_id"], marker_of(body["description"]))), None)

    before = earliest()
    if before:
        return before, False
    made = found_or_made(earliest, lambda: calls.create_run(connection, body))
    time.sleep(calls.SECOND)
    first = earliest() or made
    if first.id != made.id:
        calls.terminate(connection, made.id)
        print(f"warning: another submit of the same was quicker; run {made.id} was ended", file=sys.stderr)
    return first, first.id == made.id


def alike(connection: Connection, experiment: str, marker: str) -> list[Run]:
    """The runs under way whose description begins with a marker, the earliest first."""
    found = [run for run in calls.runs(connection, experiment, LOOKED_AT)
             if run.under_way and (marker_of(run.description) + " ").startswith(f"{marker} ")]
    return sorted(found, key=lambda run: (run.created.timestamp() if run.created else 0.0, run.id))


def marker_of(description: str) -> str:
    """The first line of a description."""
    return description.partition("\n")[0]


def told(body: dict[str, Any], version: str, as_json: bool) -> str:
    """What a dry run prints."""
    if as_json:
        return json.dumps({"version": version, "run": body}, indent=1, sort_keys=True)
    inputs = ", ".join(body["runtime_config"]["parameters"])
    return f"version: {version}\nrun:     {body['display_name']}\ninputs:  {inputs}\nnothing was sent"
