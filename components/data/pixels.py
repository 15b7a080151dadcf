"""From what is stored of images to a batch of pixels: copies where they are decoded, threads that decode where not."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from components.data.forms import Form, pixels_of
from components.data.pool import processes as cpus_for
from components.data.shards import Shards

MOST_THREADS = 16
CHUNK = 8  # images that a thread takes at a time


def read_pixels(shards: Shards, form: Form, rows: NDArray[np.int64], batch: NDArray[np.uint8]) -> None:
    """Put the pixels of some rows into a batch uint8 [n, H, W, 3]; IndexError for a row that is not there."""
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(shards.offsets) - 1:
        raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(shards.offsets) - 1}")
    if form.pixels == "decoded":
        copy_pixels(shards, rows, batch)
    else:
        decode_pixels(shards, form, rows, batch)


def copy_pixels(shards: Shards, rows: NDArray[np.int64], batch: NDArray[np.uint8]) -> None:
    """Copy decoded pixels, in the order in which they lie on the disk."""
    numbers = np.searchsorted(shards.starts, rows, side="right") - 1
    shape = batch.shape[1:]
    length = int(np.prod(shape))
    for place in np.argsort(rows, kind="stable").tolist():
        number = int(numbers[place])
        begin = (int(rows[place]) - int(shards.starts[number])) * length
        batch[place] = shards.file(number)[begin : begin + length].reshape(shape)


def decode_pixels(shards: Shards, form: Form, rows: NDArray[np.int64], batch: NDArray[np.uint8]) -> None:
    """Decode JPEGs, several at a time: Pillow lets other threads run while it decodes and resizes."""
    def decode_some(places: list[int]) -> None:
        for place in places:
            batch[place] = pixels_of(shards.record(int(rows[place])), form)

    order = np.argsort(rows, kind="stable").tolist()
    chunks = [order[first : first + CHUNK] for first in range(0, len(order), CHUNK)]
    pool = threads(os.getpid()) if len(chunks) > 1 else None
    for _ in map(decode_some, chunks) if pool is None else pool.map(decode_some, chunks):
        pass


def cpus() -> int:
    """How many CPUs this process may run on."""
    return cpus_for(0)


@cache
def threads(process: int) -> ThreadPoolExecutor | None:
    """The threads that decode in a process, None in a child: its parent has one such child for every CPU.

    A child that was forked inherits the pool but none of its threads, hence the process id.
    """
    count = min(MOST_THREADS, cpus())
    alone = multiprocessing.parent_process() is None
    return ThreadPoolExecutor(count, thread_name_prefix="decoding") if alone and count > 1 else None
