"""The samples that models were surest about and wrong, each with what every model said of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.evaluation.metrics import HALF, Floats
from components.evaluation.scoring import Scores


@dataclass(frozen=True)
class Saying:
    """What one model said of a sample: a class, or all labels that it named, and how sure it was."""

    model: str
    label: str
    confidence: float
    wrong: bool


@dataclass(frozen=True)
class Mistake:
    """A sample of the Dataset that at least one model got wrong."""

    row: int
    path: str
    given: str
    sayings: tuple[Saying, ...]

    @property
    def suspicious(self) -> bool:
        """Whether several models agree on one other label, each surely: the given one may be at fault."""
        labels = {saying.label for saying in self.sayings}
        return len(self.sayings) > 1 and len(labels) == 1 and all(s.wrong and s.confidence >= 0.5 for s in self.sayings)


def surest_mistakes(scores: Scores, task: Task, most: int) -> list[Mistake]:
    """Up to `most` wrongly judged samples of the main split, the surest wrong word of any model first, then by id."""
    places, labels = scores.splits[scores.main], scores.labels(task)
    readings = [read(task, one.said[task.name][places], labels) for one in scores.judged]
    errors = np.where(labelled(labels), np.max([sure * wrong for _, sure, wrong in readings], axis=0), 0.0)
    ordered = np.argsort(-errors, kind="stable")[:most]  # rows lie in the order of ids
    return [_mistake(scores, task, readings, int(place)) for place in ordered if errors[place] > 0]


Reading = tuple[NDArray[Any], Floats, NDArray[np.bool_]]


def read(task: Task, said: Floats, labels: NDArray[Any]) -> Reading:
    """What was named (class, or bool by label), how sure that was, and whether it is wrong, each [n]."""
    if task.kind == "single":
        named = said.argmax(axis=1)
        return named, np.exp(said.max(axis=1)), named != labels
    names = said >= HALF
    sure = np.where(names, np.exp(said), -np.expm1(said))
    differs = names != (labels > 0.5)
    surest = np.where(differs.any(axis=1), np.where(differs, sure, 0.0).max(axis=1), sure.min(axis=1))
    return names, surest, differs.any(axis=1)


def _mistake(scores: Scores, task: Task, readings: list[Reading], place: int) -> Mistake:
    row = int(scores.rows[scores.splits[scores.main]][place])
    given = scores.labels(task)[place]
    sayings = [Saying(one.name, words(task, named[place]), float(sure[place]), bool(wrong[place]))
               for one, (named, sure, wrong) in zip(scores.judged, readings, strict=True)]
    given = given if task.kind == "single" else given > 0.5
    return Mistake(row, str(scores.dataset.samples["path"].iloc[row]), words(task, given), tuple(sayings))


def words(task: Task, named: Any) -> str:
    """The class that was named, or the labels."""
    if task.kind == "single":
        return task.classes[int(named)]
    return ", ".join(name for name, there in zip(task.classes, named, strict=True) if there) or "none"
