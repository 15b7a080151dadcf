"""The Dataset artifact, opened for reading: a table of samples and what is stored of their images.

Columns are read when they are asked for, and files are mapped into memory: of 20 million samples, the digests take
640 MB, a task 160 MB, a column while it is read some hundred bytes a sample, and the rest nothing.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.data.forms import Form
from components.data.pixels import read_pixels
from components.data.shards import OFFSETS, Shards, equal_offsets
from components.data.tasks import Task, read_tasks
from components.errors import UserError

SCHEMA = 2
SPLITS = ("train", "val", "test")
HEX = np.full(256, 255, np.uint8)  # the value of a hexadecimal digit by its ASCII code
HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order (split, then id) and their pixels."""

    path: Path
    head: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Open a sealed Dataset; UserError where it is of another schema."""
        head = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        if head.get("schema") != SCHEMA:
            raise UserError(f"{path} has schema {head.get('schema')}; this version reads {SCHEMA}",
                            "make it again: dvc repro index")
        return cls(path, head)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(pq.read_metadata(self.path / "samples.parquet").num_rows)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The whole table: id, path, split, one column a task, optional identity, camera, group, weight and
        cluster (of near duplicates), and width and height of the files."""
        return pd.read_parquet(self.path / "samples.parquet")

    @cached_property
    def columns(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(pq.read_schema(self.path / "samples.parquet").names) | frozenset(self._loaded())

    def column(self, name: str) -> "pd.Series[Any]":
        """One column of the table, without reading the others."""
        if name in self._loaded():
            return self.samples[name]
        return pd.read_parquet(self.path / "samples.parquet", columns=[name])[name]

    def _loaded(self) -> list[str]:
        return list(self.samples.columns) if "samples" in self.__dict__ else []

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in order."""
        return read_tasks(self.head["tasks"])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pixels."""
        height, width = self.head["geometry"]["size"]
        return height, width

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        """Content SHA-256 of every sample, uint8 [N, 32]; no two of a split are equal."""
        ids, row = np.empty((len(self), 32), np.uint8), 0
        for batch in pq.ParquetFile(self.path / "samples.parquet").iter_batches(columns=["id"]):
            part = from_hex("".join(batch.column(0).to_pylist()))
            ids[row : row + len(part)] = part
            row += len(part)
        return ids

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero(self._splits == SPLITS.index(split)) if split in SPLITS else np.empty(0, np.int64)

    @cached_property
    def _splits(self) -> NDArray[np.int8]:
        named = self.column("split").map({split: place for place, split in enumerate(SPLITS)})
        places: NDArray[np.int8] = named.fillna(-1).to_numpy().astype(np.int8)
        return places

    def without(self, rows: NDArray[np.int64]) -> "Dataset":
        """The same samples, of which some belong to no split."""
        other = Dataset(self.path, self.head)
        splits = self._splits.copy()
        splits[rows] = -1
        other.__dict__["_splits"] = splits
        return other

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weight of every sample, 1 where none is given, float32 [N]."""
        if "weight" not in self.columns:
            return np.ones(len(self), np.float32)
        return self.column("weight").fillna(1.0).to_numpy(np.float32)

    def labels(self, task: Task) -> NDArray[np.int64] | NDArray[np.float32]:
        """Labels of every sample: int64 [N] with -1 for none, or for `multi` float32 [N, C] with NaN rows for none."""
        if task.name not in self._labels:
            self._labels[task.name] = self._read_labels(task)
        return self._labels[task.name].copy()

    @cached_property
    def _labels(self) -> dict[str, NDArray[np.int64] | NDArray[np.float32]]:
        return {}

    def _read_labels(self, task: Task) -> NDArray[np.int64] | NDArray[np.float32]:
        column = self.column(task.name)
        if task.kind == "single":
            return column.to_numpy(np.int64)
        table = np.full((len(self), len(task.classes)), np.nan, np.float32)
        for row, classes in enumerate(column):
            if classes is not None:
                table[row] = 0.0
                table[row, np.asarray(classes, np.int64)] = 1.0
        return table

    @cached_property
    def form(self) -> Form:
        """How the images are stored."""
        return Form.from_json(self.head["geometry"])

    @cached_property
    def shards(self) -> Shards:
        """What is stored of the images."""
        folder, told = self.path / "shards", self.head["shards"]
        if self.form.pixels == "decoded":
            offsets = equal_offsets(len(self), self.form.decoded_bytes)
        else:
            offsets = np.load(folder / OFFSETS, mmap_mode="r", allow_pickle=False)
        return Shards(folder, told["files"], np.asarray(told["starts"], np.int64), offsets)

    def pixels(self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Pixels of some rows, uint8 [n, H, W, 3], written to `out` where it is given."""
        batch = np.empty((len(rows), *self.size, 3), np.uint8) if out is None else out
        read_pixels(self.shards, self.form, rows, batch)
        return batch


def from_hex(text: str) -> NDArray[np.uint8]:
    """Digests written one after the other in lower-case hexadecimal, uint8 [N, 32].

    >>> from_hex("00ff" * 16)[0, :4].tolist()
    [0, 255, 0, 255]
    """
    digits = HEX[np.frombuffer(text.encode("ascii"), np.uint8)]
    digests: NDArray[np.uint8] = (digits[::2] << np.uint8(4)) | digits[1::2]
    return digests.reshape(-1, 32)
