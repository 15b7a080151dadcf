"""Which sample of a Dataset is meant by a name in somebody's file: its digest, its path, or the name of its file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.errors import UserError, shown

Rows = NDArray[np.int64]

NOWHERE, SEVERAL = -1, -2
LOOKED_AT = 1000  # names, for what they and the Dataset's paths begin with


def rows_by_name(dataset: Dataset, names: Sequence[str]) -> Rows:
    """The row of each name, int64 [n], NOWHERE for none: digest, path, name of the file, or that up to its first dot.

    UserError for a name that several samples bear.
    """
    paths = dataset.column("path").tolist()
    files = [PurePosixPath(path).name for path in paths]
    tables = [unique(dataset.column("id")), unique(paths), unique(files),
              unique(file.partition(".")[0] for file in files)]
    found = [next((table[name] for table in tables if name in table), NOWHERE) for name in map(plain, names)]
    if SEVERAL in found:
        name = names[found.index(SEVERAL)]
        raise UserError(f"{shown(name)} is the name of several samples", "name samples by their path, or by SHA-256")
    return np.array(found, np.int64)


def rows_by_path(dataset: Dataset, names: Sequence[str], prefix: str, file: str) -> Rows:
    """The row of each path, int64 [n], NOWHERE for none. prefix: `THEIRS=OURS`, what paths begin with in both, or "".

    UserError that shows both beginnings where not one path is the Dataset's.
    """
    theirs, _, ours = prefix.partition("=")
    known = unique(dataset.column("path"))
    moved = [plain(ours + name.removeprefix(theirs) if theirs and name.startswith(theirs) else name) for name in names]
    found = np.array([known.get(name, NOWHERE) for name in moved], np.int64)
    if len(found) and (found < 0).all():
        refuse_prefix(names, list(known), file)
    return found


def plain(name: str) -> str:
    """A name without what stands for the folder itself.

    >>> plain("./a/b.jpg")
    'a/b.jpg'
    """
    return name.removeprefix("./")


def unique(names: Iterable[str]) -> dict[str, int]:
    """The place of each name, SEVERAL for what is not the name of one alone."""
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        found[name] = SEVERAL if name in found else place
    return found


def refuse_prefix(names: Sequence[str], known: Sequence[str], file: str) -> None:
    """UserError that shows what the paths of a file and those of the Dataset begin with."""
    pairs = Counter(beginnings(names[:LOOKED_AT], known))
    if not pairs:
        raise UserError(f"none of the {len(names)} paths of {file} is the Dataset's, nor is the name of any file; the "
                        f"first is {shown(names[0])}, the Dataset has {shown(known[0])}",
                        "name the Dataset that these files are about")
    (theirs, ours), _ = min(pairs.items(), key=lambda item: (-item[1], item[0]))
    raise UserError(f"no path of {file} is the Dataset's: they begin with {shown(theirs)}, the Dataset's with "
                    f"{shown(ours)}", f"--prefix '{theirs}={ours}'")


def beginnings(names: Sequence[str], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is left of a name and of the path that ends most like it, for each name whose file is known."""
    by_file: dict[str, list[str]] = {}
    for path in known:
        by_file.setdefault(path.rpartition("/")[2], []).append(path)
    for name in names:
        ends = [(common_end(name, path), path) for path in by_file.get(name.rpartition("/")[2], [])]
        if ends:
            length, path = max(ends)
            yield name[: len(name) - length], path[: len(path) - length]


def common_end(one: str, other: str) -> int:
    """How many characters of whole path parts two paths end with alike.

    >>> common_end("data/train/a.jpg", "train/a.jpg"), common_end("x/ab.jpg", "y/ab.jpg")
    (11, 6)
    """
    length = 0
    for mine, theirs in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if mine != theirs:
            break
        length += len(mine) + (length > 0)
    return length
