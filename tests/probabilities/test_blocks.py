"""What is read in runs of rows is, to the bit, what is read at once, and is never held whole."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_models import seal
from small_stores import drawn, identities, write_samples, write_store

from components.data.dataset import SPLITS, Dataset
from components.data.tasks import Task
from components.evaluation.metrics import measure
from components.probabilities import blocks as module
from components.probabilities.agreement import store_figures
from components.probabilities.columns import own_columns
from components.probabilities.mixing import logarithm_of_mean, mixed
from components.probabilities.store import Store
from components.probabilities.truth import true_probabilities

WIDE = Task("wide", "single", tuple(map(str, range(60))))


def at_once(store: Store, dataset: Dataset, source: str, split: str, task: Task) -> dict[str, float]:
    """Figures of all rows of a split held together."""
    rows = dataset.rows(split)
    labels, said = dataset.labels(task)[rows], store.log_probabilities(source, task.name,
                                                                       store.rows_of(dataset.ids[rows]))
    views = {"clean": said[:, 0]}
    if split != "train" or len(own_columns(store)) > 1:
        views |= {"view": said[:, 1], "mean": logarithm_of_mean(said[:, 1:])}
    name = "accuracy" if task.kind == "single" else "f1_macro"
    return {view: measure(values.astype(np.float64), labels, task.kind).values[name] for view, values in views.items()}


def true_at_once(store: Store, dataset: Dataset) -> NDArray[Any]:
    """Probabilities of true labels, every task's words held together."""
    places, found = store.rows_of(dataset.ids), []
    for task in dataset.tasks:
        labels = dataset.labels(task)
        said = [torch.from_numpy(store.log_probabilities(name, task.name, places)) for name in store.sources]
        mean = mixed(said, 1.0, task.kind)[:, own_columns(store)].mean(dim=1).numpy().astype(np.float64)
        if task.kind == "single":
            found.append(np.where(labels >= 0, mean[np.arange(len(mean)), labels.astype(int)], np.nan))
        else:
            right = np.where(labels > 0.5, mean, 1 - mean).mean(axis=1)
            found.append(np.where(np.isnan(labels).any(axis=1), np.nan, right))
    count = (~np.isnan(found)).sum(axis=0)
    total: NDArray[Any] = np.nansum(found, axis=0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


@pytest.mark.parametrize("room", [1, 4 * 2 * 3 * 128, 1 << 30])
@pytest.mark.parametrize("overlaid", [False, True])
def test_figures_and_true_probabilities_have_the_bits_of_all_rows_together(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, overlaid: bool) -> None:
    sayings = drawn(tmp_path, count=300, mixed=overlaid)
    dataset, store = sayings.dataset, sayings.store
    monkeypatch.setattr(module, "ROOM", room)
    expected = {source: {split: {task.name: at_once(store, dataset, source, split, task) for task in dataset.tasks}
                         for split in SPLITS} for source in store.sources}
    assert store_figures(store.path, dataset) == expected
    assert np.array_equal(true_probabilities(store, dataset, dataset.tasks), true_at_once(store, dataset),
                          equal_nan=True)


def test_runs_are_as_long_as_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = drawn(tmp_path).store
    for room, lengths in ((4 * 2 * 3 * 200, [192, 192, 16]), (1, [64] * 6 + [16]), (1 << 20, [400])):
        monkeypatch.setattr(module, "ROOM", room)
        runs = list(module.blocks(np.arange(400), store, "kind"))
        assert [len(run) for run in runs] == lengths and np.concatenate(runs).tolist() == list(range(400))
    assert list(module.blocks(np.arange(0), store, "kind")) == []


def test_the_peak_of_memory_does_not_grow_with_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM", 1 << 16)
    peaks = []
    for count in (400, 3200):
        root, chance = tmp_path / str(count), np.random.default_rng(0)
        dataset = write_samples(root / "dataset", {"id": identities(count), "split": ["train"] * count,
                                                   "wide": chance.integers(0, 60, count)}, (WIDE,))
        said = {"deep": {"wide": chance.dirichlet(np.ones(60), (count, 4))}}
        store = write_store(root / "store", dataset, said)
        seal(dataset.path, "index")
        store_figures(store.path, dataset)
        tracemalloc.start()
        store_figures(store.path, dataset)
        true_probabilities(store, dataset, dataset.tasks)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (3200 - 400) < 4 * 4 * 60 / 4, "bytes a row, of which its words alone take 960"
