"""Files of a raw folder: which of them are images, and names that can be trusted."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from components.data.decoding import IMAGE_SUFFIXES, sniff
from components.errors import UserError
from components.storage.digests import printable

LONGEST_MAGIC = 16


def visible(folder: Path, deep: bool = False) -> list[Path]:
    """What lies in a folder, or below it, without hidden files and folders; sorted by the bytes of the path.

    Folders themselves are not listed where it goes deep. Nothing there: an empty list.
    """
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = files if deep else files + folders
        found += [Path(parent) / name for name in names if not name.startswith(".")]
        if not deep:
            break
    return sorted(found, key=os.fsencode)


def safe_name(root: Path, path: Path) -> str:
    """The POSIX path below root; UserError for a name that is not UTF-8 text, shown escaped."""
    name = path.relative_to(root).as_posix()
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{root}: the name {printable(name)} is not UTF-8 text",
                        "rename it (for a whole tree: convmv -f latin1 -t utf8 --notest -r FOLDER)") from None
    return name


def image_files(root: Path, paths: Iterable[Path], notes: list[str]) -> list[str]:
    """Names below root of the files that are images by suffix or, where the suffix is another, by their first bytes.

    What is left out is counted in notes.
    """
    taken: list[str] = []
    others: list[str] = []
    for path in paths:
        if path.is_file():
            (taken if is_image(path) else others).append(safe_name(root, path))
    if others:
        notes.append(f"{len(others)} files that are no images are left out, for example {others[0]}")
    return taken


def is_image(path: Path) -> bool:
    """Whether a file claims to be an image that can be decoded."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    with path.open("rb") as stream:
        return bool(sniff(stream.read(LONGEST_MAGIC)))


def listed(names: Iterable[str], most: int = 3) -> str:
    """Some names for a message, the number of the others behind them.

    >>> listed(["b", "a", "c", "d"]), listed(["a"])
    ('a, b, c and 1 more', 'a')
    """
    ordered: Sequence[str] = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(printable(name) for name in ordered[:most]) + more
