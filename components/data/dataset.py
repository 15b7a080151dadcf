"""The Dataset artifact, opened for reading: a table of samples and memory-mapped pixels."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.tasks import Task, read_tasks
from components.errors import UserError

SCHEMA = 1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order (split, then id) and their pixels.

    samples: id, path, split, one column a task, optional identity, camera, group, weight, width, height.
    """

    path: Path
    head: dict[str, Any]
    samples: pd.DataFrame

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Open a sealed Dataset; UserError where it is of another schema."""
        head = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        if head.get("schema") != SCHEMA:
            raise UserError(f"{path} has schema {head.get('schema')}; this version reads {SCHEMA}",
                            "make it again: dvc repro index")
        return cls(path, head, pd.read_parquet(path / "samples.parquet"))

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in order."""
        return read_tasks(self.head["tasks"])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the stored pixels."""
        height, width = self.head["geometry"]["size"]
        return height, width

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        """Content SHA-256 of every sample, uint8 [N, 32]."""
        return np.frombuffer(bytes.fromhex("".join(self.samples["id"])), np.uint8).reshape(-1, 32)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero(self.samples["split"].to_numpy() == split)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weight of every sample, 1 where none is given, float32 [N]."""
        if "weight" not in self.samples:
            return np.ones(len(self), np.float32)
        return self.samples["weight"].fillna(1.0).to_numpy(np.float32)

    def labels(self, task: Task) -> NDArray[np.int64] | NDArray[np.float32]:
        """Labels of every sample: int64 [N] with -1 for none, or for `multi` float32 [N, C] with NaN rows for none."""
        column = self.samples[task.name]
        if task.kind == "single":
            return column.to_numpy(np.int64)
        table = np.full((len(self), len(task.classes)), np.nan, np.float32)
        for row, classes in enumerate(column):
            if classes is not None:
                table[row] = 0.0
                table[row, np.asarray(classes, np.int64)] = 1.0
        return table

    @cached_property
    def _shards(self) -> list[NDArray[np.uint8]]:
        folder = self.path / "shards"
        return [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in self.head["shards"]["files"]]

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Stored pixels of some rows, uint8 [n, H, W, C]."""
        per_shard = self.head["shards"]["rows"]
        height, width = self.size
        batch = np.empty((len(rows), height, width, self.head["geometry"]["channels"]), np.uint8)
        for place, row in enumerate(rows):
            batch[place] = self._shards[row // per_shard][row % per_shard]
        return batch
