"""Requests to a bucket side by side."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeAlias, TypeVar

from components.storage.bucket import Bucket
from components.storage.s3 import CONNECTIONS

T = TypeVar("T")
R = TypeVar("R")

# How far it has come: passes items on, and shows how many of the total, under a label.
Show: TypeAlias = Callable[[Iterable[int], int, str], Iterable[int]]


def quiet(items: Iterable[int], total: int, label: str) -> Iterable[int]:
    """Show nothing."""
    return items


def parallel(bucket: Bucket, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of some work on each item, as they come; the first error ends all, and waiting tries with it."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            given_up = bucket.stopped.is_set()  # by who ends everything
            bucket.stopped.set()
            pool.shutdown(cancel_futures=True)
            if not given_up:
                bucket.stopped.clear()
            raise
