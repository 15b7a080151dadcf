"""The Probabilities artifact: what sources say of samples and views, as memory-mapped shards of log-probabilities.

Rows are samples in the order of `ids.npy`, columns are views; view 0 is the untouched image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.tasks import Task, read_tasks
from components.errors import UserError
from components.storage import atomic

SCHEMA = 1
HEAD = "probabilities.json"
SHARD_ROWS = 1024


class StoreWriter:
    """Writes a store shard by shard; what is written stays whole through a kill, and need not be written again.

    folder: made if absent, and may hold shards of an interrupted run. ids: uint8 [N, 32].
    """

    def __init__(self, folder: Path, head: Mapping[str, Any], ids: NDArray[np.uint8]) -> None:
        self.folder, self.ids = folder, ids
        self.head = {"schema": SCHEMA, "kind": "probabilities", "rows": len(ids), "shard_rows": SHARD_ROWS,
                     "dtype": "float16", **head}
        self.shard_rows: int = self.head["shard_rows"]
        folder.mkdir(parents=True, exist_ok=True)

    def shard_count(self) -> int:
        """How many shards a source and task have."""
        return -(-len(self.ids) // self.shard_rows)

    def rows_of(self, shard: int) -> NDArray[np.int64]:
        """Row numbers of a shard."""
        return np.arange(shard * self.shard_rows, min((shard + 1) * self.shard_rows, len(self.ids)))

    def has(self, source: str, shard: int) -> bool:
        """Whether every task of a source's shard is there."""
        return all(self._path(source, task["name"], shard).is_file() for task in self.head["tasks"])

    def put(self, source: str, task: str, shard: int, values: NDArray[Any]) -> None:
        """Write log-probabilities [rows, views, classes] of one shard; UserError where one is not a number."""
        if np.isnan(values).any():
            raise UserError(f"{source} says NaN of {task}", f"it diverged; train {source} again with a lower rate")
        path = self._path(source, task, shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.private([path]) as (private,):
            with private.open("wb") as stream:
                np.save(stream, np.maximum(values, -6e4).astype(self.head["dtype"]), allow_pickle=False)
            atomic.flush(private)
            atomic.move_into_place(private, path)

    def finish(self) -> None:
        """Write the ids and, last, the head."""
        with (self.folder / "ids.npy").open("wb") as stream:
            np.save(stream, self.ids, allow_pickle=False)
        text = json.dumps(self.head, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        (self.folder / HEAD).write_text(text + "\n", encoding="utf-8")

    def _path(self, source: str, task: str, shard: int) -> Path:
        return self.folder / "shards" / source / task / f"{shard:05d}.npy"


@dataclass(frozen=True)
class Store:
    """A sealed store, opened for reading."""

    path: Path
    head: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open a store; UserError where it is of another schema."""
        head = json.loads((path / HEAD).read_text(encoding="utf-8"))
        if head.get("schema") != SCHEMA:
            raise UserError(f"{path} has schema {head.get('schema')}; this version reads {SCHEMA}",
                            "make it again: dvc repro teach")
        return cls(path, head)

    def require(self, expected: Mapping[str, Any]) -> None:
        """UserError that names the first field of the head that is not as expected, and both values."""
        for field, value in expected.items():
            if self.head.get(field) != value:
                raise UserError(f"{self.path}: {field} is {self.head.get(field)}; expected {value}",
                                "the store was made for something else; make it again: dvc repro teach")

    @property
    def sources(self) -> list[str]:
        """Names of those who speak."""
        return list(self.head["sources"])

    @property
    def views(self) -> list[int]:
        """The stored views in column order."""
        return list(self.head["views"])

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in order."""
        return read_tasks(self.head["tasks"])

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        """Content SHA-256 of every row, uint8 [N, 32]."""
        ids: NDArray[np.uint8] = np.load(self.path / "ids.npy", allow_pickle=False)
        return ids

    def rows_of(self, ids: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Row numbers of samples by id, -1 where the store does not cover one."""
        known = {sample.tobytes(): row for row, sample in reversed(list(enumerate(self.ids)))}
        return np.array([known.get(sample.tobytes(), -1) for sample in ids], np.int64)

    def log_probabilities(self, source: str, task: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What a source says of a task, float32 [n, views, classes]; only the shards that hold the rows are opened."""
        classes = next(len(one.classes) for one in self.tasks if one.name == task)
        found = np.empty((len(rows), len(self.views), classes), np.float32)
        shards, places = np.divmod(rows, self.head["shard_rows"])
        order = np.argsort(shards, kind="stable")
        numbers, starts = np.unique(shards[order], return_index=True)
        for number, inside in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            found[inside] = self._shard(source, task, number)[places[inside]]
        return found

    def _shard(self, source: str, task: str, shard: int) -> NDArray[Any]:
        path = self.path / "shards" / source / task / f"{shard:05d}.npy"
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return values
