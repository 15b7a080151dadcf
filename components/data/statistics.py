"""What a data set is like, in numbers small enough for dataset.json: labels, sizes, light, colours."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.dataset import SPLITS
from components.data.embedding import WIDTH, Embeddings, Spread, read, total, written
from components.data.reading import labels_of
from components.data.tasks import Task

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MOST_CELLS = 2500
# Edges of histograms, the same for every data set so that any two can be compared; what lies outside counts at the end.
EDGES: dict[str, tuple[float, ...]] = {
    "short_side": (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096),
    "aspect": (0.25, 0.33, 0.5, 0.6, 0.7, 0.8, 0.95, 1.05, 1.25, 1.45, 1.7, 2.0, 3.0, 4.0),
    "brightness": tuple(edge / 20 for edge in range(1, 20)),
    "contrast": tuple(edge / 50 for edge in range(1, 20)),
    "sharpness": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0),
    "entropy": (1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0, 6.25, 6.5, 6.75, 7.0, 7.25, 7.5, 7.75),
}


def statistics(samples: pd.DataFrame, tasks: Sequence[Task], embeddings: Iterable[Embeddings]) -> dict[str, Any]:
    """The `statistics` of dataset.json.

    samples: sha256 (or id), split, width, height, a text column a task, and brightness, contrast, sharpness, entropy
    where they are known. embeddings: those of the stored pixels, in blocks of any length, in the order of the samples.
    """
    measures = measured(samples)
    return {
        "labelled": {task.name: {split: int((samples.loc[samples["split"] == split, task.name] != "").sum())
                                 for split in SPLITS} for task in tasks},
        "together": {f"{one.name} x {other.name}": together(samples, one, other)
                     for one, other in combinations(tasks, 2)},
        "quantiles": {name: quantiles(values) for name, values in measures.items()},
        "histograms": {name: {split: written(histogram(name, values[(samples["split"] == split).to_numpy()]))
                              for split in SPLITS} for name, values in measures.items()},
        "pictures": pictures(samples, embeddings),
    }


def measured(samples: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Everything that is a number of each image, float64 [N], NaN where it is not known."""
    width, height = (samples[name].to_numpy(np.float64) for name in ("width", "height"))
    sides = {"short_side": np.minimum(width, height), "aspect": width / np.maximum(1.0, height)}
    known = [name for name in EDGES if name in samples]
    return sides | {name: samples[name].to_numpy(np.float64) for name in known}


def quantiles(values: NDArray[np.float64]) -> list[float]:
    """QUANTILES of the values that are known, each a value that occurs; empty where none is."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return []
    places = np.floor(np.array(QUANTILES) * (len(known) - 1)).astype(int)
    return [round(float(value), 6) for value in known[places]]


def histogram(name: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many known values lie below the first edge, between two, and at or above the last, [EDGES + 1]."""
    known = values[~np.isnan(values)]
    places = np.searchsorted(np.array(EDGES[name]), known, side="right")
    return np.bincount(places, minlength=len(EDGES[name]) + 1)


def together(samples: pd.DataFrame, one: Task, other: Task) -> dict[str, Any]:
    """How often labels of two tasks meet, where the table is not too large, and how closely they go together.

    cramers_v: 0 where they are independent, 1 where one tells the other, over all pairs of labels of an image (Cramér
    1946, Mathematical Methods of Statistics, 21.9).
    """
    table = np.zeros((len(one.classes), len(other.classes)), np.int64)
    rows, columns = ({name: place for place, name in enumerate(task.classes)} for task in (one, other))
    cells, numbers = np.unique((samples[one.name] + "\0" + samples[other.name]).to_numpy(str), return_counts=True)
    for cell, number in zip(cells.tolist(), numbers.tolist(), strict=True):
        first, _, second = cell.partition("\0")
        for row in labels_of(first, one.kind):
            for column in labels_of(second, other.kind):
                table[rows[row], columns[column]] += number
    small = table.size <= MOST_CELLS
    return {"cramers_v": cramers_v(table), "counts": named(table, one, other) if small else None}


def named(table: NDArray[np.int64], one: Task, other: Task) -> dict[str, dict[str, int]]:
    """The cells of a table that are not empty, by name."""
    return {row: {column: int(number) for column, number in zip(other.classes, line, strict=True) if number}
            for row, line in zip(one.classes, table, strict=True) if line.any()}


def cramers_v(table: NDArray[np.int64]) -> float | None:
    """Cramér's V of a table; null where a side has fewer than two labels."""
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2:
        return None
    count = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / count
    chi = ((table - expected) ** 2 / expected).sum()
    return round(float(np.sqrt(chi / (count * (min(table.shape) - 1)))), 6)


def pictures(samples: pd.DataFrame, embeddings: Iterable[Embeddings]) -> dict[str, list[dict[str, Any]]]:
    """The spread of the embeddings of every split, in two halves by content, whose difference is what chance makes."""
    digests = samples["sha256" if "sha256" in samples else "id"]
    half = np.array([int(digest[-1], 16) % 2 for digest in digests], np.int64)
    place = {name: number for number, name in enumerate(SPLITS)}
    cell = samples["split"].map(place).to_numpy(np.int64) * 2 + half
    spreads: dict[int, list[Spread]] = {number: [] for number in range(2 * len(SPLITS))}
    first = 0
    for block in embeddings:
        cells = cell[first : first + len(block)]
        for number in np.unique(cells).tolist():
            spreads[number] = [total([*spreads[number], Spread.of(block[cells == number])])]
        first += len(block)
    assert first == len(samples), f"{first} embeddings for {len(samples)} samples"
    return {name: [total(spreads[2 * number + part]).to_json() for part in range(2)]
            for name, number in place.items()}


def spreads_of(head: Mapping[str, Any]) -> dict[str, list[Spread]]:
    """What `pictures` wrote, read again; empty where a data set holds none of this WIDTH."""
    found = head.get("statistics", {}).get("pictures", {})
    whole = all(len(half["sums"].split()) == WIDTH for halves in found.values() for half in halves)
    return {name: [Spread.from_json(half) for half in halves] for name, halves in found.items()} if whole else {}


def histograms_of(head: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """The histograms that a head holds, by measure and split; those of other edges are left out."""
    found = head.get("statistics", {}).get("histograms", {})
    counts = {name: {split: read(text).tolist() for split, text in by_split.items()}
              for name, by_split in found.items() if name in EDGES}
    return {name: by_split for name, by_split in counts.items()
            if all(len(cells) == len(EDGES[name]) + 1 for cells in by_split.values())}
