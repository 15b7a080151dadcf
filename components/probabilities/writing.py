"""Writing a store: shard by shard, by as many processes as there are, through kills and full disks."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import TryAgain, UserError
from components.probabilities.heads import HEAD, UNFINISHED, head_text, read_head, refuse_difference
from components.probabilities.layout import (
    IDS,
    begun_head,
    embedding_name,
    forms_of,
    names_of,
    part_name,
    part_names,
    shard_count,
)
from components.probabilities.parts import is_whole, mapped_part, write_part, write_whole
from components.storage.locks import locked

SLACK = 1e-3  # what rounding may add to the logarithm of a probability of 1


class StoreWriter:
    """Writes a store shard by shard; what is written stays whole through a kill, and need not be written again.

    folder: made if absent; it may hold shards of an interrupted run, and other processes may be writing the same store
    into it. head: what is known of the store; `tasks`, `sources` and `views` at least. ids: uint8 [N, 32].
    """

    def __init__(self, folder: Path, head: Mapping[str, Any], ids: NDArray[np.uint8]) -> None:
        self.folder, self.ids = folder, ids
        self.head = begun_head(head, len(ids), hashlib.sha256(ids.tobytes()).hexdigest())
        self.forms = forms_of(self.head)
        self.shard_rows: int = self.head["shard_rows"]
        self._whole: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """Write the head so far, or UserError where another store is being written here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / UNFINISHED).exists():
            refuse_difference(self.folder, read_head(self.folder, UNFINISHED), self.head,
                              f"another store is being written there; remove {self.folder}, or name another place")
            return
        partial = self.folder / f".{UNFINISHED}.{secrets.token_hex(8)}"  # others may begin at this moment
        try:
            partial.write_text(head_text(self.head), encoding="utf-8")
            partial.replace(self.folder / UNFINISHED)
        finally:
            partial.unlink(missing_ok=True)

    def shard_count(self) -> int:
        """How many shards a source and task have."""
        return shard_count(self.head)

    def rows_of(self, shard: int) -> NDArray[np.int64]:
        """Row numbers of a shard."""
        return np.arange(shard * self.shard_rows, min((shard + 1) * self.shard_rows, len(self.ids)))

    def has(self, source: str, shard: int) -> bool:
        """Whether everything of a source's shard is there, and whole."""
        return all(self._is_whole(name) for name in names_of(self.head, source, shard))

    def unwritten(self, source: str) -> Iterator[int]:
        """The shards of a source that are neither written nor being written, each held while the caller writes it."""
        for shard in range(self.shard_count()):
            if self.has(source, shard):
                continue
            try:
                with locked([self.folder / "claims" / source / f"{shard:05d}"]):
                    if not self.has(source, shard):  # its writer may have ended a moment ago
                        yield shard
            except TryAgain:
                continue

    def put(self, source: str, task: str, shard: int, values: NDArray[Any]) -> None:
        """Write log-probabilities [rows, views, classes] of one shard; UserError where they cannot be such."""
        self.put_cells(source, task, shard, self.cells(source, task, values))

    def cells(self, source: str, task: str, values: NDArray[Any]) -> NDArray[Any]:
        """Log-probabilities [n, views, classes] as they are stored; UserError where they cannot be such."""
        if np.isnan(values).any():
            raise UserError(f"{source} says NaN of {task}", f"it diverged; train {source} again with a lower rate")
        if values.size and values.max() > SLACK:
            raise UserError(f"{source} gives {task} a probability of {float(np.exp(values.max())):.4g}; expected at "
                            "most 1", "a store holds logarithms of probabilities; give it those")
        return self.forms[task].encoded(values)

    def put_cells(self, source: str, task: str, shard: int, cells: NDArray[Any]) -> None:
        """Write one shard of a task, [rows, views, ...] as `cells` gives them."""
        assert cells.shape[:2] == (len(self.rows_of(shard)), len(self.head["views"])), "a cell a row and view"
        self._put(part_name(source, task, shard), cells)

    def put_embedding(self, source: str, shard: int, vectors: NDArray[Any]) -> None:
        """Write the embeddings [rows, views, D] of one shard; UserError where half precision cannot hold one."""
        with np.errstate(over="ignore"):
            halves = vectors.astype("<f2")
        if not np.isfinite(halves).all():
            worst = float(np.abs(np.nan_to_num(vectors, nan=np.inf)).max())
            raise UserError(f"{source} gives an embedding that reaches {worst:.4g}; half precision ends at 65504",
                            f"train {source} again with a lower rate, or set teach.embedding to false")
        self._put(embedding_name(source, shard), halves)

    def missing(self) -> list[str]:
        """The parts that are not there or not whole, the ids not counted."""
        return [name for name in part_names(self.head) if name != IDS and not self._is_whole(name)]

    def finish(self) -> None:
        """Write the ids and, last, the head; by one writer, after all have ended. UserError where a part is missing."""
        if missing := self.missing():
            raise UserError(f"{self.folder} lacks {len(missing)} parts, the first of them {missing[0]}",
                            "let its other writers end, or run the same command again: it goes on")
        self._put(IDS, self.ids)
        head = self.head | {"embeddings": self._widths()}
        write_whole(self.folder / HEAD, head_text(head).encode())
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "claims", ignore_errors=True)

    def publish(self, target: Path) -> None:
        """Put the finished store into a new folder: by links where both are on one disk, else by copies."""
        for name in [HEAD, *part_names(self.head)]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.folder / name, target / name)
            except OSError:
                shutil.copyfile(self.folder / name, target / name)

    def _widths(self) -> dict[str, int]:
        if not self.head["embedding"] or not self.shard_count():
            return {}
        return {source: int(mapped_part(self.folder, embedding_name(source, 0)).shape[2])
                for source in self.head["sources"]}

    def _put(self, name: str, array: NDArray[Any]) -> None:
        write_part(self.folder, self.head["key"], name, array)
        self._whole.add(name)

    def _is_whole(self, name: str) -> bool:
        if name not in self._whole and is_whole(self.folder, self.head["key"], name):
            self._whole.add(name)
        return name in self._whole
