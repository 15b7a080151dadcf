"""What the sources of a store say of the samples of a Dataset, block by block, so that a million rows fit in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError, near
from components.probabilities.columns import own_columns
from components.probabilities.heads import differences as differing
from components.probabilities.heads import told
from components.probabilities.store import Store
from components.storage import receipts

BLOCK = 4096

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sayings:
    """A Dataset beside a store of the same tasks.

    rows: the Dataset's rows that the store covers, ascending, int64 [n]; places: where the store holds them, int64 [n].
    notes: what differs between the two, in words.
    """

    dataset: Dataset
    store: Store
    sources: tuple[str, ...]
    rows: Rows
    places: Rows
    notes: tuple[str, ...]

    @property
    def out_of_fold(self) -> bool:
        """Whether no source had learnt the label of a sample that it judged: the head's `folds` says so."""
        return bool(self.store.head.get("folds"))


def beside(dataset: Dataset, store: Store, sources: Sequence[str] = ()) -> Sayings:
    """Join a Dataset and a store by content; UserError where tasks or sources differ or no sample is covered.

    sources: whose words count; all where none is named.
    """
    unknown = [name for name in sources if name not in store.sources]
    if unknown:
        raise UserError(f"{store.path} holds no source {unknown[0]}.{near(unknown[0], store.sources)}",
                        f"name some of {', '.join(store.sources)}")
    refuse_other_tasks(dataset, store)
    places = store.rows_of(dataset.ids)
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        raise UserError(f"{store.path} covers no sample of {dataset.path}",
                        "name the store that was made from this Dataset, or make it again: dvc repro teach")
    notes = list(differences(dataset, store, len(rows)))
    return Sayings(dataset, store, tuple(sources) or tuple(store.sources), rows, places[rows], tuple(notes))


def refuse_other_tasks(dataset: Dataset, store: Store) -> None:
    """UserError that names the first task whose kind or classes are not those of the Dataset."""
    theirs = {task.name: task.to_json() for task in store.tasks}
    for task in dataset.tasks:
        for place, have, want in differing(f"tasks.{task.name}", theirs.get(task.name), task.to_json()):
            raise UserError(f"{store.path}: {place} is {told(have)}; {dataset.path} has {told(want)}",
                            "the store was made for something else; make it again: dvc repro teach")


def differences(dataset: Dataset, store: Store, covered: int) -> Iterator[str]:
    """How a store and a Dataset that fit each other still differ."""
    if receipts.is_sealed(dataset.path) and store.head.get("dataset") != receipts.digest(dataset.path):
        yield "the store was made from another version of the Dataset; samples are joined by their content"
    if covered < len(dataset):
        yield f"the store covers {covered} of {len(dataset)} samples; the others are left out"


def members(sayings: Sayings, task: Task, inside: Rows) -> Iterator[Floats]:
    """The probabilities of a task in the words of every source and view of one image, one [n, C] after the other.

    inside: places in `sayings.rows`, int64 [n]. Rows of a `single` task sum to 1.
    """
    for source in sayings.sources:
        said = sayings.store.log_probabilities(source, task.name, sayings.places[inside])
        for column in own_columns(sayings.store):
            values = np.exp(said[:, column].astype(np.float64))
            yield values / values.sum(axis=1, keepdims=True) if task.kind == "single" else values


def mean(sayings: Sayings, task: Task, inside: Rows) -> Floats:
    """The mean of the probabilities over sources and views, [n, C]; for a row the same bits beside any others."""
    total, count = np.zeros((len(inside), len(task.classes))), 0
    for values in members(sayings, task, inside):
        total += values
        count += 1
    return total / count


def means(sayings: Sayings, task: Task, inside: Rows) -> Iterator[tuple[slice, Floats]]:
    """`mean` of many places, block by block: which of them, and their values."""
    for start in range(0, len(inside), BLOCK):
        block = slice(start, min(start + BLOCK, len(inside)))
        yield block, mean(sayings, task, inside[block])


def open_both(dataset: Path, store: Path, sources: Sequence[str] = ()) -> Sayings:
    """Open two artifacts and join them; UserError where one is none, or they do not fit."""
    for path, head, name in ((dataset, "dataset.json", "Dataset"), (store, "probabilities.json", "store")):
        if not (path / head).is_file():
            raise UserError(f"{path} is no {name}: it has no {head}", "make it (dvc repro), or correct the path")
    return beside(Dataset.open(dataset), Store.open(store), sources)
