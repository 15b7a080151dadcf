"""Asking a model about views of every sample, shard by shard."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.augment_settings import Augment
from components.data.dataset import Dataset
from components.data.loader import Batch, Batches, without_labels
from components.data.views import views_of
from components.evaluation.metrics import log_probabilities
from components.models.artifact import Model
from components.probabilities.writing import StoreWriter
from components.storage.digests import value_digest

Cells: TypeAlias = NDArray[Any]

BATCH = 128
PROGRAM = 3  # to be raised when the same settings come to mean other pixels


@dataclass(frozen=True)
class Program:
    """How views are made: the digest of this is what makes a replay exact."""

    augment: Augment
    seed: int
    stored: tuple[int, int]

    def digest(self) -> str:
        """One value for everything that decides what a view looks like."""
        return value_digest({"program": PROGRAM, "augment": self.augment.model_dump(mode="json"),
                             "seed": self.seed, "stored": self.stored})

    def population(self, dataset: Dataset) -> NDArray[np.int64] | None:
        """The rows that views lay over one another, if any."""
        return dataset.rows("train") if self.augment.mix.on else None


def judge_shard(model: Model, dataset: Dataset, program: Program, writer: StoreWriter, shard: int) -> None:
    """Judge the rows of one shard in batches that never cross its border, so that a restart repeats the bits."""
    rows, cells, vectors = writer.rows_of(shard), {task.name: list[Cells]() for task in dataset.tasks}, list[Cells]()
    for start in range(0, len(rows), BATCH):
        said, embedding = judge_batch(model, dataset, program, rows[start : start + BATCH], writer.head["views"])
        vectors += [embedding] * writer.head["embedding"]
        for name, values in said.items():
            cells[name].append(writer.cells(model.name, name, values))
    for name, parts in cells.items():
        writer.put_cells(model.name, name, shard, np.concatenate(parts))
    if writer.head["embedding"]:
        writer.put_embedding(model.name, shard, np.concatenate(vectors))


@dataclass(frozen=True)
class Panel:
    """Who judges for a source: models that learnt from all folds but one each, and the fold of every row, -1 for none.

    What none has learnt from is judged by all: the mean of their probabilities.
    """

    name: str
    models: tuple[Model, ...]
    of: NDArray[np.int64]


def judge_shard_by_folds(panel: Panel, dataset: Dataset, program: Program, writer: StoreWriter, shard: int) -> None:
    """As `judge_shard`, every row by the model that has not learnt from it; batches hold rows of one fold."""
    rows, views = writer.rows_of(shard), writer.head["views"]
    cells = {task.name: writer.forms[task.name].empty(len(rows), len(views)) for task in dataset.tasks}
    for fold in np.unique(panel.of[rows]).tolist():
        places = np.flatnonzero(panel.of[rows] == fold)
        judges = panel.models if fold < 0 else panel.models[fold : fold + 1]
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            said = [judge_batch(model, dataset, program, rows[some], views)[0] for model in judges]
            for name in cells:
                together = np.logaddexp.reduce([one[name] for one in said]) - np.log(len(said))
                cells[name][some] = writer.cells(panel.name, name, np.minimum(together, 0.0))
    for name, values in cells.items():
        writer.put_cells(panel.name, name, shard, values)


def judge_batch(model: Model, dataset: Dataset, program: Program, rows: NDArray[np.int64],
                views: list[int]) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float32]]:
    """What a model says of some rows and views: log-probabilities at temperature 1, [n, views, classes] by task, and
    the embedding, float32 [n, views, D]."""
    said: dict[str, list[NDArray[np.float64]]] = {task.name: [] for task in dataset.tasks}
    vectors: list[NDArray[np.float32]] = []
    for view in views:
        with torch.inference_mode():
            outputs = model.network(view_images(model, dataset, program, rows, view))
        vectors.append(outputs.embedding.float().cpu().numpy())
        for task in dataset.tasks:
            logits = outputs.logits[task.name].float().cpu().numpy()
            said[task.name].append(log_probabilities(logits, 1.0, task.kind))
    return {name: np.stack(columns, axis=1) for name, columns in said.items()}, np.stack(vectors, axis=1)


def view_images(model: Model, dataset: Dataset, program: Program, rows: NDArray[np.int64], view: int) -> torch.Tensor:
    """A view of some rows as the model's network reads it, float32 [n, 3, h, w]."""
    batches = Batches(dataset, [(rows, view)], program.seed, program.augment, program.population(dataset))
    return batch_images(model, dataset, program, without_labels(batches[0]))


def batch_images(model: Model, dataset: Dataset, program: Program, batch: Batch) -> torch.Tensor:
    """A batch of one view, or of views that are all augmented, as the model's network reads it."""
    device = next(model.network.parameters()).device
    if not batch.view.any():
        clean: torch.Tensor = model.preprocess(batch.pixels.to(device))
        return clean
    height, width = model.head["geometry"]["input"]
    shown = views_of(program.augment, program.seed, dataset, batch, (height, width), device)
    images: torch.Tensor = model.preprocess.normalise(shown)
    return images
