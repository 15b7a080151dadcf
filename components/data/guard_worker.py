"""What runs inside a guarded process: limits on memory, time and writing, then items until no more come."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from components.data.pool import end_with_parent

SPARE = 2  # seconds of CPU time beyond the allowed: the supervisor comes first, this is for when it does not
FILES = 64


@dataclass(frozen=True)
class Limits:
    """What an item may take. seconds: of wall time. memory_mb: MiB beyond what an idle worker has mapped."""

    seconds: float = 5.0
    memory_mb: int = 512


@dataclass(frozen=True)
class Work:
    """What is done with each item, and then with the results of a list of items."""

    each: Callable[[Any], Any]
    finish: Callable[[list[Any]], list[Any]]


def serve(work: Work, limits: Limits, connection: Connection, at: Any) -> None:
    """Work off lists of items until the other end closes; `at` says which item of a list is being worked on, from 1.

    A list is answered by the list of results, or by the exception that one raised.
    """
    end_with_parent()
    confine(limits)
    while True:
        try:
            items = connection.recv()
        except EOFError:
            return
        connection.send(worked_off(work, items, limits, at))


def worked_off(work: Work, items: list[Any], limits: Limits, at: Any) -> Any:
    """The results of some items, or what one of them raised."""
    results = []
    try:
        for place, item in enumerate(items, 1):
            at.value = place
            limit_cpu(limits)
            results.append(work.each(item))
        at.value = 0
        return work.finish(results)
    except Exception as error:  # noqa: BLE001 - raised again by who asked for it
        return error
    finally:
        at.value = 0


def confine(limits: Limits) -> None:
    """Take from this process, for good, what no decoder needs: memory without end, core dumps, writing to files."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries tell it of every damaged file
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    if sys.platform == "linux":  # elsewhere the limit counts otherwise, or not at all
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (limits.memory_mb << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def limit_cpu(limits: Limits) -> None:
    """Let the kernel end this process if the item now begun takes far too much CPU time."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + limits.seconds) + SPARE, hard))
