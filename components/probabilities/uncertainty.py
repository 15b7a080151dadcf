"""How unsure sources are of a sample, from 0 to 1, so that tasks of any number of classes can be averaged."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST = 1e-300  # p log p is 0 where p is 0


def uncertainty(members: Iterable[Floats], kind: str) -> dict[str, Floats]:
    """Entropy, margin and disagreement of some samples, each float64 [n] from 0, sure, to 1.

    members: probabilities [n, C] of every source and view, one or more. `entropy` is that of their mean over its
    largest value; for `multi` the mean over labels. `margin` is one less the lead of the likeliest class; for `multi`
    that of the least sure label. `disagreement` is the mutual information of answer and member, the entropy of the mean
    less the mean entropy (BALD: Houlsby et al. 2011, https://arxiv.org/abs/1112.5745), on the scale of `entropy`: what
    every member finds equally unclear counts for nothing there.
    """
    total, entropies, count = None, None, 0
    for values in members:
        total = values if total is None else total + values
        own = entropy(values, kind)
        entropies = own if entropies is None else entropies + own
        count += 1
    assert total is not None and entropies is not None, "a store has a source and a view"
    mean = total / count
    whole = entropy(mean, kind)
    return {"entropy": whole, "margin": closeness(mean, kind),
            "disagreement": np.maximum(whole - entropies / count, 0.0)}


def entropy(values: Floats, kind: str) -> Floats:
    """Entropy over its largest value of probabilities [n, C], [n]; 0 where there is one class only."""
    if kind == "multi":
        each = (surprise(values) + surprise(1.0 - values)) / math.log(2.0)
        return np.asarray(each.mean(axis=1))
    classes = values.shape[1]
    return surprise(values).sum(axis=1) / math.log(classes) if classes > 1 else np.zeros(len(values))


def surprise(values: Floats) -> Floats:
    """-p log p, in nats."""
    return -values * np.log(np.maximum(values, SMALLEST))


def closeness(values: Floats, kind: str) -> Floats:
    """One less the lead of the likeliest class over the next; for `multi` of the least sure label, [n]."""
    if kind == "multi":
        return np.asarray(1.0 - np.abs(2.0 * values - 1.0).min(axis=1))
    if values.shape[1] == 1:
        return np.zeros(len(values))
    top = np.partition(values, -2, axis=1)[:, -2:]
    return np.asarray(1.0 - (top[:, 1] - top[:, 0]))
