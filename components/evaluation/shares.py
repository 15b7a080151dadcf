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


def upper(right: Whole, of: Whole, confidence: float) -> Floats:
    """The upper end: with the confidence the true share lies below it; 1 where all is right or nothing is known."""
    return 1.0 - lower(np.asarray(of) - np.asarray(right), of, confidence)
