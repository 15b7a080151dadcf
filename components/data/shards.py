"""What is stored of images, one after the other in a few large files that can be mapped into memory.

Decoded pixels lie in .npy files of [n, H, W, 3]; JPEGs lie end to end, and offsets.npy tells where each begins.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.forms import Form

MIB = 1 << 20
OFFSETS = "offsets.npy"
MOST_FILES = 512  # each that is mapped holds a descriptor, of which a process often has 1,024


def file_limit(expected: int, shard_mb: int) -> int:
    """The largest size of a file in bytes: what was asked for, or more where that would make too many files.

    >>> file_limit(10 << 30, 256) // MIB, file_limit(1 << 40, 256) // MIB
    (256, 2048)
    """
    return max(shard_mb * MIB, -(-expected // MOST_FILES))


def first_rows(lengths: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """The first row of every file, where records of these lengths [N] fill files up to a limit; at least one in each.

    >>> first_rows(np.array([3, 3, 3, 9, 1]), 7).tolist()
    [0, 2, 3, 4]
    """
    ends = np.cumsum(lengths)
    starts: list[int] = []
    row = before = 0
    while row < len(lengths):
        starts.append(row)
        row = max(row + 1, int(np.searchsorted(ends, before + limit, side="right")))
        before = int(ends[row - 1])
    return np.array(starts, np.int64)


def file_name(number: int, pixels: str) -> str:
    """The name of a file.

    >>> file_name(0, "decoded"), file_name(12, "jpeg")
    ('00000.npy', '00012.jpegs')
    """
    return f"{number:05d}.{'npy' if pixels == 'decoded' else 'jpegs'}"


def header(form: Form, rows: int) -> bytes:
    """What stands before the records of a file: nothing before JPEGs."""
    if form.pixels != "decoded":
        return b""
    stream = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (rows, *form.size, 3)}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


@dataclass(frozen=True)
class Shards:
    """Records by row.

    names: of the files. starts: first row of each, int64. offsets: where each record begins, counted over all files
    without their headers, int64 [N + 1].
    """

    folder: Path
    names: Sequence[str]
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    _open: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def record(self, row: int) -> NDArray[np.uint8]:
        """What is stored of a row, uint8 [bytes], not copied."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        begin = self.offsets[self.starts[number]]
        return self.file(number)[self.offsets[row] - begin : self.offsets[row + 1] - begin]

    def file(self, number: int) -> NDArray[np.uint8]:
        """The records of a file end to end, uint8; mapped when they are first asked for."""
        if number not in self._open:
            self._open[number] = mapped(self.folder / self.names[number])
        return self._open[number]


def mapped(path: Path) -> NDArray[np.uint8]:
    """The records of a file end to end, uint8, mapped into memory, as far as they are written."""
    flat: NDArray[np.uint8] = np.memmap(path, np.uint8, "r", offset=header_size(path))
    return flat


def header_size(path: Path) -> int:
    """Bytes before the first record of a file; ValueError where a header is damaged."""
    if path.suffix != ".npy":
        return 0
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        np.lib.format.read_array_header_1_0(stream)
        return stream.tell()


def equal_offsets(count: int, length: int) -> NDArray[np.int64]:
    """Offsets of records that are all equally long."""
    return np.arange(count + 1, dtype=np.int64) * length
