"""Temperature scaling: one number a task that makes stated confidence agree with how often the network is right.

Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError

LOWEST, HIGHEST = 0.05, 20.0
LEAST_SAMPLES = 2
TOLERANCE = 1e-10

Floats = NDArray[np.float64]
# What a slope function gives for an inverse temperature: first and second derivative of the mean log-loss.
Slope = Callable[[float], tuple[float, float]]


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any], kind: str, what: str = "a task") -> float:
    """The temperature that minimises the log-loss of `logits / temperature`, within [0.05, 20].

    logits: float [N, C]. labels: int64 [N] with -1 for none, or for kind `multi` float [N, C] with NaN rows for none.
    what: whose task it is, for warnings.
    The order of samples has no influence. Fewer than 2 labelled samples give 1.0 and a warning on stderr.
    Raises UserError for logits that are not finite.
    """
    known = labelled(labels)
    count = int(known.sum())
    if count < LEAST_SAMPLES:
        warn(what, f"{count} labelled samples are too few to fit a temperature; it stays 1.0")
        return 1.0
    scores = np.asarray(logits, np.float64)[known]
    if not np.isfinite(scores).all():
        raise UserError("a network gave values that are not finite", "its training diverged: lower the learning rate")
    slope = (_multi_slope if kind == "multi" else _single_slope)(scores, labels[known])
    temperature = 1.0 / _root(slope)
    if temperature in (LOWEST, HIGHEST):
        warn(what, f"the best temperature lies beyond the bound {temperature:g}, which is taken")
    return temperature


def warn(what: str, message: str) -> None:
    """Say on stderr what was skipped or adjusted, and for whom."""
    print(f"warning: {what}: {message}", file=sys.stderr)


def labelled(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which samples have a label, bool [N]: -1 says that one has none, and in a [N, C] table a NaN does."""
    return labels >= 0 if labels.ndim == 1 else ~np.isnan(labels).any(axis=1)


def exact_mean(values: Floats) -> float:
    """The mean of a flat array, rounded once and so the same in every order."""
    return math.fsum(values.tolist()) / len(values)


def _single_slope(scores: Floats, labels: NDArray[np.int64]) -> Slope:
    true = scores[np.arange(len(scores)), labels]

    def slope(inverse: float) -> tuple[float, float]:
        weights = np.exp(inverse * (scores - scores.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        expected = (weights * scores).sum(axis=1)
        spread = (weights * (scores - expected[:, None]) ** 2).sum(axis=1)
        return exact_mean(expected - true), exact_mean(spread)

    return slope


def _multi_slope(scores: Floats, labels: NDArray[Any]) -> Slope:
    truth = labels.astype(np.float64)

    def slope(inverse: float) -> tuple[float, float]:
        said = 0.5 * (1.0 + np.tanh(0.5 * inverse * scores))  # the sigmoid, without overflow
        return exact_mean(((said - truth) * scores).ravel()), exact_mean((said * (1.0 - said) * scores**2).ravel())

    return slope


def _root(slope: Slope) -> float:
    """Where the slope crosses zero: the log-loss is convex in the inverse temperature, so Newton inside a bracket."""
    low, here, high = 1.0 / HIGHEST, 1.0, 1.0 / LOWEST
    first, second = slope(here)
    if first == 0.0 and second == 0.0:  # every class got the same score: no temperature is better than another
        return here
    if slope(low)[0] >= 0.0 or slope(high)[0] <= 0.0:
        return low if first > 0.0 else high
    for _ in range(200):
        low, high = (low, here) if first > 0.0 else (here, high)
        newton = here - first / second if second > 0.0 else math.inf
        following = newton if low < newton < high else math.sqrt(low * high)
        if abs(following - here) <= TOLERANCE * here:
            return following
        here = following
        first, second = slope(here)
    return here
