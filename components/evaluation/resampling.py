"""How sure a difference between two models is: paired resampling, and the exact test of McNemar.

A resample gives each unit (a sample, or a group of them) a weight drawn from Poisson(1), a pure function of the seed,
the unit and the resample: the order of samples has no influence, and new samples leave the weights of the others as
they are. Chamandy et al. 2012, "Estimating uncertainty for massive data streams",
https://research.google/pubs/pub43157/.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.data.chance import sample_keys, uniforms

BLOCK = 16  # resamples that are drawn at once; another number gives other draws
MOST_WEIGHT = 18  # Poisson(1) goes beyond with a probability under 2**-53, which no draw can tell from 0
STEPS = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(MOST_WEIGHT)])

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A difference, the bounds that hold it with the confidence asked for, and how probable such a one is by chance."""

    difference: float
    low: float
    high: float
    p: float


def weights(seed: int, units: NDArray[np.uint8], resamples: int) -> Iterator[NDArray[np.float64]]:
    """The weights of units, uint8 [n, 32], in every resample, as blocks [b, n] whose lengths add up to `resamples`."""
    for start in range(0, resamples, BLOCK):
        drawn = uniforms(sample_keys(seed, "resample", units, start // BLOCK), BLOCK)[:, : resamples - start]
        yield np.searchsorted(STEPS, drawn.T, side="right").astype(np.float64)


def interval(difference: float, drawn: Floats, confidence: float) -> Interval:
    """The percentile interval of resampled differences [B]; p is two-sided and never 0: (k + 1) / (B + 1), doubled.

    Davison and Hinkley 1997, "Bootstrap Methods and their Application", sections 4.2.3 and 5.2.1.
    """
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Interval(difference, low, high, min(1.0, 2 * (tail + 1) / (len(drawn) + 1)))


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p value of samples that one model alone got right against those that the other alone did.

    McNemar 1947, https://doi.org/10.1007/BF02295996, by the binomial distribution instead of its approximation.

    >>> round(mcnemar(1, 5), 6), mcnemar(0, 0)
    (0.21875, 1.0)
    """
    return min(1.0, 2 * at_most(min(won, lost), won + lost))


def at_most(hits: int, draws: int) -> float:
    """The probability of so many heads or fewer in so many tosses of a coin.

    >>> round(at_most(1, 3), 6)
    0.5
    """
    logs = [math.lgamma(draws + 1) - math.lgamma(k + 1) - math.lgamma(draws - k + 1) for k in range(hits + 1)]
    return min(1.0, math.fsum(math.exp(one - draws * math.log(2)) for one in logs))
