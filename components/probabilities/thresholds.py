"""Operating thresholds from what models say of one split, and what they give on another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.evaluation.operating import (
    Curve,
    Curves,
    Given,
    Wish,
    best,
    chosen,
    curves,
    fewest,
    held,
    together,
)
from components.probabilities.ensembling import Ensemble

NAMED = 5  # classes of a task that warnings name
SHARED = "one cut for all"


@dataclass(frozen=True)
class Judged:
    """What every cut gives on the samples of a split that have a label and of which something is said.

    unlabelled: samples without a label. unspoken: those with one, of which nothing is said.
    """

    samples: int
    unlabelled: int
    unspoken: int
    curves: Curves


@dataclass(frozen=True)
class Cut:
    """The cut of a class, or the one that all classes share; None: a person is asked always. curves: by split."""

    name: str
    value: float | None
    curves: Mapping[str, Curve]

    def given(self, split: str) -> Given:
        """What it gives on a split."""
        return self.curves[split].at(self.value)

    def held(self, split: str, wish: Wish) -> str:
        """Whether a split on which it was not fitted bears the wish out; `-` where there is no cut."""
        return "-" if self.value is None else held(self.given(split), wish)


@dataclass(frozen=True)
class Cuts:
    """The cuts of a task. splits: the judged samples by split; cuts were fitted on the first."""

    task: Task
    wish: Wish
    classes: tuple[Cut, ...]
    shared: Cut | None
    splits: Mapping[str, Judged]

    @property
    def every(self) -> tuple[Cut, ...]:
        """The cuts of classes, and the one that they share."""
        return self.classes if self.shared is None else (*self.classes, self.shared)

    def whole(self, split: str) -> Given:
        """What the cuts of all classes give on a split, counted as one."""
        found = together([one.given(split) for one in self.classes])
        return found if self.shared is None else Given(found.named, found.right, found.predictions,
                                                       self.splits[split].samples)

    def to_json(self) -> dict[str, Any]:
        """As thresholds.json holds them."""
        cuts = {one.name: one.value for one in self.classes}
        figures = {split: self.figures(split) for split in self.splits}
        samples = {split: {"judged": one.samples, "unlabelled": one.unlabelled, "unspoken": one.unspoken}
                   for split, one in self.splits.items()}
        shared = {} if self.shared is None else {"shared_cut": self.shared.value}
        return self.task.to_json() | shared | {"cuts": cuts, "figures": figures, "samples": samples}

    def figures(self, split: str) -> dict[str, Any]:
        """What cuts give on a split, and on one that they were not fitted on, whether it bears the wish out."""
        other = split != next(iter(self.splits))

        def told(one: Cut) -> dict[str, Any]:
            more = {"held": one.held(split, self.wish)} if other else {}
            return one.given(split).to_json(self.wish.confidence) | more

        shared = {} if self.shared is None else {"shared": told(self.shared)}
        return shared | {"classes": {one.name: told(one) for one in self.classes},
                         "all": self.whole(split).to_json(self.wish.confidence)}


def fit(dataset: Dataset, whole: Ensemble, task: Task, wish: Wish, splits: Sequence[str]) -> Cuts | None:
    """The cuts of a task, fitted on the first split; None where it has no sample with a label and a word."""
    found = {split: judged(dataset, whole, task, split) for split in splits}
    found = {split: one for split, one in found.items() if one.samples}
    if splits[0] not in found:
        return None
    by_class = [{split: one.curves.classes[place] for split, one in found.items()} for place in
                range(len(task.classes))]
    classes = tuple(Cut(name, chosen(every[splits[0]], wish), every)
                    for name, every in zip(task.classes, by_class, strict=True))
    shared = {split: one.curves.shared for split, one in found.items() if one.curves.shared is not None}
    return Cuts(task, wish, classes, Cut(SHARED, chosen(shared[splits[0]], wish), shared) if shared else None, found)


def judged(dataset: Dataset, whole: Ensemble, task: Task, split: str) -> Judged:
    """What every cut of a task gives on a split."""
    rows = dataset.rows(split)
    said, labels = whole.said[task.name][rows], dataset.labels(task)[rows]
    known, spoken = labelled(labels), ~np.isnan(said[:, 0])
    both = known & spoken
    values = np.minimum(np.exp(said[both]), 1.0)
    return Judged(int(both.sum()), int((~known).sum()), int((known & ~spoken).sum()),
                  curves(values, labels[both], task.kind))


def doubts(cuts: Cuts, splits: Sequence[str]) -> Iterator[str]:
    """What a user should know before acting: classes without a cut, and cuts that another split does not bear out."""
    lacking = [one for one in cuts.every if one.value is None]
    for one in lacking[:NAMED]:
        yield f"{cuts.task.name}, {one.name}: no cut, ask a person always: {reason(one.curves[splits[0]], cuts.wish)}"
    if len(lacking) > NAMED:
        yield f"{cuts.task.name}: {len(lacking) - NAMED} more have no cut"
    if lacking and cuts.wish.goal == "precision" and cuts.wish.confidence is not None:
        yield from too_few(cuts, splits[0])
    for split in splits[1:]:
        if split not in cuts.splits:
            yield f"{cuts.task.name}: no sample of {split} has a label and a word of the members: nothing is checked"
            continue
        missed = [one for one in cuts.every if one.held(split, cuts.wish) == "no"]
        yield from (f"{cuts.task.name}, {one.name}: {missing(one.given(split), cuts.wish)} on {split}"
                    for one in missed)


def reason(one: Curve, wish: Wish) -> str:
    """Why there is no cut."""
    if not one.predictions:
        return "it is never predicted"
    reached = best(one, wish)
    if reached is None:
        return "no sample bears it"
    what = wish.goal if wish.confidence is None else f"lower end of {wish.goal}"
    return f"the best {what} that a cut of its {one.predictions} predictions gives is {reached:.4f}"


def too_few(cuts: Cuts, split: str) -> Iterator[str]:
    """How many predictions a wish for precision takes, and how many classes have fewer."""
    least, wish = fewest(cuts.wish), f"{cuts.task.name}: to show a precision of {cuts.wish.value:g}"
    few = sum(one.curves[split].predictions < (least or 0) for one in cuts.classes)
    if least is None:
        yield f"{wish} no number of right predictions is enough: wish for less, or take plain shares (--plain)"
    elif few:
        yield (f"{wish} with {100 * (cuts.wish.confidence or 0):g} % confidence takes {least} predictions, all right; "
               f"{few} of {len(cuts.classes)} classes have fewer in {split}")


def missing(given: Given, wish: Wish) -> str:
    """How far a cut falls behind the wish."""
    of = given.of(wish.goal)
    return f"{wish.goal} is {given.right / of:.4f} ({given.right} of {of}), not {wish.value:g},"


def report(dataset: str | None, whole: Ensemble, found: Sequence[Cuts], splits: Sequence[str]) -> dict[str, Any]:
    """What thresholds.json holds but for how members were made one. dataset: its digest, where it is sealed."""
    voices = {task: {one.source: [one.weight, one.temperature] for one in whole.voices[task]}
              for task in sorted(one.task.name for one in found)}
    return {"schema": 1, "kind": "thresholds", "dataset": dataset, "wish": asdict(found[0].wish),
            "members": {one.name: one.digest for one in whole.members}, "weights": voices, "fitted_on": splits[0],
            "checked_on": splits[1] if len(splits) > 1 else None,
            "tasks": {one.task.name: one.to_json() for one in found}}
