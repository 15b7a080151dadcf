"""Figures of one model under many weightings of the samples at once; equal weights give those of `metrics`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.gate_settings import Metric
from components.evaluation.metrics import ALMOST_ONE, HALF, Floats

# What decides where several labels of a sample may be true: the figure that asks the same of them.
OF_SEVERAL: dict[Metric, str] = {
    "accuracy": "subset_accuracy", "balanced_accuracy": "f1_macro", "f1_macro": "f1_macro", "log_loss": "log_loss",
}


def figure_name(metric: Metric, kind: str) -> str:
    """What `metrics.measure` calls the figure that decides in a task of a kind."""
    return OF_SEVERAL[metric] if kind == "multi" else metric


@dataclass(frozen=True)
class Answers:
    """What a figure needs of one model on labelled samples of one task.

    truth, named: classes int64 [n], or bool [n, C] where several may be true. right: bool [n]. losses: nats [n].
    """

    truth: NDArray[Any]
    named: NDArray[Any]
    right: NDArray[np.bool_]
    losses: Floats
    classes: int


def answers(said: Floats, labels: NDArray[Any], kind: str) -> Answers:
    """Of log-probabilities [n, C] and labels, all of them given; `labels` as `metrics.measure` takes them."""
    if kind == "single":
        named = said.argmax(axis=1)
        losses = -said[np.arange(len(labels)), labels]
        return Answers(labels, named, named == labels, losses, said.shape[1])
    truth, names = labels > 0.5, said >= HALF
    absent = np.log(-np.expm1(np.minimum(said, ALMOST_ONE)))
    return Answers(truth, names, (names == truth).all(axis=1), -np.where(truth, said, absent).mean(axis=1),
                   said.shape[1])


def figures(name: str, one: Answers, weights: Floats) -> Floats:
    """A figure under every weighting [B, n], [B]; samples without weight take no part."""
    if name in ("accuracy", "subset_accuracy"):
        return _mean(one.right.astype(np.float64), weights)
    if name == "log_loss":
        return _mean(one.losses, weights)
    if one.truth.ndim == 2:
        tables = (one.truth & one.named, one.named, one.truth)
        return _macro_f1(*(weights @ table.astype(np.float64) for table in tables))
    return np.array([_by_class(name, one, row) for row in weights])


def _mean(values: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1)
    return np.asarray(weights @ values / np.where(total > 0, total, 1.0))


def _by_class(name: str, one: Answers, row: Floats) -> float:
    hits, support = _sums(one.truth, row * one.right, one.classes), _sums(one.truth, row, one.classes)
    if name == "balanced_accuracy":
        return float((hits[support > 0] / support[support > 0]).mean()) if (support > 0).any() else 0.0
    return float(_macro_f1(hits[None], _sums(one.named, row, one.classes)[None], support[None])[0])


def _sums(places: NDArray[Any], values: Floats, count: int) -> Floats:
    return np.bincount(places, values, count).astype(np.float64)


def _macro_f1(hits: Floats, said: Floats, support: Floats) -> Floats:
    """The mean F1 of the classes that occur or are named, of tables [B, C]."""
    below = said + support
    f1 = np.divide(2 * hits, below, out=np.zeros_like(below), where=below > 0)
    return np.asarray(f1.sum(axis=1) / np.maximum(1, (below > 0).sum(axis=1)))
