"""How probable the true labels were to those who spoke in a store."""

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.probabilities.columns import own_columns
from components.probabilities.mixing import mixed
from components.probabilities.store import Store


def true_probabilities(store: Store, dataset: Dataset) -> NDArray[np.float64]:
    """The probability of every sample's true labels, float64 [N], NaN where it has no label or the store lacks it.

    The mean over sources and stored views of the sample alone at temperature 1, and then over the tasks for which it is
    labelled.
    """
    places = store.rows_of(dataset.ids)
    total, count = np.zeros(len(dataset)), np.zeros(len(dataset))
    for task in dataset.tasks:
        found = of_task(store, dataset, task, places)
        total += np.nan_to_num(found)
        count += ~np.isnan(found)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(dataset), np.nan), where=count > 0)
    return mean


def of_task(store: Store, dataset: Dataset, task: Task, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The probability of the true class of one task, or for `multi` the mean over labels of being right, float64 [N].

    places: where the store holds each sample, -1 for nowhere.
    """
    labels, found = dataset.labels(task), np.full(len(dataset), np.nan)
    known = np.flatnonzero((places >= 0) & (labels >= 0 if task.kind == "single" else ~np.isnan(labels).any(axis=1)))
    if not len(known):
        return found
    said = [torch.from_numpy(store.log_probabilities(name, task.name, places[known])) for name in store.sources]
    mean = mixed(said, 1.0, task.kind)[:, own_columns(store)].mean(dim=1).numpy().astype(np.float64)
    if task.kind == "single":
        found[known] = mean[np.arange(len(known)), labels[known].astype(np.int64)]
    else:
        found[known] = np.where(labels[known] > 0.5, mean, 1 - mean).mean(axis=1)
    return found
