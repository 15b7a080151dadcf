"""The Probabilities artifact: what sources say of samples and views, as memory-mapped shards of log-probabilities.

Rows are samples in the order of `ids.npy`, columns are views; view 0 is the untouched image. docs/store.md tells every
byte.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.tasks import Task, read_tasks
from components.errors import UserError
from components.probabilities.forms import Form
from components.probabilities.heads import read_head, refuse_difference
from components.probabilities.layout import IDS, embedding_name, forms_of, part_name, part_names
from components.probabilities.parts import check_part, mapped_part
from components.probabilities.topk import Sparse
from components.probabilities.writing import StoreWriter as StoreWriter  # who reads a store may have written one

MOST_OPEN = 256  # files that are mapped hold descriptors, of which a process often has 1,024

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Store:
    """A store, opened for reading; every file is hashed once before its first number is used."""

    path: Path
    head: dict[str, Any]
    _mapped: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    _checked: set[str] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open a store; UserError where it is none, of another schema, unfinished or changed."""
        return cls(path, read_head(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.path, self.head)  # another process maps the files itself

    def require(self, expected: Mapping[str, Any]) -> None:
        """UserError that names the first field of the head that is not as expected, and both values."""
        refuse_difference(self.path, self.head, expected,
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
    def forms(self) -> dict[str, Form]:
        """How the words about each task are kept, by task."""
        return forms_of(self.head)

    @cached_property
    def ids(self) -> NDArray[np.uint8]:
        """Content SHA-256 of every row, uint8 [N, 32]."""
        ids: NDArray[np.uint8] = np.asarray(self._part(IDS))
        return ids

    def rows_of(self, ids: NDArray[np.uint8]) -> Rows:
        """Row numbers of samples by id, -1 where the store does not cover one; of equal ids the first."""
        known, order = self._sorted
        if not len(known):
            return np.full(len(ids), -1, np.int64)
        wanted = np.ascontiguousarray(ids).view("S32").ravel()
        places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[places] == wanted, order[places], -1).astype(np.int64)

    @cached_property
    def _sorted(self) -> tuple[NDArray[Any], Rows]:
        """All ids in ascending order, and the row of each, of equal ones the first row first."""
        words = np.ascontiguousarray(self.ids).view("S32").ravel()
        order = np.argsort(words, kind="stable")
        return words[order], order

    def log_probabilities(self, source: str, task: str, rows: Rows) -> NDArray[np.float32]:
        """What a source says of a task, float32 [n, views, classes].

        Of top-k cells the mass that was left is spread evenly over the classes that were not kept.
        """
        form = self.forms[task]
        found = np.empty((len(rows), len(self.views), form.classes), np.float32)
        for shard, inside, places in self._by_shard(rows):
            found[inside] = form.decoded(self._part(part_name(source, task, shard))[places])
        return found

    def one_view(self, source: str, task: str, rows: Rows, columns: Rows) -> NDArray[np.float32]:
        """What a source says of one view of each row, float32 [n, classes]. columns: of the views, int64 [n]."""
        return self.forms[task].decoded(self._cells(source, task, rows, columns))

    def sparse(self, source: str, task: str, rows: Rows, columns: Rows) -> Sparse:
        """The same as kept: the likeliest classes and what was left, every class of a task that is kept whole."""
        return self.forms[task].sparse(self._cells(source, task, rows, columns))

    def _cells(self, source: str, task: str, rows: Rows, columns: Rows) -> NDArray[Any]:
        found = self.forms[task].empty(len(rows), 1)[:, 0]
        for shard, inside, places in self._by_shard(rows):
            found[inside] = self._part(part_name(source, task, shard))[places, columns[inside]]
        return found

    def embeddings(self, source: str, rows: Rows) -> NDArray[np.float32]:
        """The vectors before the heads of a source, float32 [n, views, D]; UserError where the store has none."""
        if not self.head["embedding"]:
            raise UserError(f"{self.path} holds no embeddings",
                            "set teach.embedding to true and make it again: dvc repro teach")
        found = np.empty((len(rows), len(self.views), self.head["embeddings"][source]), np.float32)
        for shard, inside, places in self._by_shard(rows):
            found[inside] = self._part(embedding_name(source, shard))[places]
        return found

    def parts(self) -> list[str]:
        """Every file but the head, by its path below the store."""
        return list(part_names(self.head))

    def problems(self) -> Iterator[UserError]:
        """Hash every file; an error for each that is missing or damaged."""
        for name in self.parts():
            try:
                check_part(self.path, self.head["key"], name)
            except UserError as error:
                yield error

    def _by_shard(self, rows: Rows) -> Iterator[tuple[int, Rows, Rows]]:
        """The shards that hold some rows: number, which of the rows, and their places in the shard."""
        shards, places = np.divmod(rows, self.head["shard_rows"])
        if not len(rows):
            return
        order = np.argsort(shards, kind="stable")
        numbers, starts = np.unique(shards[order], return_index=True)
        for number, inside in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            yield number, inside, places[inside]

    def _part(self, name: str) -> NDArray[Any]:
        if name not in self._mapped:
            self._check(name)
            if len(self._mapped) >= MOST_OPEN:
                del self._mapped[next(iter(self._mapped))]
            self._mapped[name] = mapped_part(self.path, name)
        return self._mapped[name]

    def _check(self, name: str) -> None:
        if name not in self._checked:
            check_part(self.path, self.head["key"], name)
            self._checked.add(name)
