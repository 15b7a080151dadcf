"""How probable the true labels were to those who spoke in a store."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.probabilities.blocks import blocks
from components.probabilities.columns import own_columns
from components.probabilities.store import Store
from components.probabilities.targets import Asked, together
from components.probabilities.voices import Choir


def true_probabilities(store: Store, dataset: Dataset, tasks: Sequence[Task],
                       choir: Choir | None = None) -> NDArray[np.float64]:
    """The probability of every sample's true labels, float64 [N], NaN where it has no label or the store lacks it.

    The mean over the stored views of the sample alone of what is said at temperature 1, and then over the tasks for
    which it is labelled. tasks: that count, each with somebody who is heard. choir: who is heard about each, and how;
    None for all sources alike.
    """
    places, asked = store.rows_of(dataset.ids), Asked(1.0, "exact", choir=choir)
    total, count = np.zeros(len(dataset)), np.zeros(len(dataset))
    for task in tasks:
        labels = dataset.labels(task)
        known = np.flatnonzero((places >= 0) & labelled(labels))
        for rows in blocks(known, store, task.name):
            total[rows] += of_labels(mean(store, task, asked, places[rows]), labels[rows], task.kind)
        count[known] += 1
    found: NDArray[np.float64] = np.divide(total, count, out=np.full(len(dataset), np.nan), where=count > 0)
    return found


def mean(store: Store, task: Task, asked: Asked, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is said together of some places of the store, the mean over the views of the sample alone, [n, C]."""
    said = together(store, task, asked, lambda source: store.log_probabilities(source, task.name, places))
    found: NDArray[np.float64] = said[:, own_columns(store)].mean(dim=1).numpy().astype(np.float64)
    return found


def of_labels(said: NDArray[np.float64], labels: NDArray[np.int64] | NDArray[np.float32],
              kind: str) -> NDArray[np.float64]:
    """The probability of the true class, or for `multi` the mean over labels of being right, float64 [n]."""
    if kind == "single":
        return said[np.arange(len(said)), labels.astype(np.int64)]
    found: NDArray[np.float64] = np.where(labels > 0.5, said, 1 - said).mean(axis=1)
    return found
