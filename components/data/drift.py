"""How far two distributions are apart, and how far chance alone would put them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.data.embedding import Spread, total

Verdict = Literal["none", "minor", "major"]
VERDICTS: tuple[Verdict, ...] = ("none", "minor", "major")

# The customary bounds of the index: https://EconPapers.repec.org/RePEc:rsk:journ5:7725371
PSI = (0.1, 0.25)
# Shares of the spread of OLD; a mean that is off by half a standard deviation everywhere comes to 0.25.
PICTURES = (0.05, 0.25)
RARE = 3.09  # standard deviations that one comparison of a thousand exceeds by chance
TIMES = 3.0  # how many times what halves of one set differ by


@dataclass(frozen=True)
class Distance:
    """How far apart two sets are, and how far chance could put two sets of these sizes."""

    figure: float
    chance: float

    def verdict(self, bounds: tuple[float, float]) -> Verdict:
        """What it comes to; none where chance can explain it."""
        if self.figure <= max(self.chance, bounds[0]):
            return "none"
        return "minor" if self.figure <= bounds[1] else "major"


def stability(old: Sequence[int], new: Sequence[int]) -> Distance:
    """Population stability index of two lists of counts of the same cells: the sum of (p - q) ln(p / q).

    Half a sample is added to every cell that either has any in, so that empty cells are finite. Of two samples of one
    population, of n and m, the index divided by 1 / n + 1 / m is chi-squared with one degree less than cells (Yurdakul
    and Naranjo 2020, Journal of Risk Model Validation 14); chance is its quantile of .999 (Wilson and Hilferty 1931,
    https://doi.org/10.1073/pnas.17.12.684).
    """
    counts = np.array([old, new], np.float64)
    counts = counts[:, counts.any(axis=0)]
    cells = counts.shape[1]
    if cells < 2 or not counts.any(axis=1).all():
        return Distance(0.0, 0.0)
    sizes = counts.sum(axis=1)
    first, second = (counts + 0.5) / (sizes + 0.5 * cells)[:, None]
    figure = float(((first - second) * np.log(first / second)).sum())
    free = cells - 1
    quantile = free * (1 - 2 / (9 * free) + RARE * math.sqrt(2 / (9 * free))) ** 3
    return Distance(figure, float(quantile * (1 / sizes).sum()))


def pictures_apart(old: Sequence[Spread], new: Sequence[Spread]) -> Distance:
    """Fréchet distance of the pictures of two sets, as a share of the spread of the old; halves of each are given.

    Chance is TIMES what the halves of the old differ by, scaled to the sizes of the two sets.
    """
    first, second = total(old), total(new)
    if min(first.count, second.count) < 2:
        return Distance(0.0, 0.0)
    spread = max(float(np.trace(first.covariance())), 1e-12)
    halves = [half for half in old if half.count]
    if len(halves) < 2:
        return Distance(frechet(first, second) / spread, math.inf)
    sizes = (1 / first.count + 1 / second.count) / sum(1 / half.count for half in halves)
    return Distance(frechet(first, second) / spread, TIMES * sizes * frechet(*halves) / spread)


def frechet(one: Spread, other: Spread) -> float:
    """|m - n|^2 + tr(C + D - 2 (C D)^(1/2)) of two normal distributions (Dowson and Landau 1982,
    https://doi.org/10.1016/0047-259X(82)90077-X)."""
    apart = one.mean() - other.mean()
    first, second = one.covariance(), other.covariance()
    half = root(first)
    mixed = half @ second @ half
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh((mixed + mixed.T) / 2), 0)).sum()
    return max(0.0, float(apart @ apart + np.trace(first) + np.trace(second) - 2 * shared))


def root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    result: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return result
