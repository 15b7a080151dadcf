"""Curriculum weights: what a sample's loss counts, by how probable its true class was to others."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from components.data.curriculum_settings import Curriculum
from components.errors import UserError

Floats = NDArray[np.float32]


def make(probabilities: NDArray[np.floating], thresholds: Sequence[float], weights: Sequence[float],
         missing: float | None = None) -> Floats:
    """Weight of every sample, float32 [N]: that of the first threshold that its probability reaches.

    probabilities: of the true class, [N], NaN where none is known. thresholds: strictly falling, the last is 0; a
    probability that equals a threshold reaches it. missing: weight of samples without a probability; without it they
    are a UserError.

    >>> make(np.array([0.9, 0.7, 0.5, 0.0]), [0.7, 0.5, 0.0], [1.0, 0.6, 0.1]).tolist() == \
        np.array([1.0, 1.0, 0.6, 0.1], np.float32).tolist()
    True
    """
    refuse_disorder(thresholds, weights)
    unknown = np.isnan(probabilities)
    if unknown.any() and missing is None:
        raise UserError(f"{int(unknown.sum())} of {len(unknown)} samples have no probability of a true class",
                        "give them a weight: curriculum.missing, 0 leaves them out")
    steps = np.searchsorted(-np.asarray(thresholds, probabilities.dtype), -np.nan_to_num(probabilities), side="left")
    found = np.asarray(weights, np.float32)[steps]
    return np.where(unknown, np.float32(missing or 0.0), found)


def refuse_disorder(thresholds: Sequence[float], weights: Sequence[float]) -> None:
    """UserError where thresholds do not fall strictly from at most 1 to 0, or weights do not match them."""
    steps = np.asarray(thresholds, np.float64)
    if not len(steps) or not (np.diff(steps) < 0).all() or not 0 <= steps[0] <= 1 or steps[-1] != 0:
        raise UserError(f"curriculum thresholds are {list(thresholds)}; expected falling values in [0, 1] down to 0",
                        "for example: thresholds: [0.7, 0.5, 0.3, 0.0]")
    if len(weights) != len(steps) or not (np.asarray(weights) >= 0).all():
        raise UserError(f"curriculum weights are {list(weights)}; expected {len(steps)} numbers of at least 0",
                        "give one for each threshold")


def curriculum_factor(probabilities: NDArray[np.floating], rows: NDArray[np.int64],
                      wish: Curriculum) -> Callable[[int], Floats]:
    """From an epoch to factors on the weights of all samples, float32 [N].

    probabilities: of the true class, [N]. rows: those that are trained on; only they need a probability.
    """
    weights = np.ones(len(probabilities), np.float32)
    weights[rows] = make(probabilities[rows], wish.thresholds, wish.weights, wish.missing)
    return lambda epoch: paced(weights, epoch, wish.ramp)


def paced(weights: Floats, epoch: int, ramp: int) -> Floats:
    """The weights of an epoch, float32 [N]: moved in a line from their own value to 1 over `ramp` epochs, 0 for never.

    >>> [paced(np.array([0.5], np.float32), epoch, 2).tolist() for epoch in range(4)]
    [[0.5], [0.75], [1.0], [1.0]]
    """
    share = np.float32(min(epoch / ramp, 1.0) if ramp else 0.0)
    moved: Floats = weights + (1 - weights) * share
    return moved
