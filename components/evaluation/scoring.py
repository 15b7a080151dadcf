"""Several models asked about the same samples: who said what, and what it was worth."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError
from components.evaluation.calibration import labelled
from components.evaluation.metrics import Floats, Measured, log_probabilities, measure
from components.models.artifact import Model
from components.models.inference import logits_of

WARM_RUNS, TIMED_RUNS = 5, 30


@dataclass(frozen=True)
class Judged:
    """What one model says of the samples: calibrated log-probabilities by task, float64 [n, C].

    megabytes: size of its weights on disk, 10^6 bytes.
    """

    name: str
    parameters: int
    megabytes: float
    temperatures: dict[str, float]
    said: dict[str, Floats]


@dataclass(frozen=True)
class Scores:
    """Every model on every split and task; a task without a label in a split is left out.

    rows: the Dataset's rows that were judged, in the order of `said`. splits: places in `rows` by split.
    """

    dataset: Dataset
    rows: NDArray[np.int64]
    splits: dict[str, NDArray[np.int64]]
    judged: tuple[Judged, ...]
    measured: dict[tuple[str, str, str], Measured]

    @property
    def main(self) -> str:
        """The split that pictures and summaries show: test if it has labels, else the last that has."""
        known = [split for split in self.splits if self.tasks(split)]
        return "test" if "test" in known else known[-1]

    def tasks(self, split: str) -> list[Task]:
        """The tasks that were measured on a split."""
        return [task for task in self.dataset.tasks if (self.judged[0].name, split, task.name) in self.measured]

    def of(self, task: Task, split: str = "") -> dict[str, Measured]:
        """What was measured of each model on a task, by name, in order; on the main split unless another is named."""
        return {judged.name: self.measured[judged.name, split or self.main, task.name] for judged in self.judged}

    def labels(self, task: Task, split: str = "") -> NDArray[Any]:
        """The labels of a split's samples, the main split's unless another is named."""
        return self.dataset.labels(task)[self.rows[self.splits[split or self.main]]]


def rows_by_split(dataset: Dataset, splits: tuple[str, ...]) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """The rows of some splits behind each other, and where among them each split lies; empty splits are left out."""
    rows, places, start = [], {}, 0
    for split in dict.fromkeys(splits):
        found = dataset.rows(split)
        if len(found):
            rows.append(found)
            places[split] = np.arange(start, start + len(found))
            start += len(found)
    if not rows:
        raise UserError(f"the Dataset has no sample in {', '.join(splits)}", "name other splits in evaluate.splits")
    return np.concatenate(rows), places


def judge(name: str, model: Model, weights: Path, dataset: Dataset, rows: NDArray[np.int64]) -> Judged:
    """Ask a model, under the name that it goes by, about some rows."""
    logits = logits_of(model, dataset, rows)
    said = {}
    for task in model.tasks:
        if not np.isfinite(logits[task.name]).all():
            raise UserError(f"model {name} gives values for {task.name} that are not finite",
                            "its training diverged; train it again with a lower learning rate")
        said[task.name] = log_probabilities(logits[task.name], model.temperatures[task.name], task.kind)
    return Judged(name, model.parameter_count(), weights.stat().st_size / 1e6, model.temperatures, said)


def score(dataset: Dataset, places: tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]], judged: list[Judged],
          top_k: int) -> Scores:
    """Measure every model on every split and task; places are those of `rows_by_split`."""
    rows, splits = places
    measured = {}
    for task in dataset.tasks:
        labels = dataset.labels(task)[rows]
        for split, inside in splits.items():
            if not labelled(labels[inside]).any():
                continue
            for one in judged:
                found = measure(one.said[task.name][inside], labels[inside], task.kind, top_k)
                measured[one.name, split, task.name] = found
    if not measured:
        raise UserError(f"no sample of {', '.join(splits)} has a label", "name other splits in evaluate.splits")
    return Scores(dataset, rows, splits, tuple(judged), measured)


def latency(model: Model, dataset: Dataset, row: int) -> float:
    """Milliseconds from the stored pixels of one image to logits: the median of warm runs on one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network, preprocess = model.network.to("cpu"), model.preprocess.to("cpu")
    pixels = torch.from_numpy(dataset.pixels(np.array([row])))
    taken = []
    try:
        with torch.inference_mode():
            for _ in range(WARM_RUNS + TIMED_RUNS):
                started = time.perf_counter()
                network(preprocess(pixels))
                taken.append(1000 * (time.perf_counter() - started))
    finally:
        torch.set_num_threads(threads)
    return round(statistics.median(taken[WARM_RUNS:]), 3)
