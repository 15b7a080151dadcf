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
    """A Dataset beside a store.

    tasks: those of the Dataset of which the store speaks, or of them those that were asked for. rows: the Dataset's
    rows that the store covers, ascending, int64 [n]; places: where the store holds them, int64 [n]. notes: what differs
    between the two, in words.
    """

    dataset: Dataset
    store: Store
    sources: tuple[str, ...]
    tasks: tuple[Task, ...]
    rows: Rows
    places: Rows
    notes: tuple[str, ...]

    @property
    def out_of_fold(self) -> bool:
        """Whether no source had learnt the label of a sample that it judged: the head's `folds` says so."""
        return bool(self.store.head.get("folds"))


def beside(dataset: Dataset, store: Store, sources: Sequence[str] = (), tasks: Sequence[str] = ()) -> Sayings:
    """Join a Dataset and a store by content; UserError where tasks or sources differ or no sample is covered.

    sources: whose words count; all where none is named. tasks: of the Dataset, those that are asked about; all where
    none is named.
    """
    unknown = [name for name in sources if name not in store.sources]
    if unknown:
        raise UserError(f"{store.path} holds no source {unknown[0]}.{near(unknown[0], store.sources)}",
                        f"name some of {', '.join(store.sources)}")
    shared = shared_tasks(dataset.tasks, store, tasks)
    places = store.rows_of(dataset.ids)
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        raise UserError(f"{store.path} covers no sample of {dataset.path}",
                        "name the store that was made from this Dataset, or make it again: dvc repro teach")
    notes = list(differences(dataset, store, len(rows)))
    silent = [task.name for task in dataset.tasks if task not in shared and (not tasks or task.name in tasks)]
    notes += [f"the store says nothing of {', '.join(silent)}"] * bool(silent)
    return Sayings(dataset, store, tuple(sources) or tuple(store.sources), shared, rows, places[rows], tuple(notes))


def shared_tasks(tasks: Sequence[Task], store: Store, names: Sequence[str] = ()) -> tuple[Task, ...]:
    """The tasks of a Dataset of which a store speaks; UserError where one has other classes there, or there is none.

    names: of those that count; all where none is named.
    """
    theirs = {task.name: task for task in store.tasks}
    asked = [task for task in tasks if not names or task.name in names]
    found = tuple(task for task in asked if task.name in theirs)
    for task in found:
        for place, have, want in differing(f"tasks.{task.name}", theirs[task.name].to_json(), task.to_json()):
            raise UserError(f"{store.path}: {place} is {told(have)}; the Dataset has {told(want)}",
                            "the store was made for something else; make it again from this Dataset")
    if not found:
        raise UserError(f"{store.path} speaks of {', '.join(theirs)}, and not of "
                        f"{', '.join(task.name for task in asked)}",
                        "name a store that does" if names else "name a store that was made from this Dataset")
    return found


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


def open_both(dataset: Path, store: Path, sources: Sequence[str] = (), tasks: Sequence[str] = ()) -> Sayings:
    """Open two artifacts and join them; UserError where one is none, or they do not fit."""
    for path, head, name in ((dataset, "dataset.json", "Dataset"), (store, "probabilities.json", "store")):
        if not (path / head).is_file():
            raise UserError(f"{path} is no {name}: it has no {head}", "make it (dvc repro), or correct the path")
    return beside(Dataset.open(dataset), Store.open(store), sources, tasks)
