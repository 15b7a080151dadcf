"""Pixels of a Dataset as a few large files that can be mapped into memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MIB = 1 << 20


def rows_per_shard(size: tuple[int, int], shard_mb: int) -> int:
    """How many images of a size (height, width) fit into a shard; at least one.

    >>> rows_per_shard((64, 64), 1)
    85
    """
    return max(1, shard_mb * MIB // (size[0] * size[1] * 3))


def shard_names(count: int, rows: int) -> list[str]:
    """The names of the files that hold a number of images, `rows` in each.

    >>> shard_names(5, 2)
    ['00000.npy', '00001.npy', '00002.npy']
    """
    return [f"{number:05d}.npy" for number in range(-(-count // rows))]


def create(folder: Path, count: int, rows: int, size: tuple[int, int]) -> list[str]:
    """Make the files of all shards, full of zeros, and return their names."""
    folder.mkdir()
    names = shard_names(count, rows)
    for number, name in enumerate(names):
        shape = (min(rows, count - number * rows), *size, 3)
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=np.uint8, shape=shape).flush()
    return names


def write(folder: Path, first: int, rows: int, pixels: NDArray[np.uint8]) -> None:
    """Put images [n, H, W, 3] at row `first` and after; writers of different rows do not disturb each other."""
    done = 0
    while done < len(pixels):
        number, place = divmod(first + done, rows)
        shard = np.lib.format.open_memmap(folder / f"{number:05d}.npy", mode="r+")
        length = min(len(pixels) - done, len(shard) - place)
        shard[place : place + length] = pixels[done : done + length]
        done += length
