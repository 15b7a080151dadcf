"""The layout of list files: train.txt, val.txt, test.txt with a path and a label a line, or a path alone.

A path and its label are parted by a space, a TAB or a comma, and a line is split at the last one, so that paths may
hold any of them; which it is shows in the paths that exist. Labels are names, or numbers of the lines of classes.txt.
"""

import csv
import io
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import glance, has_image_suffix, listed, other_spelling, root_of, walk
from components.data.layouts.folders import folder_task
from components.data.layouts.found import Found, split_of
from components.data.layouts.table import refuse_repeated
from components.data.settings import Data
from components.errors import UserError
from components.settings import near, shown

SUFFIXES = (".txt", ".csv", ".tsv")
CLASSES = ("classes.txt", "labels.txt")
SEPARATORS = {"tab": "\t", "comma": ",", "space": " "}
HEADS = frozenset(("path", "file", "filename", "filepath", "image", "image_path", "name", "img"))
Pair = tuple[str, str]  # path, label


@dataclass(frozen=True)
class Place:
    """The folder that listed paths are relative to, by the spellings of it, and the files below it."""

    folder: Path
    spellings: tuple[str, ...]
    files: frozenset[str]

    def name(self, path: str) -> str:
        """The relative name of a listed file, or "" where there is none of that path.

        A hidden file, which no walk lists, may be named.
        """
        for spelling in self.spellings:
            path = path.removeprefix(spelling)
        name = posixpath.normpath(path) if path else ""
        if name in self.files:
            return name
        hidden = "/." in f"/{name}" and not name.startswith(("/", "..")) and name != "." and "\0" not in name
        return name if hidden and (self.folder / name).is_file() else ""


def recognised(root: Path) -> bool:
    """Whether a list is there that is named like a split."""
    return bool(found_lists(root))


def read(root: Path, data: Data) -> Found:
    """Every listed file with its split and label."""
    task, kind = folder_task(data)
    notes: list[str] = []
    place, beside = opened(root_of(root, data.root), notes)
    names = class_names(root)
    rows = [(path, split, label) for split, origin in one_a_split(root, notes).items()
            for path, label in read_list(origin, place)]
    refuse_repeated([path for path, _, _ in rows], root)
    unlisted = beside - {path for path, _, _ in rows}
    if unlisted:
        notes.append(f"{len(unlisted)} images stand in no list and are left out: {listed(unlisted)}")
    table = pd.DataFrame(rows, columns=["path", "split", task], dtype=object)
    if names and kind == "single":
        table[task] = named(table[task].tolist(), names, root)
    return Found(table, notes, {task: names} if names else {}, {task: kind})


def opened(folder: Path, notes: list[str]) -> tuple[Place, set[str]]:
    """The folder of the listed files, and which of them are images."""
    tree = walk(folder)
    notes += tree.notes
    spellings = tuple({f"{folder.absolute().as_posix()}/": 0, f"{folder.resolve().as_posix()}/": 0})
    return Place(folder, spellings, frozenset(tree.files)), set(filter(has_image_suffix, tree.files))


def found_lists(root: Path) -> dict[str, list[str]]:
    """Names of the files that are lists, by split."""
    found: dict[str, list[str]] = {}
    for name in sorted(entry.name for entry in glance(root)):
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() in SUFFIXES and split_of(stem):
            found.setdefault(split_of(stem), []).append(name)
    return found


def one_a_split(root: Path, notes: list[str]) -> dict[str, Path]:
    """The list of each split; UserError where a split has two."""
    found = found_lists(root)
    for split, names in found.items():
        if len(names) > 1:
            raise UserError(f"{root}: {listed(names)} are all lists of split {split}", "keep one")
        if posixpath.splitext(names[0])[0] != split:
            notes.append(f"{names[0]} is read as split {split}")
    return {split: root / found[split][0] for split in SPLITS if split in found}


