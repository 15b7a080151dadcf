"""A training split in parts, each to be judged by who has not learnt from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.data import chance
from components.data.dataset import Dataset
from components.data.files import listed
from components.data.groups import Groups, grouped, links_of
from components.data.list_files import named_rows
from components.data.stratifying import NONE, Counts, label_counts, stratified
from components.data.tasks import Task
from components.errors import UserError

Rows = NDArray[np.int64]

COLUMNS = ("group", "identity")


@dataclass(frozen=True)
class Folds:
    """Which part of `count` each row of a Dataset is in, int64 [N], -1 for rows that nobody learns from.

    by: what keeps samples in one part. notes: what a user should know.
    """

    count: int
    of: Rows
    by: tuple[str, ...]
    notes: tuple[str, ...]

    def rows(self, fold: int) -> Rows:
        """The rows of a part."""
        return np.flatnonzero(self.of == fold)


def divide(dataset: Dataset, rows: Rows, count: int, seed: int) -> Folds:
    """Some rows in so many parts: groups, identities and near duplicates whole, every class of every task shared out.

    The same rows and seed give the same parts, in any order. UserError where there are fewer groups than parts.
    """
    table = named_rows(dataset).iloc[rows].reset_index(drop=True)
    links = links_of(table, [name for name in COLUMNS if name in table], near_duplicates=True)
    groups = grouped(links)
    if len(groups) < count:
        raise UserError(f"{len(rows)} training samples form {len(groups)} groups ({', '.join(links)}), too few for "
                        f"{count} folds", f"set teach.folds to at most {len(groups)}, or to 0")
    counts = label_counts(table, dataset.tasks, groups.of, len(groups))
    parts = stratified(counts, np.full(len(groups), NONE), [1 / count] * count, ranked(groups, seed))
    if (lacking := set(range(count)) - set(parts.tolist())):
        raise UserError(f"{len(lacking)} of {count} folds got no sample: the groups are too uneven",
                        "set a smaller teach.folds")
    of = np.full(len(dataset), -1, np.int64)
    of[rows] = parts[groups.of]
    return Folds(count, of, tuple(links), tuple(notes_on(counts, dataset.tasks, count)))


def ranked(groups: Groups, seed: int) -> Rows:
    """The groups as chance ranks them, by their names alone, int64 [G]."""
    words = np.array([chance.purpose_word(seed, f"folds/{key}") for key in groups.keys], np.uint64)
    return np.argsort(words, kind="stable").astype(np.int64)


def notes_on(counts: Counts, tasks: Sequence[Task], count: int) -> list[str]:
    """Classes that cannot be in every part."""
    held, first, notes = np.bincount(counts.label, minlength=counts.shape[1]), 1, []
    for task in tasks:
        few = [f"{name} ({number})" for name, number in zip(task.classes, held[first:].tolist(), strict=False)
               if 0 < number < count]
        first += len(task.classes)
        if few:
            notes.append(f"{len(few)} classes of {task.name} have fewer groups than the {count} folds: {listed(few)}; "
                         "a class with one group is judged by who never saw it")
    return notes
