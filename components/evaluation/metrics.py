"""What a model's probabilities are worth: counts first, every rate derived from them.

Probabilities travel as natural logarithms (float64 [N, C]), so that a log-loss stays finite; for `multi` tasks they are
the logarithms of each label's own probability. Samples without a label take no part. The order of samples has no
influence: counts are whole numbers, and sums are rounded once.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.calibration import exact_mean, labelled

BINS = 15
HALF = math.log(0.5)
ALMOST_ONE = -1e-300  # the logarithm of the largest probability that leaves its complement a finite logarithm

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PerClass:
    """Precision, recall and F1 (0/0 is 0), samples that bear the label, samples given it, each [C]."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Counts
    said: Counts

    @property
    def occurs(self) -> NDArray[np.bool_]:
        """Classes that a sample bears or that the model named: the others say nothing about it, bool [C]."""
        return (self.support > 0) | (self.said > 0)


@dataclass(frozen=True)
class Bins:
    """Mean confidence, accuracy and count by equal-width bins of confidence; 0 where a bin is empty, each [15]."""

    confidence: Floats
    accuracy: Floats
    count: Counts

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap between confidence and accuracy, weighted by count."""
        gaps = np.abs(self.confidence - self.accuracy) * self.count
        return math.fsum(gaps.tolist()) / max(1, int(self.count.sum()))


@dataclass(frozen=True)
class Measured:
    """All that is known of one model on one task: figures by name, counts, classes, calibration.

    confusion: int64 [C, C], rows true and columns said; for `multi` [C, 2, 2], a table for each label.
    """

    values: dict[str, float]
    confusion: Counts
    classes: PerClass
    bins: Bins


def log_probabilities(logits: NDArray[Any], temperature: float, kind: str) -> Floats:
    """Calibrated log-probabilities of logits [N, C]: log-softmax, or the log-sigmoid of each label for `multi`."""
    scores = np.asarray(logits, np.float64) / temperature
    if kind == "multi":
        return -np.logaddexp(0.0, -scores)
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def measure(said: Floats, labels: NDArray[Any], kind: str, top_k: int = 3) -> Measured:
    """Every figure of one model on one task.

    said: log-probabilities [N, C]. labels: int64 [N], -1 = none, or for `multi` float [N, C], NaN rows = none. At least
    one sample has a label.
    """
    known = labelled(labels)
    assert known.any(), "there is a labelled sample"
    return (measure_multi if kind == "multi" else measure_single)(said[known], labels[known], top_k)


def measure_single(said: Floats, labels: Counts, top_k: int) -> Measured:
    """The figures of a task with one true label a sample, all of them labelled; `top_k` ends at the class count."""
    matrix = confusion(said.argmax(axis=1), labels, said.shape[1])
    classes = per_class(matrix)
    bins = reliability(np.exp(said.max(axis=1)), said.argmax(axis=1) == labels)
    values = {
        "accuracy": accuracy(matrix),
        "balanced_accuracy": balanced_accuracy(matrix),
        f"top{top_k}_accuracy": top_k_accuracy(said, labels, top_k),
        "f1_macro": f1_macro(classes),
        "log_loss": log_loss(said, labels),
        "ece": bins.ece,
    }
    return Measured(values, matrix, classes, bins)


def measure_multi(said: Floats, labels: Floats, top_k: int) -> Measured:
    """The figures of a task with several true labels a sample; a label is named from probability one half on."""
    del top_k  # has no meaning where any number of labels may be true
    truth, named = labels > 0.5, said >= HALF
    tables = label_tables(named, truth)
    classes = per_label(tables)
    bins = reliability(np.exp(said).ravel(), truth.ravel())
    hits, wrong = int(tables[:, 1, 1].sum()), int((tables[:, 0, 1] + tables[:, 1, 0]).sum())
    values = {
        "subset_accuracy": int((named == truth).all(axis=1).sum()) / len(truth),
        "f1_micro": 2 * hits / max(1, 2 * hits + wrong),
        "f1_macro": f1_macro(classes),
        "mean_average_precision": mean_average_precision(said, truth),
        "log_loss": log_loss_multi(said, truth),
        "ece": bins.ece,
    }
    return Measured(values, tables, classes, bins)


def confusion(said: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> Counts:
    """How often each class was taken for each, int64 [C, C]: rows are true classes, columns those named.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, -1]), 2).tolist()
    [[1, 1], [0, 0]]
    """
    known = labels >= 0
    cells = np.bincount(labels[known] * classes + said[known], minlength=classes * classes)
    return cells.reshape(classes, classes)


def label_tables(named: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
    """A two by two table for each label, int64 [C, 2, 2]: rows absent and present, columns not named and named."""
    cells = [[(~truth & ~named).sum(0), (~truth & named).sum(0)], [(truth & ~named).sum(0), (truth & named).sum(0)]]
    return np.moveaxis(np.array(cells, np.int64), 2, 0)


def accuracy(matrix: Counts) -> float:
    """The share of samples on the diagonal."""
    return int(np.trace(matrix)) / max(1, int(matrix.sum()))


def balanced_accuracy(matrix: Counts) -> float:
    """The mean recall of the classes that have a sample."""
    classes = per_class(matrix)
    present = classes.support > 0
    return exact_mean(classes.recall[present]) if present.any() else 0.0


def per_class(matrix: Counts) -> PerClass:
    """Precision, recall and F1 of every class of a confusion matrix [C, C]."""
    return _rates(np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1))


def per_label(tables: Counts) -> PerClass:
    """Precision, recall and F1 of every label of tables [C, 2, 2]."""
    return _rates(tables[:, 1, 1], tables[:, :, 1].sum(axis=1), tables[:, 1].sum(axis=1))


def f1_macro(classes: PerClass) -> float:
    """The mean F1 of the classes that occur, 0 where none does."""
    return exact_mean(classes.f1[classes.occurs]) if classes.occurs.any() else 0.0


def _rates(hits: Counts, said: Counts, support: Counts) -> PerClass:
    return PerClass(_ratio(hits, said), _ratio(hits, support), _ratio(2 * hits, said + support), support, said)


def _ratio(above: Counts, below: Counts) -> Floats:
    """Elementwise quotient, 0 where nothing is divided by nothing."""
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def top_k_accuracy(said: Floats, labels: Counts, k: int) -> float:
    """The share of samples whose class is among the `k` likeliest; of equally likely classes the first comes first."""
    true = said[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(said.shape[1]) < labels[:, None]
    rank = ((said > true) | ((said == true) & earlier)).sum(axis=1)
    return int((rank < k).sum()) / len(labels)


def log_loss(said: Floats, labels: Counts) -> float:
    """The mean negative log-probability of the true class, in nats."""
    return -exact_mean(said[np.arange(len(labels)), labels])


def log_loss_multi(said: Floats, truth: NDArray[np.bool_]) -> float:
    """The mean negative log-probability of each label's presence or absence, in nats."""
    absent = np.log(-np.expm1(np.minimum(said, ALMOST_ONE)))
    return -exact_mean(np.where(truth, said, absent).ravel())


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> Bins:
    """Confidence against accuracy in 15 equal bins, each open below and closed above.

    Guo et al. 2017, section 2, https://arxiv.org/abs/1706.04599. Both arguments are flat and of one length.
    """
    places = np.clip(np.searchsorted(np.arange(BINS + 1) / BINS, confidence, side="left") - 1, 0, BINS - 1)
    count = np.bincount(places, minlength=BINS)
    hits = np.bincount(places[correct], minlength=BINS)
    ordered = np.split(confidence[np.argsort(places, kind="stable")], np.cumsum(count)[:-1])
    means = np.array([exact_mean(part) if len(part) else 0.0 for part in ordered])
    return Bins(means, _ratio(hits, count), count)


def mean_average_precision(said: Floats, truth: NDArray[np.bool_]) -> float:
    """The mean, over labels that occur, of precision averaged over recall; equal scores stand or fall together."""
    found = [average_precision(said[:, label], truth[:, label]) for label in np.flatnonzero(truth.any(axis=0))]
    return math.fsum(found) / len(found) if found else 0.0


def average_precision(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """The area below the steps of precision over recall of one label that occurs, [N]."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(truth[order])[ends]
    gained = np.diff(hits, prepend=0)
    return math.fsum((gained * (hits / (ends + 1))).tolist()) / int(hits[-1])
