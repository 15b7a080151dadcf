"""One image under several classes or tasks: files of equal content become one row."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.data.dataset import SPLITS
from components.data.files import listed
from components.data.layouts.found import SEPARATOR
from components.storage.digests import file_digest

Row = dict[str, str]
ORDER = ("", *SPLITS)


def joined(root: Path, rows: Sequence[Row], kinds: Mapping[str, str], notes: list[str]) -> list[Row]:
    """Rows with those of equal content made one, in the order of the first of each.

    rows: path, split and the labels of tasks, "" for none. kinds: of every task. Files whose labels of a `single` task
    contradict each other stay apart, for `validate` to name. Of differing splits the one that is scored later counts.
    """
    groups: dict[int, list[Row]] = {}
    for row, first in zip(rows, same_content(root, [row["path"] for row in rows]), strict=True):
        groups.setdefault(first, []).append(row)
    result: list[Row] = []
    torn: list[str] = []
    copies: list[str] = []
    for members in groups.values():
        merged = merge(members, kinds)
        result += [merged] if merged else members
        if merged and len(members) > 1:
            if len({row["split"] for row in members}) > 1:
                torn.append(members[0]["path"])
            copies += repeated(members, kinds)
    if torn:
        notes.append(f"{len(torn)} images lie in several splits and count for the one scored last: {listed(torn)}")
    if copies:
        notes.append(f"{len(copies)} files are copies of others with the same label and are read once: "
                     f"{listed(copies)}")
    return result


def merge(members: Sequence[Row], kinds: Mapping[str, str]) -> Row | None:
    """One row for files of equal content, or None where their labels contradict each other."""
    merged = {"path": members[0]["path"], "split": max((row["split"] for row in members), key=ORDER.index)}
    for task, kind in kinds.items():
        labels = sorted({row[task] for row in members if row.get(task)})
        if kind == "single" and len(labels) > 1:
            return None
        merged[task] = SEPARATOR.join(labels)
    return merged


def repeated(members: Sequence[Row], kinds: Mapping[str, str]) -> list[str]:
    """Paths of the rows that say nothing that an earlier one does not."""
    known: set[tuple[str, str]] = set()
    found = []
    for row in members:
        said = {(task, row[task]) for task in kinds if row.get(task)}
        if said <= known:
            found.append(row["path"])
        known |= said
    return found


def same_content(root: Path, paths: Sequence[str]) -> list[int]:
    """For every path the number of the first file of the same content; its own where it is the first or no file.

    Only files whose sizes collide are read, and a file of several names once.
    """
    by_size: dict[int, dict[tuple[int, int], list[int]]] = {}
    for number, path in enumerate(paths):
        try:
            found = (root / path).stat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            by_size.setdefault(found.st_size, {}).setdefault((found.st_dev, found.st_ino), []).append(number)
    first = list(range(len(paths)))
    for files in by_size.values():
        by_digest: dict[str, int] = {}
        for numbers in files.values():
            leader = numbers[0]
            if len(files) > 1:
                leader = by_digest.setdefault(digest_of(root / paths[leader], leader), leader)
            for number in numbers:
                first[number] = leader
    return first


def digest_of(path: Path, number: int) -> str:
    """SHA-256 of a file; of one that cannot be read, a word that no other file has."""
    try:
        return file_digest(path)
    except OSError:
        return f"unreadable {number}"
