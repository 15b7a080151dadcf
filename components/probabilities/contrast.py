"""How two stores differ: in their heads, in the samples that they cover, and in what they say."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.tasks import Task
from components.probabilities.heads import differences
from components.probabilities.store import Rows, Store

BLOCK = 1024
PRIVATE = ("key", "digest")  # fields that follow from the others


def contrast(old: Store, new: Store) -> dict[str, Any]:
    """The differences of two stores, as JSON holds them.

    fields: name and both values of each place of the heads that differs. rows: how many samples only the first covers,
    only the second, and both. said: by source, task and view that both hold, how far their words are apart.
    """
    fields = [{"field": place, "old": one, "new": other} for place, one, other in differences(
        "", *({name: value for name, value in store.head.items() if name not in PRIVATE} for store in (old, new)))]
    places = new.rows_of(old.ids)
    mine = np.flatnonzero(places >= 0)
    rows = {"old": len(old.ids) - len(mine), "new": len(new.ids) - len(np.unique(places[mine])), "both": len(mine)}
    return {"fields": fields, "rows": rows, "said": list(said(old, new, mine, places[mine])) if len(mine) else []}


def said(old: Store, new: Store, mine: Rows, theirs: Rows) -> Iterator[dict[str, Any]]:
    """How far apart the words of two stores are, by source, task and view that both hold."""
    others = {task.name: task for task in new.tasks}
    views = [view for view in old.views if view in new.views]
    for source in (name for name in old.sources if name in new.sources):
        for task in (task for task in old.tasks if others.get(task.name) == task):
            for view in views:
                columns = old.views.index(view), new.views.index(view)
                far = apart(((old, mine, columns[0]), (new, theirs, columns[1])), source, task)
                yield {"source": source, "task": task.name, "view": view} | far


def apart(sides: tuple[tuple[Store, Rows, int], tuple[Store, Rows, int]], source: str, task: Task) -> dict[str, float]:
    """The largest and mean difference of a probability, the share of answers that differ, and the mean divergence.

    sides: store, rows and column of each. The answer is the likeliest class, or for `multi` the labels at 0.5 or above;
    the divergence is Kullback and Leibler's from the second to the first, in nats.
    """
    count, largest, total, changed, divergence = len(sides[0][1]), 0.0, 0.0, 0, 0.0
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        one, other = (store.one_view(source, task.name, rows[block], np.full(len(rows[block]), column)).astype(float)
                      for store, rows, column in sides)
        gap = np.abs(np.exp(one) - np.exp(other))
        largest, total = max(largest, float(gap.max())), total + float(gap.mean(axis=1).sum())
        changed += int((answers(one, task) != answers(other, task)).any(axis=1).sum())
        divergence += float(divergences(one, other, task.kind).sum())
    return {"largest": largest, "mean": total / count, "changed": changed / count, "divergence": divergence / count}


def answers(values: NDArray[np.float64], task: Task) -> NDArray[np.int64]:
    """What log-probabilities [n, C] answer, int64 [n, 1], or for `multi` [n, C] of 0 and 1."""
    if task.kind == "single":
        return np.asarray(values.argmax(axis=1)[:, None])
    return np.asarray(values >= np.log(0.5), np.int64)


def divergences(true: NDArray[np.float64], other: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Kullback-Leibler divergence from others to true log-probabilities [n, C], in nats, [n].

    Rows of a `single` task are brought to sum 1 first, since they were rounded; for `multi` the mean over labels of the
    binary divergences.
    """
    if kind == "single":
        true, other = (values - np.log(np.exp(values).sum(axis=1, keepdims=True)) for values in (true, other))
        return np.asarray((np.exp(true) * (true - other)).sum(axis=1))
    return np.asarray((np.exp(true) * (true - other) + of_absence(true, other)).mean(axis=1))


def of_absence(true: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a binary divergence that is about absence."""
    absent, theirs = (np.maximum(-np.expm1(values), 1e-12) for values in (true, other))
    return np.asarray(absent * (np.log(absent) - np.log(theirs)))
