"""What the services of a folder keep from one start to the next: their ports and their passwords."""

import json
import secrets
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import UserError, near
from components.storage.atomic import write_file
from pipeline.services.processes import running

NAMES = ("postgresql", "objects", "redis", "mlflow")  # in the order in which they start
SECRETS = ("postgresql", "redis", "mlflow", "session")


@dataclass(frozen=True)
class Facts:
    """Ports and passwords by name; made once, kept in a file that only its owner reads."""

    ports: Mapping[str, int] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)


def read(folder: Path) -> Facts:
    """What an earlier start has noted; empty before the first."""
    path = folder / "facts.json"
    return Facts(**json.loads(path.read_bytes())) if path.exists() else Facts()


def settle(folder: Path, names: list[str], wanted: Mapping[str, int]) -> Facts:
    """Ports and passwords for a start: those of the last one, unless others are wanted or a port is taken.

    UserError where a port that is wanted is taken, or is that of another service.
    """
    known = read(folder)
    ports = dict(known.ports) | {name: port for name, port in wanted.items() if name in names}
    for name in sorted(names, key=lambda name: name not in wanted):  # nobody gives way to a port that is refused
        others = {ports[other]: other for other in names if other != name and other in ports}
        ports[name] = settled_port(name, known.ports.get(name), wanted.get(name), others, folder)
    passwords = {name: known.passwords.get(name) or secrets.token_urlsafe(24) for name in SECRETS}
    facts = Facts(ports, passwords)
    for name in sorted(wanted.keys() - set(names)):
        print(f"warning: --port {name}={wanted[name]} is not heeded: no {name} is started here", file=sys.stderr)
    if facts != known:
        write_file(folder / "facts.json", json.dumps(facts.__dict__, indent=1, sort_keys=True) + "\n")
    return facts


def settled_port(name: str, known: int | None, wanted: int | None, others: Mapping[int, str], folder: Path) -> int:
    """The port of one server: the one wanted, else the one that it had, else any free one.

    others: whose each port is that the other servers have or are to have.
    """
    if known is not None and wanted in (None, known) and running(name, folder) is not None:
        return known
    if wanted is not None:
        return checked_port(name, wanted, others)
    if known is not None and is_free(known) and known not in others:
        return known
    if known is not None:
        print(f"warning: port {known}, which {name} had, is taken; it gets another one", file=sys.stderr)
    return free_port(others)


def checked_port(name: str, wanted: int, others: Mapping[int, str]) -> int:
    """The port wanted for a server; UserError where somebody listens on it, or one of ours is to."""
    if not is_free(wanted):
        raise UserError(f"port {wanted}, wanted for {name}, is taken",
                        f"leave out --port {name}={wanted}, or name another one")
    if wanted in others:
        raise UserError(f"port {wanted}, wanted for {name}, is that of {others[wanted]}",
                        f"name another one, or move that one too: --port {others[wanted]}=NUMBER")
    return wanted


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(others: Collection[int] = ()) -> int:
    """A port of the loopback that nobody listens on, and none of those that are spoken for."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return free_port(others) if port in others else port


def port_of(text: str) -> tuple[str, int]:
    """Read NAME=NUMBER.

    >>> port_of("mlflow=5001")
    ('mlflow', 5001)
    """
    name, _, number = text.partition("=")
    if name not in NAMES:
        raise UserError(f"--port {text}: there is no service {name!r}; expected one of {', '.join(NAMES)}."
                        f"{near(name, NAMES)}", "write it as --port mlflow=5001")
    if not number.isdecimal() or not 1024 <= int(number) < 65536:
        raise UserError(f"--port {text}: expected a number from 1024 to 65535", "write it as --port mlflow=5001")
    return name, int(number)
