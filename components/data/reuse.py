"""What an earlier run stored of images, so that only new and changed files are decoded.

A body of records is kept by hard links (or copies, where the disk has no links) under the digest of its form: what
was decoded in another way is never found. Nothing is taken from it without its own digest being checked.
"""

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.writing import STATE, Body, line_ids, read_body
from components.errors import TryAgain
from components.storage import atomic
from components.storage.locks import locked

FORMS = 2  # bodies of so many forms are kept: this one, and the one before
Words = NDArray[np.uint64]


def kept_body(cache: Path, key: str) -> Body | None:
    """The body that was kept in the form of a key, or None."""
    return read_body(entry(cache, key), key)


def find(body: Body | None, ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The row of a body that holds each image, -1 where none does. ids: uint8 [N, 32] -> int64 [N]."""
    if body is None or not len(ids):
        return np.full(len(ids), -1, np.int64)
    theirs = line_ids(body.lines)
    words = first_words(theirs)
    order = np.argsort(words, kind="stable")
    place = np.searchsorted(words[order], first_words(ids))
    rows = order[np.minimum(place, len(order) - 1)]
    return np.where((theirs[rows] == ids).all(axis=1), rows, -1)


def first_words(ids: NDArray[np.uint8]) -> Words:
    """The first 64 bits of digests, uint8 [N, 32] -> uint64 [N]."""
    return np.ascontiguousarray(ids[:, :8]).view(np.uint64).ravel()


def keep(cache: Path, key: str, folder: Path) -> str:
    """Keep a body for the next run, in place of what was kept of its form; why it could not be, or ""."""
    place = entry(cache, key)
    try:
        with locked([place]), atomic.private([place]) as [private]:
            link_all(folder, private)
            atomic.move_into_place(private, place)
    except (OSError, TryAgain) as error:
        return f"pixels are not kept in {cache} for the next run: {error}"
    for other in sorted(bodies(cache), key=lambda path: (path / STATE).stat().st_mtime_ns)[:-FORMS]:
        shutil.rmtree(other, ignore_errors=True)
    return ""


def keep_if_larger(cache: Path, key: str, folder: Path) -> str:
    """Keep an unfinished body where nothing of its form is kept, or less."""
    mine, theirs = read_body(folder, key), kept_body(cache, key)
    if mine is None or (theirs is not None and len(theirs.lines) >= len(mine.lines)):
        return ""
    return keep(cache, key, folder)


def bodies(cache: Path) -> list[Path]:
    """The bodies that are kept, of all forms."""
    return [path.parent for path in (cache / "pixels").glob(f"[!.]*/{STATE}")]


def entry(cache: Path, key: str) -> Path:
    """Where a body of a form is kept."""
    return cache / "pixels" / key[:32]


def link_all(source: Path, target: Path) -> None:
    """A folder with the same files, sharing their bytes where the disk allows it."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        link(path, target / path.name)


def link(source: Path, target: Path) -> None:
    """A second name for a file's bytes, or a copy of them where they cannot have one."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)
