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
LUMA = np.array([77, 150, 29], np.int64)  # ITU-R BT.601, in 256ths

Embeddings = NDArray[np.uint8]


def embedded(pixels: NDArray[np.uint8]) -> Embeddings:
    """Describe pictures uint8 [n, H, W, 3] by [n, WIDTH]: mean colours of 3 x 3 parts, edges in 8 directions.

    An edge of a direction is strong where neighbouring means of luma differ; the direction is told without angles, by
    which of the differences is larger, so that every number is whole.
    """
    means = reduced(pixels)
    part = GRID // CELLS
    parts = means.reshape(-1, CELLS, part, CELLS, part, 3).sum(axis=(2, 4)) // (part * part)
    luma = means @ LUMA >> 8
    across, down = luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2], luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]
    strength = np.abs(across) + np.abs(down)
    kinds = directions(across, down)
    edges = np.stack([np.where(kinds == kind, strength, 0).sum(axis=(1, 2)) for kind in range(DIRECTIONS)], axis=1)
    scaled = np.minimum(edges * 256 // (SHARPEST * strength[0].size), 255)
    return np.concatenate([parts.reshape(len(pixels), -1), scaled], axis=1).astype(np.uint8)


def reduced(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Means over a grid, rounded down, int64 [n, GRID, GRID, 3]; small pictures repeat pixels."""
    steps = [-(-side // FINEST) for side in pixels.shape[1:3]]
    seen = pixels[:, :: steps[0], :: steps[1]].astype(np.float32)
    (rows, high), (columns, wide) = marks(seen.shape[1]), marks(seen.shape[2])
    # Sums of at most 16 bytes squared are whole numbers that 32-bit floats hold, in whatever order they are added.
    along = np.matmul(rows, seen.reshape(len(seen), seen.shape[1], -1)).reshape(len(seen), GRID, seen.shape[2], 3)
    sums = np.matmul(columns, along).astype(np.int64)
    means: NDArray[np.int64] = sums // (high[:, None] * wide[None, :])[..., None]
    return means


@cache
def marks(side: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Which pixels each cell of the grid sums up, float32 [GRID, side] of 0 and 1, and how many, int64 [GRID]."""
    edges = np.arange(GRID + 1) * side // GRID
    first = np.minimum(edges[:-1], side - 1)
    last = np.maximum(edges[1:], first + 1)
    places = np.arange(side)
    inside = (places >= first[:, None]) & (places < last[:, None])
    return inside.astype(np.float32), last - first


def directions(across: NDArray[np.int64], down: NDArray[np.int64]) -> NDArray[np.int64]:
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
