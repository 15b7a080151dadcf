"""How the words about one task lie in a file: every class, or the likeliest k with what is left for the others.

A cell is what one source says of one sample and view.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.tasks import Task
from components.probabilities.topk import FLOOR, Sparse, left_over, likeliest, spread

NUMBERS = {"float16": "<f2", "float32": "<f4"}
WIDE = 1 << 16  # classes beyond this need four bytes for an index


@dataclass(frozen=True)
class Form:
    """classes: how many. k: how many of them are kept, 0 for all. dtype: of the numbers, `float16` or `float32`."""

    classes: int
    k: int
    dtype: str = "float16"

    @property
    def index(self) -> str:
        """The type of an index."""
        return "uint16" if self.classes <= WIDE else "uint32"

    @property
    def cell(self) -> np.dtype[Any]:
        """The type of a cell: `classes` numbers, or a record of `index`, `value` and `residual`, without gaps."""
        number = NUMBERS[self.dtype]
        if not self.k:
            return np.dtype((number, (self.classes,)))
        index = "<u2" if self.index == "uint16" else "<u4"
        return np.dtype([("index", index, (self.k,)), ("value", number, (self.k,)), ("residual", number)])

    def to_json(self) -> dict[str, Any]:
        """The form as a head holds it."""
        told = {"form": "topk", "k": self.k, "index": self.index} if self.k else {"form": "dense"}
        return told | {"dtype": self.dtype, "bytes": self.cell.itemsize}

    def empty(self, rows: int, views: int) -> NDArray[Any]:
        """Room for the cells of some rows: [rows, views], and for whole ones [rows, views, classes]."""
        return np.empty((rows, views), self.cell)

    def encoded(self, values: NDArray[Any]) -> NDArray[Any]:
        """Cells of log-probabilities [rows, views, classes]; each depends on its own numbers alone."""
        values = np.clip(values, FLOOR, 0.0)
        if not self.k:
            return values.astype(NUMBERS[self.dtype])
        cells, kept = self.empty(*values.shape[:2]), likeliest(values, self.k)
        cells["index"], cells["value"] = kept, np.take_along_axis(values, kept, axis=-1)
        cells["residual"] = left_over(values, kept)
        lower_parts(cells, self.classes)
        return cells

    def decoded(self, cells: NDArray[Any]) -> NDArray[np.float32]:
        """Log-probabilities of cells, float32 [..., classes]; what was left is spread over the classes not kept."""
        if not self.k:
            return cells.astype(np.float32)
        return spread(cells["index"], cells["value"], cells["residual"], self.classes)

    def sparse(self, cells: NDArray[Any]) -> Sparse:
        """The kept classes of cells [n]; of whole ones every class, in the order of classes."""
        if self.k:
            return Sparse(cells["index"].astype(np.int64), cells["value"].astype(np.float32),
                          cells["residual"].astype(np.float32), self.classes)
        indices = np.repeat(np.arange(self.classes)[None], len(cells), axis=0)
        return Sparse(indices, cells.astype(np.float32), np.full(len(cells), FLOOR, np.float32), self.classes)


def lower_parts(cells: NDArray[Any], classes: int) -> None:
    """Lower what is left where rounding made the part of a class that is not kept as likely as one that is.

    So the likeliest classes of a cell are those that it keeps, whoever reads it.
    """
    least, others = cells["value"][..., -1].astype(np.float32), np.float32(np.log(classes - cells["index"].shape[-1]))
    while (high := cells["residual"].astype(np.float32) - others >= least).any():
        cells["residual"][high] = np.nextafter(cells["residual"][high], cells["residual"].dtype.type(-np.inf))


def form_of(task: Task, k: int, dtype: str) -> Form:
    """The form of a task: the likeliest k where that is smaller than all of them, and k is not 0.

    >>> form_of(Task("kind", "single", ("a", "b", "c")), 2, "float16").k
    0
    """
    classes = len(task.classes)
    sparse = Form(classes, k, dtype)
    return sparse if 0 < k < classes and sparse.cell.itemsize < Form(classes, 0, dtype).cell.itemsize else Form(
        classes, 0, dtype)


def read_form(task: Task, told: dict[str, Any]) -> Form:
    """The form of a task as a head tells it."""
    return Form(len(task.classes), told.get("k", 0), told["dtype"])
