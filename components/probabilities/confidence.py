"""Confident learning: which given labels the probabilities contradict, judged by a threshold of each class's own.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
https://arxiv.org/abs/1911.00068. A class that models are shy about needs less probability to count than one that they
are bold about, so that neither over-confidence nor imbalance alone makes an error of a label.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
# Probabilities [b, C] of successive slices of the samples; may be asked for again, and gives the same again.
Blocks = Callable[[], Iterator[tuple[slice, Floats]]]

TOLERANCE = 1e-6  # a mean of equal numbers may round above them


@dataclass(frozen=True)
class Verdicts:
    """What probabilities say of given labels.

    given: int64 [n]. confident: the likeliest class among those at or above their threshold, -1 where none is, int64
    [n]. own: probability of the given class; other: of the confident one, 0 where there is none; margin: that of the
    given class less the largest of any other, each float64 [n]. thresholds: float64 [C], NaN for a class that no sample
    is given.
    """

    given: Counts
    confident: Counts
    own: Floats
    other: Floats
    margin: Floats
    thresholds: Floats

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Likely errors: another class is confident and likelier than the given one, bool [n]."""
        found: NDArray[np.bool_] = (self.confident >= 0) & (self.confident != self.given) & (self.other > self.own)
        return found

    @property
    def score(self) -> Floats:
        """From 0, surely right, to 1, surely wrong: half of one less the normalised margin, [n]."""
        return (1.0 - self.margin) / 2.0


def judge(blocks: Blocks, given: Counts, classes: int) -> Verdicts:
    """Judge given labels, int64 [n], all of them known; reads the probabilities twice and keeps a few numbers a row."""
    count = len(given)
    own, other, margin = np.empty(count), np.zeros(count), np.empty(count)
    confident = np.full(count, -1, np.int64)
    for block, values in blocks():
        own[block] = np.take_along_axis(values, given[block, None], axis=1)[:, 0]
    limits = class_means(own, given, classes)
    for block, values in blocks():
        margin[block] = own[block] - largest_other(values, given[block])
        confident[block], other[block] = confident_class(values, limits)
    return Verdicts(given, confident, own, other, margin, limits)


def class_means(own: Floats, given: Counts, classes: int) -> Floats:
    """The mean probability of each class over the samples that are given it, in any order of them the same, [C]."""
    order = np.argsort(given, kind="stable")
    parts = np.split(own[order], np.searchsorted(given[order], np.arange(1, classes)))
    return np.array([math.fsum(part.tolist()) / len(part) if len(part) else math.nan for part in parts])


def largest_other(values: Floats, given: Counts) -> Floats:
    """The largest probability of a class that is not the given one; 0 where there is no other, [b]."""
    rest = values.copy()
    np.put_along_axis(rest, given[:, None], 0.0, axis=1)
    largest: Floats = rest.max(axis=1)
    return largest


def confident_class(values: Floats, thresholds: Floats) -> tuple[Counts, Floats]:
    """The likeliest class at or above its threshold (the first of equals) or -1, its probability or 0, each [b]."""
    reached = np.where(values >= thresholds - TOLERANCE, values, -1.0)
    best = reached.argmax(axis=1)
    top = np.take_along_axis(reached, best[:, None], axis=1)[:, 0]
    return np.where(top >= 0, best, -1), np.maximum(top, 0.0)


def confident_joint(verdicts: Verdicts) -> Counts:
    """How often each class is confident where each is given: rows of given, confident, count, those above 0, [P, 3]."""
    known = verdicts.confident >= 0
    classes = len(verdicts.thresholds)
    cells, counts = np.unique(verdicts.given[known] * classes + verdicts.confident[known], return_counts=True)
    return np.column_stack([*np.divmod(cells, classes), counts]).astype(np.int64)


def estimated(verdicts: Verdicts, joint: Counts) -> Floats:
    """How many samples each row of the confident joint stands for, [P].

    The counts of a given class are scaled to all that are given it (section 3.1, equation 3 of the paper); of a class
    without any count nothing is known, and none is estimated.
    """
    classes = len(verdicts.thresholds)
    given = np.bincount(verdicts.given, minlength=classes)
    counted = np.bincount(joint[:, 0], weights=joint[:, 2], minlength=classes)
    scaled: Floats = joint[:, 2] * given[joint[:, 0]] / counted[joint[:, 0]]
    return scaled
