"""Those who take part in an ensemble: sources of stores, files of probabilities, files of labels; joined by sample."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.layouts.found import SEPARATOR
from components.data.tasks import Task
from components.errors import UserError, shown
from components.probabilities.heads import HEAD
from components.probabilities.naming import NOWHERE, rows_by_name
from components.probabilities.sayings import shared_tasks
from components.probabilities.store import Store
from components.probabilities.text_files import logarithms, numbers, refuse_repeats
from components.storage.digests import file_digest

Floats = NDArray[np.float64]

SIGNS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Member:
    """One who says something of the samples of a Dataset.

    said: by task, log-probabilities float64 [N, C], NaN in rows of which nothing is said. digest: of its words. bare:
    whether it names classes and knows no probabilities.
    """

    name: str
    said: dict[str, Floats]
    digest: str
    bare: bool = False

    def spoken(self, task: str) -> NDArray[np.bool_]:
        """Of which samples it says something, bool [N]."""
        return ~np.isnan(self.said[task][:, 0])


def read_members(paths: Sequence[Path], dataset: Dataset, task: Task, notes: list[str]) -> list[Member]:
    """Every member, in the order of their names; UserError where two have one name.

    task: what files are about; of a store all its tasks count.
    """
    found = [one for path in paths for one in ([*of_store(path, dataset)] if path.is_dir() else
                                               [of_file(path, dataset, task, notes)])]
    found.sort(key=lambda one: one.name)
    for one, other in pairwise(found):
        if one.name == other.name:
            raise UserError(f"two members are called {one.name}", "rename a file, or make a store with other names")
    return found


def of_store(path: Path, dataset: Dataset) -> list[Member]:
    """The sources of a store, as they judge untouched images, each about the tasks of which the store speaks."""
    if not (path / HEAD).is_file():
        raise UserError(f"{path} is no store: it has no {HEAD}", "name a store, or a file of predictions")
    store = Store.open(path)
    shared = shared_tasks(dataset.tasks, store)
    places = store.rows_of(dataset.ids)
    inside, found = np.flatnonzero(places >= 0), []
    for source in store.sources:
        said = {}
        for task in shared:
            said[task.name] = np.full((len(dataset), len(task.classes)), np.nan)
            column = np.zeros(len(inside), np.int64)
            said[task.name][inside] = store.one_view(source, task.name, places[inside], column)
        found.append(Member(source, said, f"{store.head['key']}/{source}"))
    return found


def of_file(path: Path, dataset: Dataset, task: Task, notes: list[str]) -> Member:
    """What a file says: `id,label`, or an id and a probability of every class; a line of headings may come first."""
    rows = cells_of(path, len(task.classes))
    if rows and is_heading(rows[0], dataset, task):
        rows = rows[1:]
    if not rows:
        raise UserError(f"{path} holds no prediction", "expected lines of an id and a label, or of probabilities")
    names = [row[0] for row in rows]
    refuse_repeats(names, path)
    places = rows_by_name(dataset, names)
    if (places == NOWHERE).any():
        strange = [names[place] for place in np.flatnonzero(places == NOWHERE)]
        raise UserError(f"{path} names {len(strange)} samples that the Dataset does not have, such as "
                        f"{shown(strange[0])}", "name the Dataset that the file is about")
    bare = len(rows[0]) == 2
    values = named(path, rows, task) if bare else told(path, rows, task, notes)
    said = np.full((len(dataset), len(task.classes)), np.nan)
    said[places] = values
    return Member(path.name.partition(".")[0], {task.name: said}, file_digest(path), bare)


def cells_of(path: Path, classes: int) -> list[list[str]]:
    """The lines of a file, each as an id and one label or as many probabilities as there are classes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "correct the path; the file is UTF-8 text") from None
    first = text.partition("\n")[0]
    sign = SIGNS.get(path.suffix.lower()) or next((one for one in "\t," if one in first), " ")
    rows = [row for row in csv.reader(text.splitlines(), delimiter=sign) if row]
    wide = len(rows[0]) > classes if rows else False  # an id may hold the sign itself
    count = classes if wide else 1
    for number, row in enumerate(rows, start=1):
        if len(row) <= count:
            raise UserError(f"{path}, line {number}: {shown(sign.join(row))}; expected an id and {count} more cells",
                            f"expected an id and a label, or an id and {classes} probabilities")
    return [[sign.join(row[:-count]), *row[-count:]] for row in rows]


def is_heading(row: Sequence[str], dataset: Dataset, task: Task) -> bool:
    """Whether a line names columns: neither is its id a sample, nor what follows a label or numbers."""
    if rows_by_name(dataset, row[:1])[0] != NOWHERE:
        return False
    known = {*task.classes, *map(str, range(len(task.classes)))}
    return not all(cell in known or cell.replace(".", "", 1).isdecimal() for cell in row[1:])


def named(path: Path, rows: Sequence[Sequence[str]], task: Task) -> Floats:
    """Logarithms of 0 and 1 for the classes that lines name, float64 [n, C]: names of classes, or all their numbers."""
    labels = [row[1].split(SEPARATOR) if task.kind == "multi" else [row[1]] for row in rows]
    every = {one for cell in labels for one in cell if one}
    by_name = {name: place for place, name in enumerate(task.classes)}
    by_number = {str(place): place for place in range(len(task.classes))}
    known = by_name if every <= by_name.keys() else by_number
    if not every <= known.keys():
        raise UserError(f"{path}: {shown(min(every - by_name.keys()))} is no class of {task.name}",
                        f"expected {', '.join(task.classes[:5])}{', ...' * (len(task.classes) > 5)}, or all as numbers "
                        "from 0")
    values = np.zeros((len(rows), len(task.classes)))
    for row, cell in enumerate(labels):
        values[row, [known[one] for one in cell if one]] = 1.0
    with np.errstate(divide="ignore"):
        found: Floats = np.log(values)
    return found


def told(path: Path, rows: Sequence[Sequence[str]], task: Task, notes: list[str]) -> Floats:
    """Log-probabilities of lines, float64 [n, C]."""
    values = [numbers(row[1:], len(task.classes), f"{path}, {row[0]}") for row in rows]
    return logarithms(np.array(values), task.kind, notes, str(path))
