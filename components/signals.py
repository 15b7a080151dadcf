"""How a process ends before its work does: asked to by SIGTERM, or because whoever started it is gone."""

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Within, SIGTERM calls a function in the main thread; elsewhere nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        act()

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def die_with_parent() -> None:
    """Be killed when the parent dies, and when `dvc repro` does: it must not leave a writer behind.

    DVC starts `$SHELL -c COMMAND`. Most shells become the command; where one stays in between, it would outlive DVC
    and keep the step alive, so the first ancestor that is not part of the stage is watched as well.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the request took effect
        os.kill(os.getpid(), signal.SIGKILL)
    starter = first_outside(parent, f"DVC_STAGE={os.environ.get('DVC_STAGE', '')}".encode())
    if starter not in (0, parent):
        threading.Thread(target=die_with, args=(os.pidfd_open(starter),), daemon=True).start()


def first_outside(process: int, variable: bytes) -> int:
    """The nearest of a process and its ancestors whose environment lacks a variable; 0 where none can be seen."""
    try:
        while process and variable in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            status = Path(f"/proc/{process}/stat").read_text()
            process = int(status.rpartition(")")[2].split()[1])
    except (OSError, ValueError):  # gone, or another user's
        return 0
    return process


def die_with(descriptor: int) -> None:
    """Wait for a process to end, then end this one at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)
