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
    [n]. suggested: the likeliest class that is not the given one, int64 [n]. own, other: probabilities of the given and
    of the suggested class, float64 [n]. thresholds: float64 [C], NaN for a class that no sample is given.
    """

    given: Counts
    confident: Counts
    suggested: Counts
    own: Floats
    other: Floats
    thresholds: Floats

    @property
    def margin(self) -> Floats:
        """The normalised margin of the given class, from -1 to 1, [n]."""
        return self.own - self.other

    @property
    def score(self) -> Floats:
        """From 0, surely right, to 1, surely wrong: half of one less the margin, [n]."""
        return (1.0 - self.margin) / 2.0


def judge(blocks: Blocks, given: Counts, classes: int) -> Verdicts:
    """Judge given labels, int64 [n], all of them known; reads the probabilities twice and keeps a few numbers a row."""
    count = len(given)
    own, other = np.empty(count), np.empty(count)
    confident, suggested = np.empty(count, np.int64), np.empty(count, np.int64)
    for block, values in blocks():
        own[block] = np.take_along_axis(values, given[block, None], axis=1)[:, 0]
    limits = class_means(own, given, classes)
    for block, values in blocks():
        confident[block] = confident_class(values, limits)
        suggested[block], other[block] = likeliest_other(values, given[block])
    return Verdicts(given, confident, suggested, own, other, limits)


def class_means(own: Floats, given: Counts, classes: int) -> Floats:
    """The mean probability of each class over the samples that are given it, in any order of them the same, [C]."""
    order = np.argsort(given, kind="stable")
    parts = np.split(own[order], np.searchsorted(given[order], np.arange(1, classes)))
    return np.array([math.fsum(part.tolist()) / len(part) if len(part) else math.nan for part in parts])


def likeliest_other(values: Floats, given: Counts) -> tuple[Counts, Floats]:
    """The likeliest class that is not the given one, the first of equals, and its probability, each [b].

    Where there is one class only, that class and 0.
    """
    rest = values.copy()
    np.put_along_axis(rest, given[:, None], -1.0, axis=1)
    best = rest.argmax(axis=1)
    return best, np.maximum(np.take_along_axis(rest, best[:, None], axis=1)[:, 0], 0.0)


def confident_class(values: Floats, thresholds: Floats) -> Counts:
    """The likeliest class at or above its threshold, the first of equals, or -1, [b]."""
    reached = np.where(values >= thresholds - TOLERANCE, values, -1.0)
    return np.where((reached >= 0).any(axis=1), reached.argmax(axis=1), -1)


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


def flagged(verdicts: Verdicts) -> NDArray[np.bool_]:
    """Likely errors, bool [n]: of each pair of classes as many as it is estimated to have, those of the least margin.

    Pruning by noise rate (section 3.2 of the paper). A sample counts for the pair of its given and suggested class, and
    only where the suggested one is likelier; equal margins stand or fall together, so that no order decides.
    """
    classes, joint = len(verdicts.thresholds), confident_joint(verdicts)
    wanted = np.zeros(len(joint) + 1, np.int64)
    wanted[:-1] = np.floor(estimated(verdicts, joint) + 0.5)
    doubted = np.flatnonzero(verdicts.margin < 0)
    codes, margins = verdicts.given[doubted] * classes + verdicts.suggested[doubted], verdicts.margin[doubted]
    order = np.lexsort((margins, codes))
    pairs, starts, inverse, counts = np.unique(codes[order], return_index=True, return_inverse=True, return_counts=True)
    places = {cell: place for place, cell in enumerate((joint[:, 0] * classes + joint[:, 1]).tolist())}
    taken = np.minimum(wanted[[places.get(pair, -1) for pair in pairs.tolist()]], counts)
    limits = np.where(taken > 0, margins[order][starts + np.maximum(taken, 1) - 1], -np.inf)
    found = np.zeros(len(verdicts.given), bool)
    found[doubted[order]] = margins[order] <= limits[inverse]
    return found
