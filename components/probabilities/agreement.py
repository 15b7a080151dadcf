"""How right the sources of a store are: on the untouched image, on one view, and on the mean over views."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import SPLITS, Dataset
from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.evaluation.metrics import HALF, f1_macro, label_tables, per_label
from components.probabilities.blocks import blocks
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
    """Figures are made of counts, so that no more than a run of rows is held at once."""
    labels, rows = dataset.labels(task), dataset.rows(split)
    rows = rows[labelled(labels[rows])]
    alone = split == "train" and len(own_columns(store)) == 1
    counts: dict[str, NDArray[np.int64]] = {}
    for run in blocks(rows, store, task.name):
        said = store.log_probabilities(source, task.name, store.rows_of(dataset.ids[run]))
        views = {"clean": said[:, 0]}
        if not alone:
            views |= {"view": said[:, 1], "mean": logarithm_of_mean(said[:, 1:])}
        for name, values in views.items():
            counts[name] = counts.get(name, np.int64(0)) + _counts(values.astype(np.float64), labels[run], task.kind)
    return {name: _score(found, len(rows), task.kind) for name, found in counts.items()}


def _counts(said: NDArray[np.float64], labels: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """How many samples are named rightly, or for `multi` the two by two table of each label, [C, 2, 2]."""
    if kind == "multi":
        return label_tables(said >= HALF, labels > 0.5)
    return np.asarray((said.argmax(axis=1) == labels).sum(), np.int64)


def _score(counts: NDArray[np.int64], rows: int, kind: str) -> float:
    return f1_macro(per_label(counts)) if kind == "multi" else int(counts) / rows
