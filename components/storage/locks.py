"""One kernel lock per output: it dies with its holder, and no process id decides anything.

DVC tells owners apart by process id and command, so two containers that share a volume can run one stage at once;
`flock` on a file beside the output cannot be fooled that way.
"""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from components.errors import TryAgain


def lock_path(output: Path) -> Path:
    """The lock file of an output, beside it and hidden.

    >>> lock_path(Path("data/dataset")).as_posix()
    'data/.dataset.lock'
    """
    return output.parent / f".{output.name}.lock"


@contextmanager
def locked(outputs: list[Path]) -> Iterator[None]:
    """Hold the locks of all outputs, or raise TryAgain at once and hold none."""
    with ExitStack() as stack:
        for output in sorted(outputs):
            stack.enter_context(_locked_one(output))
        yield


@contextmanager
def _locked_one(output: Path) -> Iterator[None]:
    path = lock_path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 256, 0).decode(errors="replace").strip() or "an unnamed process"
            raise TryAgain(
                f"{output} is being written by {holder}", "wait until it has ended, then run the same command again"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{socket.gethostname()}, process {os.getpid()}, {secrets.token_hex(4)}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # the file stays: removing a lock file races with the next holder
