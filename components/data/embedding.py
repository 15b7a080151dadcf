"""A small fixed description of pictures without any model, and its spread over a data set; in exact whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 24  # a picture is reduced to so many means each way
CELLS = 3  # and described by the mean colours of so many parts each way
DIRECTIONS = 8
WIDTH = CELLS * CELLS * 3 + DIRECTIONS
FINEST = 96  # pixels a side that are looked at; of larger pictures every second, third, ... counts
SHARPEST = 16  # of 256, the mean edge strength in one direction that is the largest told apart
LUMA = np.array([77, 150, 29], np.int32)  # ITU-R BT.601, in 256ths

Embeddings = NDArray[np.uint8]


def embedded(pixels: NDArray[np.uint8]) -> Embeddings:
    """Describe pictures uint8 [n, H, W, 3] by [n, WIDTH]: mean colours of 3 x 3 parts, edges in 8 directions.

    An edge of a direction is strong where neighbouring means of luma differ; the direction is told without angles, by
    which of the differences is larger, so that every number is whole.
    """
    means = reduced(pixels)
    count, part = len(means), GRID // CELLS
    parts = means.reshape(count, CELLS, part, 3, CELLS, part).sum(axis=(2, 5), dtype=np.int32) // (part * part)
    luma = (means * LUMA[:, None]).sum(axis=2, dtype=np.int32) >> 8
    across, down = luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2], luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]
    strength = np.abs(across) + np.abs(down)
    kinds = directions(across, down) + DIRECTIONS * np.arange(count)[:, None, None]
    edges = np.bincount(kinds.ravel(), strength.ravel(), count * DIRECTIONS).astype(np.int64).reshape(-1, DIRECTIONS)
    scaled = np.minimum(edges * 256 // (SHARPEST * (GRID - 2) ** 2), 255)
    colours = parts.transpose(0, 1, 3, 2).reshape(count, CELLS * CELLS * 3)
    return np.concatenate([colours, scaled], axis=1).astype(np.uint8)


def reduced(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Means over a grid, rounded down, int32 [n, GRID, 3, GRID] (row, channel, column); pixels of small ones repeat."""
    steps = [-(-side // FINEST) for side in pixels.shape[1:3]]
    seen = pixels[:, :: steps[0], :: steps[1]].transpose(0, 1, 3, 2).astype(np.float32)
    (rows, high), (columns, wide) = marks(seen.shape[1]), marks(seen.shape[3])
    # Sums of a few bytes are whole numbers that 32-bit floats hold, in whatever order they are added.
    along = (seen.reshape(-1, seen.shape[3]) @ columns.T).reshape(len(seen), seen.shape[1], 3 * GRID)
    sums = np.matmul(rows, along).reshape(len(seen), GRID, 3, GRID).astype(np.int32)
    means: NDArray[np.int32] = sums // (high[:, None, None] * wide[None, None, :])
    return means


@cache
def marks(side: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Which pixels each cell of the grid sums up, float32 [GRID, side] of 0 and 1, and how many, int32 [GRID]."""
    edges = np.arange(GRID + 1) * side // GRID
    first = np.minimum(edges[:-1], side - 1)
    last = np.maximum(edges[1:], first + 1)
    places = np.arange(side)
    inside = (places >= first[:, None]) & (places < last[:, None])
    return inside.astype(np.float32), (last - first).astype(np.int32)


def directions(across: NDArray[np.int32], down: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which eighth of a half turn a gradient points to: 0 to 7."""
    wide, high = np.abs(across), np.abs(down)
    eighth = np.where(high > wide, np.where(29 * wide < 12 * high, 3, 2), np.where(29 * high < 12 * wide, 0, 1))
    return np.where((across < 0) != (down < 0), 7 - eighth, eighth)


@dataclass(frozen=True)
class Spread:
    """Embeddings of some pictures, added up. sums: int64 [WIDTH]. products: int64 [WIDTH, WIDTH]."""

    count: int
    sums: NDArray[np.int64]
    products: NDArray[np.int64]

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Spread":
        """The spread of embeddings [n, WIDTH]."""
        whole = embeddings.astype(np.float64)  # exact below 2**53, in any order
        return cls(len(embeddings), embeddings.sum(axis=0, dtype=np.int64), (whole.T @ whole).astype(np.int64))

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(self.count + other.count, self.sums + other.sums, self.products + other.products)

    def mean(self) -> NDArray[np.float64]:
        """The mean, float64 [WIDTH]."""
        return self.sums / max(1, self.count)

    def covariance(self) -> NDArray[np.float64]:
        """The covariance, float64 [WIDTH, WIDTH]."""
        mean = self.mean()
        centred: NDArray[np.float64] = self.products / max(1, self.count) - np.outer(mean, mean)
        return centred

    def to_json(self) -> dict[str, Any]:
        """The form in which dataset.json holds it: one line of numbers each, of the products the upper triangle."""
        upper = self.products[np.triu_indices(WIDTH)]
        return {"count": self.count, "sums": written(self.sums), "products": written(upper)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Spread":
        """Read what `to_json` wrote."""
        products = np.zeros((WIDTH, WIDTH), np.int64)
        products[np.triu_indices(WIDTH)] = read(value["products"])
        return cls(value["count"], read(value["sums"]), np.triu(products) + np.triu(products, 1).T)


def written(numbers: NDArray[np.int64]) -> str:
    """Whole numbers as text."""
    return " ".join(map(str, numbers.tolist()))


def read(text: str) -> NDArray[np.int64]:
    """Whole numbers from text."""
    return np.array([int(number) for number in text.split()], np.int64)


def total(spreads: Sequence[Spread]) -> Spread:
    """Several spreads as one."""
    start = Spread(0, np.zeros(WIDTH, np.int64), np.zeros((WIDTH, WIDTH), np.int64))
    return sum(spreads, start)
