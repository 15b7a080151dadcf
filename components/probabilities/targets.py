"""The targets of distillation, by row and view of a Dataset, read from a store."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from components.data.dataset import Dataset
from components.data.loader import Batch
from components.data.tasks import Task
from components.errors import UserError
from components.probabilities.mixing import mixed
from components.probabilities.store import Store


@dataclass(frozen=True)
class Targets:
    """What the teachers together say, float32 [N, columns, C] by task; row = Dataset row, column = view.

    With a single column the same target stands for every view.
    """

    by_task: dict[str, Tensor]

    def of(self, task: str, batch: Batch) -> Tensor:
        """Targets of a batch's samples, each under its view, [n, C]."""
        table = self.by_task[task]
        column = torch.from_numpy(np.where(table.shape[1] > 1, batch.view, 0))
        return table[torch.from_numpy(batch.rows), column]


def read_targets(store: Store, dataset: Dataset, temperature: float, match: str) -> Targets:
    """Read and mix the teachers' words at a temperature.

    match: `exact` keeps a column a view, so that a student sees the view that was judged; `mean` averages over the
    augmented views, so that the student may look at views of its own. UserError where training samples are missing.
    """
    rows = store.rows_of(dataset.ids)
    training = rows[dataset.rows("train")]
    if (training < 0).any():
        raise UserError(f"{store.path} lacks {int((training < 0).sum())} of {len(training)} training samples",
                        "make it again: dvc repro teach")
    places = torch.from_numpy(rows)
    return Targets({task.name: _table(store, task, places, temperature, match) for task in dataset.tasks})


def _table(store: Store, task: Task, rows: Tensor, temperature: float, match: str) -> Tensor:
    numbers = rows.clamp(min=0).numpy()
    said = [torch.from_numpy(store.log_probabilities(source, task.name, numbers)) for source in store.sources]
    table = mixed(said, temperature, task.kind)
    return table if match == "exact" else table[:, 1:].mean(dim=1, keepdim=True)
