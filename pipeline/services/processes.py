"""Server processes that outlive the command that starts them, and are found again by a lock that they hold.

A process id alone says little: it may be another program's by now. Every server inherits a locked file, so that the
kernel itself says whether one is running.
"""

import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

from components.errors import UserError
from components.storage.digests import value_digest
from components.tracking.where import without_secrets

START_SECONDS = 240.0  # MLflow lays out a fresh database and imports itself several times
STOP_SECONDS = 30.0
LOOPBACK = ("127.0.0.1", "localhost")
FOREIGN = ("MLFLOW_", "AWS_", "PG", "STILLHOUSE_")  # what a shell holds for clients and would mislead a server


@dataclass(frozen=True)
class Server:
    """One program: how it is started, whether it answers, how it is told to end.

    environment: what it gets besides that of the shell. user: who runs it, where that is not ourselves.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_by: signal.Signals = signal.SIGTERM
    user: str = ""

    @property
    def fingerprint(self) -> str:
        """What changes when a running server would have to be started otherwise."""
        return value_digest([list(self.command), dict(self.environment), self.user])

    def note(self, process: int) -> dict[str, Any]:
        """What is written into the lock file, for whoever stops this server."""
        return {"pid": process, "fingerprint": self.fingerprint, "ends_by": int(self.ends_by)}


def lock_file(name: str, folder: Path) -> Path:
    """What a running server holds locked; it tells the process id."""
    return folder / f"{name}.lock"


def log_file(name: str, folder: Path) -> Path:
    """What a server has said, over all its starts."""
    return folder / f"{name}.log"


def running(name: str, folder: Path) -> dict[str, Any] | None:
    """Process id, fingerprint and ending signal of a server that runs, or None."""
    try:
        descriptor = os.open(lock_file(name, folder), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said: dict[str, Any] = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
        return said
    finally:
        os.close(descriptor)
    return None


def ensure(server: Server, folder: Path) -> bool:
    """Have a server running as it is described and answering; True if it was started for that.

    UserError with the end of its log where it does not come up.
    """
    known = running(server.name, folder)
    if known is not None and known.get("fingerprint") == server.fingerprint:
        wait_until_ready(server, folder, None)
        return False
    if known is not None:
        print(f"{server.name} is started again, with other settings", file=sys.stderr)
        stop(server.name, folder)
    wait_until_ready(server, folder, launch(server, folder))
    return True


def launch(server: Server, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own, with its log appended to."""
    descriptor = os.open(lock_file(server.name, folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with log_file(server.name, folder).open("ab") as log:
            process = subprocess.Popen(
                server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=[descriptor], env=shell_environment() | dict(server.environment), **as_user(server.user))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(server.note(process.pid)).encode(), 0)
    finally:
        os.close(descriptor)  # the server keeps its own
    return process


def shell_environment() -> dict[str, str]:
    """This process's environment without what is meant for clients of such servers, and without proxies to them."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return ours | beside_proxies()


def beside_proxies() -> dict[str, str]:
    """What keeps programs from asking this shell's proxies for the loopback; nothing where it names none."""
    named = getproxies()
    if not named.keys() - {"no"}:
        return {}
    listed = [named.get("no", ""), *([] if proxy_bypass(LOOPBACK[0]) else LOOPBACK)]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(filter(None, listed)))


def as_user(user: str) -> dict[str, Any]:
    """What subprocess needs to run a program as another user without any of our rights; nothing for "" """
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def wait_until_ready(server: Server, folder: Path, process: "subprocess.Popen[bytes] | None") -> None:
    """Wait for a server to answer; UserError where it ends or takes too long.

    process: the server if it was started just now.
    """
    deadline = time.monotonic() + START_SECONDS
    log = log_file(server.name, folder)
    while not server.ready():
        code = process.poll() if process is not None else None
        if code is not None:
            raise UserError(f"{server.name} ended with exit code {code}: {last_words(log)}", f"read {log}")
        if time.monotonic() > deadline:
            raise UserError(f"{server.name} runs but has not answered for {START_SECONDS:.0f} s: {last_words(log)}",
                            f"read {log}; then stop the services and start them again")
        time.sleep(0.1)


def last_words(log: Path) -> str:
    """The last line of a log, without passwords of addresses."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return without_secrets(lines[-1])[:300] if lines else "it said nothing"


def stop(name: str, folder: Path) -> bool:
    """End a server with all it has started; False where none was running.

    UserError where it does not end in time, which leaves it alone: killing a database is for its owner to decide.
    """
    known = running(name, folder)
    if known is None:
        return False
    deadline = time.monotonic() + STOP_SECONDS
    signal_group(known["pid"], signal.Signals(known["ends_by"]))
    while running(name, folder) is not None:
        if time.monotonic() > deadline:
            raise UserError(f"{name} (process {known['pid']}) has not ended in {STOP_SECONDS:.0f} s",
                            f"read {log_file(name, folder)}, then: kill -9 {known['pid']}")
        reap(known["pid"])
        time.sleep(0.05)
    return True


def signal_group(process: int, number: signal.Signals) -> None:
    """Send a signal to a server and its children; PostgreSQL's children are told by itself."""
    try:
        if number == signal.SIGINT:
            os.kill(process, number)
        else:
            os.killpg(process, number)
    except ProcessLookupError:  # ended meanwhile
        return


def reap(process: int) -> None:
    """Take note of the end of a server that this very process has started."""
    try:
        os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return
