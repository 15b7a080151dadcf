"""A body of records under construction: whoever is killed while writing one goes on where it was.

Beside the files of records lies a ledger with a line for every record that is wholly written: the image's digest, the
length, and a digest of the record itself. A line counts only while the record agrees with it.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from components.data.forms import Form
from components.data.shards import Shards, file_name, first_rows, header

LEDGER, STATE = "ledger.bin", "state.json"
SCHEMA = 1
LINE = np.dtype([("id", "V32"), ("check", "V16"), ("length", "<i8")])
CHUNK = 1 << 20
EVERY = 64  # records after which the ledger is brought up to date


def check_of(record: bytes | NDArray[np.uint8]) -> bytes:
    """The digest by which a record is known again, 16 bytes."""
    return hashlib.sha256(record.data if isinstance(record, np.ndarray) else record).digest()[:16]


@dataclass(frozen=True)
class Body:
    """Records in a folder, as far as the ledger tells: lines is of dtype LINE, one a record."""

    lines: NDArray[Any]
    shards: Shards

    def sound(self, row: int) -> bool:
        """Whether the record of a row is there and agrees with its line."""
        try:
            record = self.shards.record(row)
        except (OSError, ValueError):  # the file is missing, or shorter than its header says
            return False
        return bool(check_of(record) == self.lines["check"][row].tobytes())


def read_body(folder: Path, key: str) -> Body | None:
    """The records that a folder holds in the form of this key; None where it holds none."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        size = (folder / LEDGER).stat().st_size // LINE.itemsize
        if (state["schema"], state["form"]) != (SCHEMA, key) or not size:
            return None
        lines = np.memmap(folder / LEDGER, LINE, "r", shape=(size,))
        lengths, limit, pixels = np.asarray(lines["length"]), int(state["limit"]), str(state["pixels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if (lengths <= 0).any():
        return None
    starts = first_rows(lengths, limit)
    names = [file_name(number, pixels) for number in range(len(starts))]
    return Body(lines, Shards(folder, names, starts, np.concatenate([[0], np.cumsum(lengths)])))


class Writer:
    """Appends records to a folder, in the order of the images.

    ids: uint8 [N, 32], of all images to come. limit: largest size of a file in bytes, its header aside. `done` is how
    many records are there already.
    """

    def __init__(self, folder: Path, form: Form, ids: NDArray[np.uint8], limit: int) -> None:
        self.folder, self.form, self.ids, self.limit = folder, form, ids, limit
        self.done, self._file, self._size = 0, -1, 0
        self._stream: IO[bytes] | None = None
        self._pending: list[tuple[bytes, bytes, int]] = []
        self._go_on()

    def append(self, record: bytes) -> None:
        """Add the record of the next image."""
        if self._file < 0 or self._size + len(record) > self.limit:
            self._next_file()
        assert self._stream is not None
        with named(Path(self._stream.name)):
            self._stream.write(record)
        self._size += len(record)
        self._pending.append((self.ids[self.done].tobytes(), check_of(record), len(record)))
        self.done += 1
        if len(self._pending) == EVERY:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the system: first the records, then their lines."""
        if self._stream is not None:
            with named(Path(self._stream.name)):
                self._stream.flush()
        with named(self.folder / LEDGER), (self.folder / LEDGER).open("ab") as ledger:
            ledger.write(np.array(self._pending, LINE).tobytes())
        self._pending = []

    def close(self) -> None:
        """Close the last file; what is not flushed is written again by who goes on."""
        if self._stream is not None:
            with suppress(OSError):  # a full disk has been told of already
                self._stream.close()
            self._stream = None

    def _next_file(self) -> None:
        self.flush()
        self.close()
        self._file, self._size = self._file + 1, 0
        path = self.folder / file_name(self._file, self.form.pixels)
        with named(path):
            self._stream = path.open("wb")
            self._stream.write(self._header(self.done))

    def _header(self, first: int) -> bytes:
        """What stands at the beginning of the file whose first record is that of a row."""
        rows = max(1, self.limit // self.form.decoded_bytes)
        return header(self.form, min(rows, len(self.ids) - first))

    def _go_on(self) -> None:
        state = {"schema": SCHEMA, "form": self.form.key(), "pixels": self.form.pixels, "limit": self.limit}
        text = json.dumps(state, sort_keys=True, indent=1) + "\n"
        body = read_body(self.folder, self.form.key())
        if body is not None and (self.folder / STATE).read_text(encoding="utf-8") == text:
            self._shorten(body, standing(body, self.ids))
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / STATE).write_text(text, encoding="utf-8")

    def _shorten(self, body: Body, rows: int) -> None:
        """Keep the first rows of a body, as far as their files begin as they should, and remove what follows them."""
        shards = body.shards
        places = list(zip(shards.starts.tolist(), [self.folder / name for name in shards.names], strict=True))
        rows = min([rows, *(first for first, path in places if first < rows and not self._begun(path, first))])
        kept = {path: first for first, path in places if first < rows}
        for path in self.folder.iterdir():
            if path not in kept and path.name not in (LEDGER, STATE):
                path.unlink()
        ends = [*list(kept.values())[1:], rows][: len(kept)]
        for (path, first), end in zip(kept.items(), ends, strict=True):
            self._size = int(shards.offsets[end] - shards.offsets[first])
            cut(path, len(self._header(first)) + self._size)
        cut(self.folder / LEDGER, rows * LINE.itemsize)
        self.done, self._file = rows, len(kept) - 1
        if kept:
            self._stream = list(kept)[-1].open("ab")

    def _begun(self, path: Path, first: int) -> bool:
        expected = self._header(first)
        with path.open("rb") as stream:
            return stream.read(len(expected)) == expected


def standing(body: Body, ids: NDArray[np.uint8]) -> int:
    """How many of the first records are those of these images, and sound."""
    count = min(len(body.lines), len(ids))
    equal = (line_ids(body.lines[:count]) == ids[:count]).all(axis=1)
    same = count if equal.all() else int(equal.argmin())
    return next((row for row in range(same) if not body.sound(row)), same)


def line_ids(lines: NDArray[Any]) -> NDArray[np.uint8]:
    """The digests of the images, uint8 [N, 32]."""
    return np.ascontiguousarray(lines["id"]).view(np.uint8).reshape(-1, 32)


def cut(path: Path, size: int) -> None:
    """Make a file end after some bytes; whoever else has a link to it keeps it as it was."""
    stat = path.stat()
    if (stat.st_size, stat.st_nlink) == (size, 1):
        return
    shorter = path.with_name(f".{path.name}.partial")
    with path.open("rb") as whole, shorter.open("wb") as part:
        while size > 0 and (chunk := whole.read(min(size, CHUNK))):
            part.write(chunk)
            size -= len(chunk)
    shorter.replace(path)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Give errors of the system the name of the file, which a write does not tell."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