def class_names(root: Path) -> tuple[str, ...]:
    """The names in classes.txt or labels.txt, one a line; UserError where one stands there twice."""
    for name in CLASSES:
        if (root / name).is_file():
            lines = [line.strip() for line in decoded(root / name).split("\n")]
            names = [line for line in lines if line]
            refuse_repeated(names, root / name)
            return tuple(names)
    return ()


def decoded(path: Path) -> str:
    """The text of a file, without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None


def read_list(origin: Path, place: Place) -> list[Pair]:
    """The pairs of a list, by the separator under which most paths exist; UserError where some do not."""
    text = decoded(origin)
    suffix = origin.suffix.lower()
    tried = {".csv": ("comma",), ".tsv": ("tab",)}.get(suffix, tuple(SEPARATORS))
    readings = [parsed(text, SEPARATORS[name], place) for name in tried]
    best = min(readings, key=lambda reading: (len(reading[1]), bare(*reading)))  # the first of equals
    if best[1]:
        refuse_missing(origin, place, len(best[0]), [path for path, _ in best[1]])
    return best[0]


def bare(pairs: list[Pair], missing: list[Pair]) -> int:
    """How many pairs have no label."""
    return sum(not label for _, label in (*pairs, *missing))


def parsed(text: str, separator: str, place: Place) -> tuple[list[Pair], list[Pair]]:
    """Pairs whose paths exist, and those whose do not."""
    pairs: list[Pair] = []
    missing: list[Pair] = []
    for number, readings in enumerate(lines_of(text, separator)):
        pair = next(((name, label) for path, label in readings if (name := place.name(path))), None)
        if pair:
            pairs.append(pair)
        elif number or readings[0][0].strip().lower() not in HEADS:
            missing.append(readings[0])
    return pairs, missing


def lines_of(text: str, separator: str) -> Iterable[list[Pair]]:
    """What every line that is not empty may mean, the likeliest first: a path and a label, or a path alone."""
    if separator == ",":
        for row in csv.reader(io.StringIO(text, newline="")):
            if any(row):
                split = [(",".join(row[:-1]), row[-1].strip())] if len(row) > 1 else []
                yield [*split, (",".join(row), "")]
        return
    for line in text.split("\n"):
        whole = line.removesuffix("\r")
        if whole.strip():
            yield [*(halves(one, separator) for one in (whole, whole.rstrip())), (whole, ""), (whole.strip(), "")]


def halves(line: str, separator: str) -> Pair:
    """A line split at its last separator; without one it is a path.

    >>> halves("a b.jpg 3", " "), halves("b.jpg", " ")
    (('a b.jpg', '3'), ('b.jpg', ''))
    """
    path, parting, label = line.rpartition(separator)
    return (path, label.strip()) if parting else (line, "")


def refuse_missing(origin: Path, place: Place, matched: int, missing: list[str]) -> None:
    """UserError for lines without a file: how many matched, and what may be wrong with the others."""
    hint = other_spelling(missing[0], lambda path: bool(place.name(path)))
    raise UserError(
        f"{origin}: {matched} of {matched + len(missing)} paths are files below {place.folder}, "
        f"{shown(missing[0])} is not{hint}; in all: {listed(missing)}",
        "write paths relative to the folder of the list, or set data.root to the folder that they are relative to")


def named(labels: list[str], names: tuple[str, ...], root: Path) -> list[str]:
    """Labels as names of classes.txt: as they are where all are names, else taken as numbers of its lines from 0."""
    numbers = {str(number): name for number, name in enumerate(names)} | {"": ""}
    if not set(labels) - {*names, ""}:
        return labels
    if not set(labels) - numbers.keys():
        return [numbers[label] for label in labels]
    bad = min(set(labels) - {*names, ""})
    raise UserError(f"{root}: label {shown(bad)} is neither one of the {len(names)} names in the list of classes nor, "
                    f"as all others, a number below {len(names)}.{near(bad, names)}",
                    f"correct it, or {' or '.join(CLASSES)}")
