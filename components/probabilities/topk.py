"""The likeliest classes of a distribution and what is left for the others: choosing them, and spreading the rest."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = -6e4  # a log-probability of nothing, which half precision can still hold


@dataclass(frozen=True)
class Sparse:
    """The likeliest k of `classes` classes, likeliest first.

    indices: int64 [n, k]. log_probabilities: float32 [n, k]. log_residual: float32 [n], the logarithm of what all other
    classes share, in equal parts; FLOOR where there is no other.
    """

    indices: NDArray[np.int64]
    log_probabilities: NDArray[np.float32]
    log_residual: NDArray[np.float32]
    classes: int

    @property
    def residual(self) -> NDArray[np.float32]:
        """What all other classes have together, float32 [n]; for `multi` the sum over their labels."""
        return np.exp(self.log_residual)

    def dense(self) -> NDArray[np.float32]:
        """Log-probabilities of every class, float32 [n, classes]."""
        return spread(self.indices, self.log_probabilities, self.log_residual, self.classes)


def likeliest(values: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Indices of the k largest of the last axis, largest first, of equals the lower index first, int64 [..., k].

    >>> likeliest(np.array([[0.1, 0.7, 0.1, 0.1]]), 2).tolist()
    [[1, 0]]
    """
    rows = values.reshape(-1, values.shape[-1])
    found = np.sort(np.argpartition(-rows, k - 1, axis=1)[:, :k], axis=1)
    least = np.take_along_axis(rows, found, axis=1).min(axis=1)
    tied = np.flatnonzero((rows >= least[:, None]).sum(axis=1) > k)  # which of equals a partition keeps is not said
    found[tied] = np.sort(np.argsort(-rows[tied], axis=1, kind="stable")[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(rows, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1).reshape(*values.shape[:-1], k).astype(np.int64)


def left_over(values: NDArray[Any], kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of the sum of the probabilities that are not kept, float64 [...].

    values: log-probabilities [..., C]. kept: int64 [..., k]. Summed over the others themselves: one less the sum of the
    kept would be noise where little is left.
    """
    others = np.exp(values.astype(np.float64))
    np.put_along_axis(others, kept, 0.0, axis=-1)
    mass = others.sum(axis=-1)
    left: NDArray[np.float64] = np.log(mass, out=np.full(mass.shape, FLOOR), where=mass > 0)
    return left


def spread(indices: NDArray[Any], values: NDArray[Any], log_residual: NDArray[Any],
           classes: int) -> NDArray[np.float32]:
    """Log-probabilities of all classes, float32 [..., C]: those kept, and equal parts of the rest for each other."""
    others = max(1, classes - indices.shape[-1])
    each = np.asarray(log_residual, np.float32) - np.float32(np.log(others))
    dense = np.repeat(each[..., None], classes, axis=-1)
    np.put_along_axis(dense, indices.astype(np.int64), values.astype(np.float32), axis=-1)
    return dense
