"""Stores, labels and curriculum weights turned into text files of older programs, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.curriculum import make
from components.data.dataset import SPLITS, Dataset
from components.data.tasks import Task
from components.errors import UserError, shown
from components.probabilities.columns import own_columns
from components.probabilities.naming import rows_by_path
from components.probabilities.sayings import Sayings
from components.probabilities.store import StoreWriter
from components.probabilities.text_files import Floats, lines, logarithms, read_lines, truth
from components.probabilities.truth import true_probabilities
from components.storage import receipts
from components.storage.digests import value_digest


@dataclass(frozen=True)
class Wish:
    """What is exported: the samples of a split, with `THEIRS=OURS` for the beginning of paths, and the curriculum."""

    split: str
    prefix: str = ""
    thresholds: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    def path(self, ours: str) -> str:
        """A path as the files are to have it."""
        theirs, _, beginning = self.prefix.partition("=")
        return theirs + ours.removeprefix(beginning) if ours.startswith(beginning) else ours


@dataclass(frozen=True)
class Given:
    """What imported files are held against: all samples of a split must be there, and no others, unless `partial`."""

    dataset: Dataset
    task: Task
    split: str
    prefix: str = ""
    partial: bool = False


def texts(sayings: Sayings, task: Task, wish: Wish, notes: list[str]) -> dict[str, str]:
    """The text of every file by its name; UserError for thresholds out of order."""
    dataset, split = sayings.dataset, sayings.dataset.rows(wish.split)
    rows = split[np.isin(split, sayings.rows)]
    if len(rows) < len(split):
        notes.append(f"the store lacks {len(split) - len(rows)} of {len(split)} samples of {wish.split}")
    paths = np.array([wish.path(path) for path in dataset.column("path")], object)
    if any("," in path for path in paths[rows]):
        notes.append("paths hold commas: a program that does not count numbers from the end cuts them")
    places, found = sayings.store.rows_of(dataset.ids[rows]), {}
    column = np.full(len(rows), own_columns(sayings.store)[0])
    for source in sayings.sources:
        said = sayings.store.one_view(source, task.name, places, column).astype(np.float64)
        found[f"distill_{source}.txt"] = lines(paths[rows], np.exp(said))
    known, labels = truth(dataset, task, rows)
    if len(known) < len(rows):
        notes.append(f"{len(rows) - len(known)} samples have no label and are not in label.txt")
    found["label.txt"] = lines(paths[known], labels)
    if wish.thresholds or wish.weights:
        probabilities = true_probabilities(sayings.store, dataset, [task])[known]
        sure = ~np.isnan(probabilities)
        weights = make(probabilities[sure], wish.thresholds, wish.weights)
        found["curriculum.txt"] = lines(paths[known[sure]], in_decimals(weights)[:, None])
    return found


def in_decimals(weights: NDArray[np.float32]) -> Floats:
    """Weights as the shortest decimals that are these float32, float64 [n]."""
    return np.array([float(str(one)) for one in weights], np.float64)


def kind_of(path: Path) -> str:
    """What a file holds, by its name; UserError for one that is neither."""
    for kind in ("distill", "label", "curriculum"):
        if path.name.startswith(kind):
            return kind
    raise UserError(f"{path} is called neither distill*, label* nor curriculum*", "rename it to say what it holds")


def read_rows(path: Path, count: int, given: Given, notes: list[str]) -> tuple[NDArray[np.int64], Floats]:
    """The rows and numbers of a file; UserError where it lacks samples of the split or names others, if not allowed."""
    names, values = read_lines(path, count)
    rows = rows_by_path(given.dataset, names, given.prefix, str(path))
    wanted = given.dataset.rows(given.split)
    lacking, strange = int((~np.isin(wanted, rows)).sum()), np.flatnonzero(rows < 0)
    told = []
    if lacking:
        told.append(f"{path} lacks {lacking} of {len(wanted)} samples of {given.split}")
    if len(strange):
        told.append(f"{path} names {len(strange)} paths that the Dataset does not have, such as "
                    f"{shown(names[strange[0]])}")
    if told and not given.partial:
        raise UserError("; ".join(told), "correct --prefix or --split, or take what there is: --partial")
    notes += told
    return rows[rows >= 0], values[rows >= 0]


def said_of(path: Path, given: Given, notes: list[str]) -> tuple[NDArray[np.int64], Floats]:
    """The rows and log-probabilities of a file, float64 [n, C]."""
    rows, values = read_rows(path, len(given.task.classes), given, notes)
    return rows, logarithms(values, given.task.kind, notes, str(path))


def refuse_other_labels(path: Path, given: Given, notes: list[str]) -> None:
    """UserError where a file of labels has others than the Dataset: then its classes are in another order."""
    rows, values = read_rows(path, len(given.task.classes), given, notes)
    known, labels = truth(given.dataset, given.task, rows)
    told = values[np.isin(rows, known)]
    wrong = np.flatnonzero((told != labels).any(axis=1))
    if len(wrong):
        name = given.dataset.column("path")[int(known[wrong[0]])]
        raise UserError(f"{path} labels {len(wrong)} of {len(known)} samples otherwise than the Dataset, such as "
                        f"{shown(name)}", f"put its classes into this order: {', '.join(given.task.classes)}")


def write_said(folder: Path, given: Given, said: Mapping[str, tuple[NDArray[np.int64], Floats]]) -> None:
    """Write a store of the untouched view of what files said; of rows that all of them have."""
    dataset = given.dataset
    rows = np.sort(np.array(sorted(set.intersection(*(set(one.tolist()) for one, _ in said.values()))), np.int64))
    head = {"tasks": [given.task.to_json()], "sources": sorted(said), "views": [0], "seed": 0, "augmentation": None,
            "dataset": receipts.digest(dataset.path) if receipts.is_sealed(dataset.path) else None, "dtype": "float32",
            "models": {name: value_digest(values.tolist()) for name, (_, values) in ordered(said).items()},
            "coverage": {split: {"rows": int(np.isin(dataset.rows(split), rows).sum()), "of": len(dataset.rows(split))}
                         for split in SPLITS}}
    writer = StoreWriter(folder, head, dataset.ids[rows])
    for name, (own, values) in said.items():
        order = np.argsort(own, kind="stable")
        sorted_rows = own[order]
        for shard in range(writer.shard_count()):
            places = order[np.searchsorted(sorted_rows, rows[writer.rows_of(shard)])]
            writer.put(name, given.task.name, shard, values[places][:, None])
    writer.finish()


def ordered(said: Mapping[str, tuple[NDArray[np.int64], Floats]]) -> dict[str, tuple[NDArray[np.int64], Floats]]:
    """The same in the order of rows."""
    return {name: (np.sort(rows), values[np.argsort(rows, kind="stable")]) for name, (rows, values) in said.items()}


def weights_of(path: Path, given: Given, notes: list[str]) -> Floats:
    """Weights of a file, float64 [N]; of samples that it does not name, 1, and 0 in its split where that is allowed."""
    rows, values = read_rows(path, 1, given, notes)
    found = np.ones(len(given.dataset))
    found[given.dataset.rows(given.split)] = 0.0
    found[rows] = values[:, 0]
    return found
