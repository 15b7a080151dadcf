"""The pictures of a body described in numbers, blocks of them side by side."""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from components.data.embedding import Embeddings, embedded
from components.data.forms import Form
from components.data.pixels import read_pixels
from components.data.pool import ordered
from components.data.writing import LEDGER, Body, read_body
from components.progress import progress

BLOCK = 256


def embeddings(folder: Path, form: Form, count: int, processes: int) -> Iterator[Embeddings]:
    """The embeddings of all images whose records lie in a folder, in their order, BLOCK of them at a time."""
    starts = range(0, count, BLOCK)
    state = (folder / LEDGER).stat()
    work = partial(embed_block, folder, form, (state.st_ino, state.st_mtime_ns))
    blocks = ordered(work, starts, processes, chunk=1)
    yield from progress(blocks, len(starts), "describing blocks of images")


def embed_block(folder: Path, form: Form, stamp: tuple[int, int], first: int) -> Embeddings:
    """The embeddings of the images from a row on, at most BLOCK of them."""
    shards = opened(folder, form, stamp).shards
    rows = np.arange(first, min(first + BLOCK, len(shards.offsets) - 1))
    batch = np.empty((len(rows), *form.size, 3), np.uint8)
    read_pixels(shards, form, rows, batch)
    return embedded(batch)


@lru_cache(maxsize=1)
def opened(folder: Path, form: Form, stamp: tuple[int, int]) -> Body:
    """A finished body, opened once in every process. stamp: tells it from what lay there before."""
    body = read_body(folder, form.key())
    assert body is not None
    return body
