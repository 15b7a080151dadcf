"""Probabilities, labels and weights as lines of text: `path,number,...`, the form of older programs.

Numbers are written so that they are read back as the same float64. A path may hold commas: numbers are counted from
the end of a line.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError, shown
from components.evaluation.calibration import labelled

Floats = NDArray[np.float64]

NOTHING = 1e-12  # what a 0 is taken for: less than decimals hold, and no proof that a class is impossible
UNEVEN = 5e-3  # by how much probabilities may miss the sum of 1 before they are made to have it


def lines(paths: Iterable[str], values: NDArray[np.floating]) -> str:
    """A line a path, each with a row of numbers, float64 [n, C]; UserError for a path that takes more than one line."""
    rows = []
    for path, row in zip(paths, values.astype(np.float64).tolist(), strict=True):
        if "\n" in path or "\r" in path:
            raise UserError(f"the path {shown(path)} does not fit in a line", "rename the file")
        rows.append(",".join([path, *map(repr, row)]) + "\n")
    return "".join(rows)


def read_lines(path: Path, count: int) -> tuple[list[str], Floats]:
    """Paths and their numbers, float64 [n, count]; UserError that names the line that is otherwise."""
    names, values = [], []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "correct the path; the file is UTF-8 text") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            name, *cells = line.rsplit(",", count)
            names.append(name)
            values.append(numbers(cells, count, f"{path}, line {number}"))
    refuse_repeats(names, path)
    return names, np.array(values, np.float64).reshape(-1, count)


def numbers(cells: Sequence[str], count: int, place: str) -> list[float]:
    """Cells as finite numbers of at least 0."""
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        found = []
    if len(found) != count or not all(math.isfinite(one) and one >= 0 for one in found):
        raise UserError(f"{place}: {shown(','.join(cells))}; expected {count} numbers of at least 0 behind a path",
                        "a number for each class of the Dataset's task, in its order")
    return found


def refuse_repeats(names: Sequence[str], path: Path) -> None:
    """UserError where a path stands in a file twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path} names {shown(name)} twice", "remove one of the lines")
        seen.add(name)


def truth(dataset: Dataset, task: Task, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """Of some rows those that are labelled, int64 [n], and their labels as 0 and 1, float64 [n, C]."""
    labels = dataset.labels(task)[rows]
    known = labelled(labels)
    if task.kind == "multi":
        return rows[known], (labels[known] > 0.5).astype(np.float64)
    return rows[known], np.eye(len(task.classes))[labels[known].astype(np.int64)]


def logarithms(values: Floats, kind: str, notes: list[str], file: str) -> Floats:
    """Log-probabilities of what a file says, float64 [n, C]; UserError for numbers above 1.

    Of a `single` task rows that miss the sum of 1 by more than rounding explains are divided by it, which is noted. A 0
    is taken for NOTHING.
    """
    if values.size and values.max() > 1.0:
        raise UserError(f"{file} gives a probability of {values.max():g}; expected at most 1",
                        "it must hold probabilities, not logits")
    if kind == "single":
        sums = values.sum(axis=1)
        if (sums == 0).any():
            raise UserError(f"{file} gives all classes the probability 0 for {int((sums == 0).sum())} samples",
                            "write more decimals")
        uneven = np.abs(sums - 1) > UNEVEN
        if uneven.any():
            notes.append(f"{file}: the probabilities of {int(uneven.sum())} of {len(sums)} samples did not sum to 1 "
                         f"(up to {sums.max():.4g}) and were divided by their sum")
        values = np.where(uneven[:, None], values / np.maximum(sums, 1e-300)[:, None], values)
    return finite_logarithms(values)


def finite_logarithms(values: Floats) -> Floats:
    """Natural logarithms of probabilities, in which a 0 is taken for NOTHING, or for the least of its row if less.

    >>> finite_logarithms(np.array([0.0, 1.0])).round(3).tolist()
    [-27.631, 0.0]
    >>> finite_logarithms(np.array([0.0, 1e-30, 1.0])).round(3).tolist()
    [-69.078, -69.078, 0.0]
    """
    least = values.min(axis=-1, keepdims=True, initial=NOTHING, where=values > 0)
    found: Floats = np.log(np.where(values > 0, values, least))
    return found
