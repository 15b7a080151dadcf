"""Files and folders that are whole or absent: written privately, flushed, renamed into place."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.storage.digests import json_text, walk_files

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def private_folder(output: Path) -> Path:
    """Where an output is written before it is renamed: beside it, so that the rename stays on one file system.

    >>> private_folder(Path("data/dataset")).as_posix()
    'data/.dataset.partial'
    """
    return output.parent / f".{output.name}.partial"


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def private(outputs: list[Path]) -> Iterator[list[Path]]:
    """Fresh private paths for outputs whose locks are held; whatever is left of them is removed at the end.

    Leftovers of a killed holder are removed first: the lock says that nobody else is writing there.
    """
    folders = [private_folder(output) for output in outputs]
    try:
        for folder in folders:
            remove(folder)
            folder.mkdir(parents=True)
        yield [folder / output.name for folder, output in zip(folders, outputs, strict=True)]
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def flush(path: Path) -> None:
    """Push a file, or every file and folder of a tree, to the disk."""
    if path.is_file():
        _fsync(path)
        return
    for file in walk_files(path):
        _fsync(file)
    for folder, _, _ in os.walk(path, topdown=False):
        _fsync(Path(folder))


def move_into_place(source: Path, target: Path) -> None:
    """Rename a flushed file or folder to its final name, replacing what was there, and make the rename durable."""
    if os.path.lexists(target) and (source.is_dir() or target.is_dir()):  # rename replaces no folder
        _exchange(source, target)
    else:
        source.replace(target)
    _fsync(target.parent)


def write_json(path: Path, values: Any) -> None:
    """Write JSON in its one spelling, as `write_file` does."""
    write_file(path, json_text(values))


def write_file(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part.

    Its writer is alone (it holds the lock of what the file is about), so a killed one's leftover is written over.
    UserError where a folder stands there: it would be replaced with all that is in it.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; a file would replace it", "name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = private_folder(path)
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        flush(partial)
        move_into_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _exchange(source: Path, target: Path) -> None:
    """Swap two paths at one blow, so that no moment sees neither; what was replaced is removed.

    File systems that cannot (some network ones) get two renames, with a moment between.
    """
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    if swap and swap(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), RENAME_EXCHANGE) == 0:
        remove(source)
        return
    old = target.parent / f".{target.name}.replaced"
    remove(old)
    target.rename(old)
    source.replace(target)
    remove(old)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
