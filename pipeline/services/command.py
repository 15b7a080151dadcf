"""`stillhouse pipeline services start|stop|status`: the servers that a cluster would have, on this machine."""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path

from components.errors import Exit, UserError
from components.storage.locks import locked
from pipeline.services import facts as kept
from pipeline.services import programs
from pipeline.services.facts import NAMES, Facts
from pipeline.services.processes import Server, beside_proxies, ensure, log_file, running, stop

FOLDER = Path(".stillhouse/services")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("start", "stop", "status"), help=(
        "start what does not run and print the variables for clients: eval \"$(stillhouse pipeline services start)\"; "
        "stop all; or tell what runs"))
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="FOLDER",
                        help=f"databases, objects, logs, ports, passwords (default: {FOLDER})")
    parser.add_argument("--port", action="append", default=[], metavar="NAME=NUMBER",
                        help=f"port of one of {', '.join(NAMES)} (default: a free one, then always the same)")
    parser.add_argument("--store", default=os.environ.get("STILLHOUSE_STORE", ""), metavar="S3-URL",
                        help="keep MLflow's files in this bucket, reached by the AWS_* variables, and start no S3 "
                        "store here (default: STILLHOUSE_STORE, if set)")
    parser.add_argument("--auth", action="store_true", help="MLflow asks for a user and a password (mlflow[auth])")


def command(options: argparse.Namespace) -> int:
    """Do what was asked."""
    folder: Path = options.folder.absolute()
    if options.action == "start":
        start(folder, dict(map(kept.port_of, options.port)), checked_store(options.store), options.auth)
    elif options.action == "stop":
        stop_all(folder)
    else:
        tell(folder)
    return Exit.OK


def checked_store(store: str) -> str:
    """The address of a bucket as it was given; UserError for anything else."""
    if store and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?", store):
        raise UserError(f"--store is {store!r}; expected s3://BUCKET or s3://BUCKET/PREFIX",
                        "leave it out to have an S3 store started here")
    return store


def start(folder: Path, ports: dict[str, int], store: str, auth: bool) -> None:
    """Start what does not run, wait until everything answers, print the variables for clients on standard output.

    What this call has started is stopped again where not everything comes up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    previous = os.umask(0o077)
    started: list[str] = []
    try:
        with locked([folder]):
            folder.chmod(0o711)  # PostgreSQL may be another user; every file in it is our own
            facts = kept.settle(folder, [name for name in NAMES if not (store and name == "objects")], ports)
            bring_up(folder, facts, store, auth, started)
    except BaseException:  # also an interrupt: servers have sessions of their own
        for name in reversed(started):
            stop(name, folder)
        raise
    finally:
        os.umask(previous)
    print(f"logs, ports and data: {folder}", file=sys.stderr)
    for name, value in exports(facts, store, auth).items():
        print(f"export {name}={shlex.quote(value)}")


def bring_up(folder: Path, facts: Facts, store: str, auth: bool, started: list[str]) -> None:
    """Start each service that does not run, in order; the names of those started are added to a list."""
    def up(server: Server) -> None:
        started.append(server.name)
        if not ensure(server, folder):
            started.remove(server.name)

    programs.lay_out_postgres(folder, facts)
    up(programs.postgres(folder, facts))
    programs.make_databases(folder, facts)
    if not store:
        up(programs.objects(folder, facts))
    up(programs.redis(folder, facts))
    up(programs.mlflow(folder, facts, store, auth))


def exports(facts: Facts, store: str, auth: bool) -> dict[str, str]:
    """What a shell must know to use the services."""
    variables = {"MLFLOW_TRACKING_URI": f"http://{programs.HOST}:{facts.ports['mlflow']}"} | beside_proxies()
    variables |= {} if store else programs.object_environment(facts)
    variables["REDIS_URL"] = f"redis://:{facts.passwords['redis']}@{programs.HOST}:{facts.ports['redis']}/0"
    if auth:
        variables |= {"MLFLOW_TRACKING_USERNAME": programs.OWNER,
                      "MLFLOW_TRACKING_PASSWORD": facts.passwords["mlflow"]}
    return variables


def stop_all(folder: Path) -> None:
    """Stop every service of a folder, those first that use others; their data stays."""
    if not folder.is_dir():
        print(f"no services were ever started in {folder}", file=sys.stderr)
        return
    with locked([folder]):
        for name in reversed(NAMES):
            if stop(name, folder):
                print(f"{name} stopped", file=sys.stderr)


def tell(folder: Path) -> None:
    """One line a service: whether it runs, where it listens, what it wrote."""
    ports = kept.read(folder).ports
    for name in NAMES:
        state = running(name, folder)
        where = f"process {state['pid']}, {programs.HOST}:{ports.get(name, '?')}" if state else "stopped"
        print(f"{name:<11} {where:<36} {log_file(name, folder)}")
