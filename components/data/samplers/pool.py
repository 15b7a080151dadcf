"""What samplers draw from: the rows of a training and the groups they fall into, each in an order of its own.

A group is a circle: its rows in one order, drawn from the seed, through which successive epochs move on. So any n
consecutive draws of a group of n visit all of it: at K draws an epoch every image is seen within ceil(n / K) epochs,
counted from any epoch, and where the circle stands is a single number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.data.chance import generator
from components.data.dataset import Dataset
from components.data.sampler_settings import Sampler
from components.data.tasks import Task
from components.errors import UserError, near

Rows: TypeAlias = NDArray[np.int64]
Memory: TypeAlias = dict[str, list[float]]  # what one epoch leaves to the next: numbers for each group, by name


@dataclass(frozen=True)
class Draw:
    """The rows of one batch, int64 [n], and the only task that it is about, if it is about one."""

    rows: Rows
    task: str | None = None


@dataclass(frozen=True)
class Group:
    """Rows that stand for each other, in the order of their circle: those of a class, a task or an identity.

    task: "" for identities of the column and for rows without a class. place: the number of the class, -1 for none.
    """

    task: str
    place: int
    rows: Rows

    def take(self, cursor: int, count: int) -> Rows:
        """The next rows of the circle, int64 [count]."""
        return self.rows[(cursor + np.arange(count)) % len(self.rows)]


@dataclass(frozen=True)
class Pool:
    """Rows that may be drawn, int64 [n], and what is known of each; size of a batch and seed.

    labels: by task, int64 [n], -1 for none, or float32 [n, C], NaN for none. identities: int64 [n], -1 for none.
    """

    wish: Sampler
    rows: Rows
    tasks: tuple[Task, ...]
    labels: dict[str, NDArray[Any]]
    identities: Rows
    size: int
    seed: int

    @cached_property
    def classes(self) -> tuple[Group, ...]:
        """A group for each class that has rows, of the tasks in question; at the end the rows without such a class."""
        tasks = [task for task in self.tasks if self.wish.task in ("", task.name)]
        bears = np.zeros(len(self.rows), bool)
        groups = []
        for task in tasks:
            for place, found in enumerate(_members(task, self.labels[task.name])):
                bears[found] = True
                groups.append(self._group(task.name, place, found))
        groups.append(self._group("", -1, np.flatnonzero(~bears)))
        return tuple(group for group in groups if len(group.rows))

    @cached_property
    def labelled(self) -> tuple[Group, ...]:
        """A group for each task that has labelled rows."""
        groups = [self._group(task.name, -1, np.flatnonzero(_known(self.labels[task.name]))) for task in self.tasks]
        return tuple(group for group in groups if len(group.rows))

    @cached_property
    def individuals(self) -> tuple[Group, ...]:
        """A group for each identity."""
        numbers = self.labels[self.wish.task] if self.wish.task else self.identities
        return tuple(self._group(self.wish.task, place, found) for place, found in enumerate(_split(numbers))
                     if len(found))

    def _group(self, task: str, place: int, found: Rows) -> Group:
        return Group(task, place, generator(self.seed, f"sampler.circle/{task}", place).permutation(self.rows[found]))


def gather(dataset: Dataset, rows: Rows, wish: Sampler, size: int, seed: int) -> Pool:
    """The pool of some rows of a Dataset; UserError where the wish does not fit it."""
    known = [task.name for task in dataset.tasks]
    for setting, name in [("task", wish.task), *(("weights", name) for name in wish.weights)]:
        if name and name not in known:
            raise UserError(f"sampler.{setting} names {name}, which is no task",
                            f"expected one of {', '.join(known)}.{near(name, known)}")
    labels = {} if wish.name == "shuffled" else {task.name: dataset.labels(task)[rows] for task in dataset.tasks}
    numbers = _identities(dataset, rows) if wish.name == "identities" else np.full(len(rows), -1, np.int64)
    pool = Pool(wish, rows, dataset.tasks, labels, numbers, size, seed)
    if wish.name == "identities":
        refuse_identities(pool)
    return pool


def refuse_identities(pool: Pool) -> None:
    """UserError where there are not enough identities for a batch."""
    if any(task.name == pool.wish.task and task.kind == "multi" for task in pool.tasks):
        raise UserError(f"sampler.task is {pool.wish.task}, of which an image may have several labels",
                        "name a task of kind single")
    found, needed = len(pool.individuals), pool.size // pool.wish.images
    if not pool.wish.task and not found:
        raise UserError("the sampler identities finds no identity in the train split",
                        "add a column identity to the labels, or name in sampler.task a task of identities")
    if found < needed:
        raise UserError(f"a batch of {pool.size} takes {needed} identities of {pool.wish.images}; train has {found}",
                        f"set batch: {found * pool.wish.images}, or raise sampler.images")


def notes(pool: Pool, judged: Pool) -> list[str]:
    """What a user should know of the pool: rows that are never drawn, classes that those of val do not judge."""
    if pool.wish.name == "identities":
        missing = len(pool.rows) - sum(len(group.rows) for group in pool.individuals)
        return [f"{missing} of {len(pool.rows)} training images have no identity and are left out"] if missing else []
    if pool.wish.name == "tasks":
        none = int((~np.any([_known(labels) for labels in pool.labels.values()], axis=0)).sum())
        return [f"{none} of {len(pool.rows)} training images have no label and are left out: each batch is about the "
                "labels of a task"] if none else []
    if pool.wish.name != "adaptive":
        return []
    if not len(judged.rows):
        return ["val has no labelled image, so the sampler takes all classes alike to the end"]
    seen = {(group.task, group.place) for group in judged.classes}
    names = {task.name: task.classes for task in pool.tasks}
    absent = [f"{group.task}={names[group.task][group.place]}" for group in pool.classes
              if group.task and (group.task, group.place) not in seen]
    shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return [f"val has no image of {shown}: the mean recall of the task stands for it in the sampler"] if absent else []


def shares(pool: Pool) -> dict[str, float]:
    """The weight of every task that has a class here, in order."""
    return {group.task: pool.wish.weights.get(group.task, 1.0) for group in pool.classes if group.task}


def cut(rows: Rows, size: int) -> Iterator[Rows]:
    """Full batches; the last is filled from the first ones, and rows that fill none at all make a smaller one.

    >>> [part.tolist() for part in cut(np.arange(5), 2)], [part.tolist() for part in cut(np.arange(2), 3)]
    ([[0, 1], [2, 3], [4, 0]], [[0, 1]])
    """
    steps = -(-len(rows) // size)
    filled = rows if len(rows) < size else np.resize(rows, steps * size)
    return (filled[step * size : (step + 1) * size] for step in range(steps))


def arranged(pool: Pool, epoch: int, quotas: Sequence[float], cursors: Sequence[float]) -> list[Draw]:
    """The batches of an epoch that takes so many rows of each group of classes from so far on in its circle."""
    drawn: dict[str | None, list[Rows]] = {}
    for group, quota, cursor in zip(pool.classes, quotas, cursors, strict=True):
        about = (group.task or None) if pool.wish.interleave else None
        drawn.setdefault(about, []).append(group.take(int(cursor), int(quota)))
    found = []
    for task, parts in drawn.items():
        order = generator(pool.seed, f"sampler.order/{task or ''}", epoch).permutation(np.concatenate(parts))
        found += [Draw(rows, task) for rows in cut(order, pool.size)]
    return scheduled(pool, epoch, found) if pool.wish.interleave else found


def scheduled(pool: Pool, epoch: int, draws: Sequence[Draw]) -> list[Draw]:
    """Batches of several tasks in a drawn order."""
    return [draws[place] for place in generator(pool.seed, "sampler.schedule", epoch).permutation(len(draws))]


def _identities(dataset: Dataset, rows: Rows) -> Rows:
    if "identity" not in dataset.columns:
        return np.full(len(rows), -1, np.int64)
    names = dataset.column("identity").iloc[rows].fillna("").astype(str).to_numpy()
    known, numbers = np.unique(names, return_inverse=True)
    return numbers.astype(np.int64) - (1 if len(known) and known[0] == "" else 0)


def _members(task: Task, labels: NDArray[Any]) -> list[Rows]:
    """Places of the samples that bear each class."""
    if task.kind == "multi":
        return [np.flatnonzero(labels[:, place] > 0.5) for place in range(len(task.classes))]
    return _split(labels)


def _split(numbers: Rows) -> list[Rows]:
    """Places of each number from 0 on, ascending; negative numbers have none."""
    order = np.argsort(numbers, kind="stable")
    first = int((numbers < 0).sum())
    counts = np.bincount(numbers[order[first:]]) if first < len(numbers) else np.zeros(0, np.int64)
    return np.split(order[first:], np.cumsum(counts)[:-1]) if len(counts) else []


def _known(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which samples have a label."""
    return labels >= 0 if labels.ndim == 1 else ~np.isnan(labels).any(axis=1)
