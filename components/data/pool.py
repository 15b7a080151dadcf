"""Work spread over processes whose results come back in order, so that their number changes nothing but the time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from components.errors import TryAgain

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 16
WORTH_PROCESSES = 4  # chunks
AHEAD = 4  # chunks a process


def processes(threads: int) -> int:
    """How many processes a setting asks for; 0 takes every CPU that this process may run on."""
    return threads or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def ordered(
    function: Callable[[Item], Result], items: Sequence[Item], count: int, chunk: int = CHUNK
) -> Iterator[Result]:
    """function(item) for every item, in the order of the items.

    Processes are spawned, not forked: a fork of a process that has threads can deadlock. A short list is worked off
    here, since a process costs more than it saves. function must be importable by name, and results picklable.
    count: of processes. chunk: items handed over at a time. Raises TryAgain where a process dies.
    """
    if count == 1 or len(items) < WORTH_PROCESSES * chunk:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(count, len(items)), context, initializer=end_with_parent) as pool:
        try:
            yield from _not_far_ahead(pool, function, items, chunk, AHEAD * count)
        except BrokenProcessPool:
            raise TryAgain("a worker process died: killed for memory, or by a file that crashes its decoder",
                           "give it more memory or fewer processes (runtime.threads), then run the same command again"
                           ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # whoever stops listening stops the work


def _not_far_ahead(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item], chunk: int, most: int
) -> Iterator[Result]:
    """Results in order, of which no more than `most` chunks wait: whoever takes them may be slower than the pool."""
    waiting: deque[Future[list[Result]]] = deque()
    for first in range(0, len(items), chunk):
        waiting.append(pool.submit(_each, function, items[first : first + chunk]))
        if len(waiting) > most:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def end_with_parent() -> None:
    """Leave as soon as the parent is gone, however it went, and let it answer Ctrl-C alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
