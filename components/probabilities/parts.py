"""The files that a store consists of: each an .npy array that ends with a SHA-256 of what it is and what it holds.

The digest covers the store, the place in it and every byte, so a file that was cut, changed or put elsewhere is known
before its first number is used, and a restart knows what is whole without a list.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.storage import atomic

SEAL = 32  # bytes of the digest at the end
REMEDY = "fetch it again (dvc checkout --force), or make it again: remove the store, dvc repro teach"


def seal_of(key: str, name: str, content: "bytes | memoryview") -> bytes:
    """SHA-256 of `KEY/NAME`, a line feed, and a file's bytes before its seal.

    key: of the store, hexadecimal. name: the path below the store.
    """
    digest = hashlib.sha256(f"{key}/{name}\n".encode())
    digest.update(content)
    return digest.digest()


def write_part(folder: Path, key: str, name: str, array: NDArray[Any]) -> None:
    """Write one part, whole or not at all; OSError names it where there is no room.

    Its writer is alone, so a killed one's leftover is written over.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    with stream.getbuffer() as content:
        write_whole(path, content, seal_of(key, name, content))


def write_whole(path: Path, *pieces: "bytes | memoryview") -> None:
    """Write a file beside its place, flush it and rename it; what is left of a failure is removed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
        atomic.flush(partial)
        atomic.move_into_place(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def check_part(folder: Path, key: str, name: str) -> None:
    """UserError that names the file where it is missing, or is not the one that was written."""
    path = folder / name
    try:
        content = np.memmap(path, np.uint8, "r").data if path.stat().st_size else memoryview(b"")
    except FileNotFoundError:
        raise UserError(f"{path} is missing", REMEDY) from None
    found, expected = bytes(content[-SEAL:]), seal_of(key, name, content[:-SEAL])
    if found != expected:
        raise UserError(f"{path} is damaged: its last {SEAL} bytes are {found.hex()[:12]}..., the digest of the others "
                        f"is {expected.hex()[:12]}...", REMEDY)


def is_whole(folder: Path, key: str, name: str) -> bool:
    """Whether a part is there and is what was written."""
    try:
        check_part(folder, key, name)
    except UserError:
        return False
    return True


def mapped_part(folder: Path, name: str) -> NDArray[Any]:
    """The array of a part, mapped into memory; UserError where the file is no array."""
    try:
        array: NDArray[Any] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise UserError(f"{folder / name} is no array of numpy: {error}", REMEDY) from None
    return array
