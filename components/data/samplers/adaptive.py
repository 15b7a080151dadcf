"""More images of the classes that the validation split shows to be hard, looked at again every few epochs.

A class of a task starts at M = max_base * (classes of the task that has fewest) // (classes of this task) images an
epoch, so that tasks weigh about the same, and later gets M + (1 - recall) * M. An epoch of M for all is kept to the
number of images that there are, or to `samples_per_epoch`.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from components.data.samplers.balanced import budgets
from components.data.samplers.pool import Draw, Memory, Pool, arranged, shares

LEAST, MOST = 0.001, 0.9999  # recalls outside count as these
UNKNOWN = -1.0


def begin(pool: Pool) -> Memory:
    """What stands before the first epoch: quotas of M, circles at their start, no recall yet."""
    found = bases(pool)
    return {"quota": list(found), "cursor": [0] * len(found), "recall": [UNKNOWN] * len(found)}


def plan(pool: Pool, epoch: int, memory: Memory) -> list[Draw]:
    """The batches of an epoch."""
    return arranged(pool, epoch, memory["quota"], memory["cursor"])


def after(pool: Pool, epoch: int, memory: Memory, recalls: Mapping[str, NDArray[np.float64]]) -> Memory:
    """What an epoch leaves to the next.

    recalls: by task, [C], on the validation split after the epoch, NaN for a class that it lacks.
    """
    cursors = [int(cursor + quota) % len(group.rows)
               for group, cursor, quota in zip(pool.classes, memory["cursor"], memory["quota"], strict=True)]
    recall = [smoothed(old, recalls[group.task][group.place] if group.task in recalls else np.nan, pool.wish.smoothing)
              for group, old in zip(pool.classes, memory["recall"], strict=True)]
    due = (epoch + 1) % pool.wish.refresh == 0
    return {"quota": quotas(pool, recall) if due else memory["quota"], "cursor": list(cursors), "recall": recall}


def smoothed(old: float, new: float, smoothing: float) -> float:
    """An exponential mean that starts with the first known value; what is not known leaves it as it was.

    >>> smoothed(-1.0, 0.5, 0.9), smoothed(0.5, 1.0, 0.5), smoothed(0.5, float("nan"), 0.5)
    (0.5, 0.75, 0.5)
    """
    if np.isnan(new):
        return old
    return float(new) if old == UNKNOWN else smoothing * old + (1 - smoothing) * float(new)


def bases(pool: Pool) -> list[int]:
    """M of every group of `pool.classes`, at least 1; rows without a class keep their share of the epoch."""
    budget, rest = budgets(pool)
    weights = shares(pool)
    numbers = Counter(group.task for group in pool.classes if group.task)
    fewest = min(numbers.values(), default=1)
    limits = {task: min(pool.wish.max_base * fewest // number, budget // (number * len(numbers)))
              for task, number in numbers.items()}
    return [max(int(weights[group.task] * limits[group.task]), 1) if group.task else rest for group in pool.classes]


def quotas(pool: Pool, recall: list[float]) -> list[float]:
    """M + (1 - recall) * M for every group; a class without a recall takes the mean of its task, or stays at M."""
    known: dict[str, list[float]] = {}
    for group, own in zip(pool.classes, recall, strict=True):
        known.setdefault(group.task, []).extend([own] if own != UNKNOWN else [])
    means = {task: sum(values) / len(values) for task, values in known.items() if values}
    values = [means.get(group.task, 1.0) if own == UNKNOWN else own
              for group, own in zip(pool.classes, recall, strict=True)]
    return [int(base + (1 - min(max(value, LEAST), MOST)) * base + 0.5) if group.task in means else base
            for group, base, value in zip(pool.classes, bases(pool), values, strict=True)]


def by_class(pool: Pool, memory: Memory) -> dict[str, dict[str, int]]:
    """Images an epoch of every class of every task, by name."""
    names = {task.name: task.classes for task in pool.tasks}
    found: dict[str, dict[str, int]] = {}
    for group, quota in zip(pool.classes, memory["quota"], strict=True):
        if group.task:
            found.setdefault(group.task, {})[names[group.task][group.place]] = int(quota)
    return found
