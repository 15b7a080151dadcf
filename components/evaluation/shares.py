"""Exact one-sided intervals of a share of right answers (Clopper and Pearson 1934, https://doi.org/10.2307/2331986)."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = int | NDArray[np.int64]


def lower(right: Whole, of: Whole, confidence: float) -> Floats:
    """The lower end: with the confidence the true share lies above it; 0 where nothing is right or nothing is known."""
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    hits, draws = np.asarray(right), np.asarray(of)
    ends = betaincinv(np.maximum(hits, 1), draws - np.minimum(hits, draws) + 1, 1 - confidence)
    return np.where(hits > 0, ends, 0.0)


def reaches(right: Whole, of: Whole, share: float, confidence: float) -> NDArray[np.bool_]:
    """Whether the lower end is a share or more: so many right ones are rare enough below it.

    The same answer as that of `lower` without finding the end, which takes many times as long.
    """
    from scipy.special import betainc

    hits, draws = np.asarray(right), np.asarray(of)
    tail = betainc(np.maximum(hits, 1), draws - np.minimum(hits, draws) + 1, share)
    return np.where(hits > 0, tail <= 1 - confidence, share <= 0)


def upper(right: Whole, of: Whole, confidence: float) -> Floats:
    """The upper end: with the confidence the true share lies below it; 1 where all is right or nothing is known."""
    return 1.0 - lower(np.asarray(of) - np.asarray(right), of, confidence)
