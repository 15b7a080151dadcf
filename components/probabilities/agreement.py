"""How right the sources of a store are: on the untouched image, on one view, and on the mean over views."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import SPLITS, Dataset
from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.evaluation.metrics import measure
from components.probabilities.columns import own_columns
from components.probabilities.mixing import logarithm_of_mean
from components.probabilities.store import Store


def store_figures(path: Path, dataset: Dataset) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Accuracy (macro F1 for `multi`) by source, split and task, for `clean`, `view` and `mean`.

    Views of training images that are laid over others are not what one label could be held against, and are left out.
    """
    store = Store.open(path)
    return {source: {split: {task.name: figures for task in dataset.tasks
                             if (figures := _figures(store, dataset, source, split, task))}
                     for split in SPLITS if len(dataset.rows(split))} for source in store.sources}


def _figures(store: Store, dataset: Dataset, source: str, split: str, task: Task) -> dict[str, float]:
    rows = dataset.rows(split)
    labels = dataset.labels(task)[rows]
    if not labelled(labels).any():
        return {}
    said = store.log_probabilities(source, task.name, store.rows_of(dataset.ids[rows]))
    views = {"clean": said[:, 0]}
    if split != "train" or len(own_columns(store)) > 1:
        views |= {"view": said[:, 1], "mean": logarithm_of_mean(said[:, 1:])}
    return {name: _score(values, labels, task) for name, values in views.items()}


def _score(values: NDArray[np.float32], labels: NDArray[np.int64] | NDArray[np.float32], task: Task) -> float:
    figures = measure(values.astype(np.float64), labels, task.kind).values
    return figures["accuracy" if task.kind == "single" else "f1_macro"]
