"""How far a long loop has come: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Pass items on and show on stderr how many of the total have passed.

    >>> list(progress(iter("ab"), total=2, label="letters"))
    ['a', 'b']
    """
    return _bar(items, total, label) if sys.stderr.isatty() else _lines(items, total, label)


def _bar(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=label, leave=False, dynamic_ncols=True)


def _lines(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    started = said = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES:
            said = now
            print(f"{label}: {count} of {total}, {count / (now - started):.0f}/s", file=sys.stderr, flush=True)
