"""Operating thresholds: from which probability on a prediction may be acted on, and what is then left to a person.

A cut is a probability that occurs among the predictions of a class: those at or above it are acted on, so that equal
probabilities stand or fall together. Where a sample has one class, its prediction is the likeliest one, and the others
are left to a person (selective classification: Geifman and El-Yaniv 2017, https://arxiv.org/abs/1705.08500).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.evaluation.shares import lower, reaches, upper

Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Goal: TypeAlias = Literal["precision", "recall", "f1"]


@dataclass(frozen=True)
class Wish:
    """What a cut shall give: a precision or recall of at least `value`, or the best F1.

    confidence: with which it shall hold, by the lower end of the exact interval; None for the plain share.
    """

    goal: Goal
    value: float = 0.0
    confidence: float | None = None


@dataclass(frozen=True)
class Given:
    """What a cut gives on some samples.

    named: predictions at or above it, right: those that are right, predictions: all of them, bearers: samples that bear
    the class.
    """

    named: int
    right: int
    predictions: int
    bearers: int

    @property
    def precision(self) -> float | None:
        """The share of right ones among what is named; None where nothing is."""
        return self.right / self.named if self.named else None

    @property
    def recall(self) -> float | None:
        """The share of the bearers that are named; None where nobody bears the class."""
        return self.right / self.bearers if self.bearers else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where nothing is named and nobody bears the class."""
        return 2 * self.right / (self.named + self.bearers) if self.named + self.bearers else None

    @property
    def coverage(self) -> float | None:
        """The share of the predictions that are named; None where there is none."""
        return self.named / self.predictions if self.predictions else None

    def of(self, goal: Goal) -> int:
        """Among how many the right ones are counted."""
        return self.bearers if goal == "recall" else self.named

    def to_json(self, confidence: float | None) -> dict[str, Any]:
        """Counts and figures; of precision and recall the lower ends too, where a confidence is given."""
        bounds = {f"{goal}_bound": float(lower(self.right, of, confidence)) if of and confidence else None
                  for goal, of in (("precision", self.named), ("recall", self.bearers))}
        return bounds | {"named": self.named, "right": self.right, "predictions": self.predictions,
                         "bearers": self.bearers, "precision": self.precision, "recall": self.recall, "f1": self.f1,
                         "coverage": self.coverage}


@dataclass(frozen=True)
class Curve:
    """What every cut of a class gives.

    cuts: values that occur, descending, float64 [m]; named, right: predictions at or above each, and those that are
    right, int64 [m]; bearers: samples that bear the class.
    """

    cuts: Floats
    named: Counts
    right: Counts
    bearers: int

    @property
    def predictions(self) -> int:
        """All predictions of the class."""
        return int(self.named[-1]) if len(self.named) else 0

    def at(self, cut: float | None) -> Given:
        """What a cut gives, which need not occur here; None: nothing is acted on."""
        above = 0 if cut is None else int(np.searchsorted(-self.cuts, -cut, side="right"))
        named, right = (int(counts[above - 1]) if above else 0 for counts in (self.named, self.right))
        return Given(named, right, self.predictions, self.bearers)


@dataclass(frozen=True)
class Curves:
    """The curves of all classes of a task, and of a `single` one that of a cut which all classes share."""

    classes: tuple[Curve, ...]
    shared: Curve | None = None


def curves(said: Floats, labels: NDArray[Any], kind: str) -> Curves:
    """The curves of a task. said: probabilities [n, C]; labels: int64 [n], or for `multi` float [n, C]; none lacks."""
    if kind == "multi":
        truth = labels > 0.5
        return Curves(tuple(curve(said[:, place], truth[:, place], int(truth[:, place].sum()))
                            for place in range(said.shape[1])))
    named, top, count = said.argmax(axis=1), said.max(axis=1, initial=0.0), said.shape[1]
    order, bearers = np.argsort(named, kind="stable"), np.bincount(labels, minlength=count)
    parts = np.split(order, np.cumsum(np.bincount(named, minlength=count))[:-1])
    return Curves(tuple(curve(top[rows], labels[rows] == place, int(bearers[place]))
                        for place, rows in enumerate(parts)), curve(top, named == labels, len(labels)))


def curve(scores: Floats, right: NDArray[np.bool_], bearers: int) -> Curve:
    """The curve of predictions with their probabilities [n], of which some are right, bool [n]."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.empty(0, np.int64)
    return Curve(ordered[ends], ends + 1, np.cumsum(right[order], dtype=np.int64)[ends], bearers)


def chosen(one: Curve, wish: Wish) -> float | None:
    """The cut that fulfils a wish, None where none does.

    The lowest of those that are precise enough, the highest of those that find enough, the highest of equal best F1.
    """
    met = np.flatnonzero(fulfilled(one, wish))
    if not len(met):
        return None
    return float(one.cuts[met[-1 if wish.goal == "precision" else 0]])


def fulfilled(one: Curve, wish: Wish) -> NDArray[np.bool_]:
    """Which cuts fulfil a wish, bool [m]; empty where nobody bears a class that is to be found."""
    if wish.goal == "f1" or wish.confidence is None:
        values = measured(one, wish)
        return np.asarray(values >= (values.max(initial=0.0) if wish.goal == "f1" else wish.value))
    if wish.goal == "recall" and not one.bearers:
        return np.empty(0, np.bool_)
    return reaches(one.right, among(one, wish), wish.value, wish.confidence)


def best(one: Curve, wish: Wish) -> float | None:
    """The most that any cut reaches of what is wished for; None where nothing can be said."""
    values = measured(one, wish)
    return float(values.max()) if len(values) else None


def measured(one: Curve, wish: Wish) -> Floats:
    """What is held against the wish at every cut, [m]; empty where nobody bears a class that is to be found."""
    if wish.goal != "precision" and not one.bearers:
        return np.empty(0)
    if wish.goal == "f1":
        return np.asarray(2 * one.right / (one.named + one.bearers))
    of = among(one, wish)
    return np.asarray(one.right / of) if wish.confidence is None else lower(one.right, of, wish.confidence)


def among(one: Curve, wish: Wish) -> Counts:
    """Among how many the right ones are counted at every cut, int64 [m]."""
    return one.named if wish.goal == "precision" else np.full(len(one.named), one.bearers)


def together(parts: Sequence[Given]) -> Given:
    """What the cuts of several classes give, counted as one."""
    return Given(*(sum(getattr(one, name) for one in parts) for name in ("named", "right", "predictions", "bearers")))


def held(given: Given, wish: Wish) -> str:
    """Whether other samples bear a wish out: `yes`; `no` where chance hardly explains it; else `open`, `-` if none."""
    of = given.of(wish.goal)
    if wish.goal == "f1" or not of:
        return "-"
    if given.right / of >= wish.value:
        return "yes"
    return "no" if wish.confidence is None or upper(given.right, of, wish.confidence) < wish.value else "open"


def fewest(wish: Wish) -> int | None:
    """How many predictions, all of them right, a wish for precision takes; None where no number is enough."""
    if wish.confidence is None or wish.value <= 0:
        return 1
    if wish.value >= 1:
        return None
    return max(1, int(np.ceil(np.log(1 - wish.confidence) / np.log(wish.value) - 1e-9)))
