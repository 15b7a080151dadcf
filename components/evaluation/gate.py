"""Whether a new model may take the place of the one that serves: a verdict, with its reasons.

Differences are signed so that more is better for the challenger. A task is `better` where the interval of the
difference lies above 0, `equal` where it lies above minus the margin (non-inferior), `worse` where it lies below 0, and
`unsure` where the samples are too few to tell.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.evaluation.gate_settings import Rule
from components.evaluation.metrics import Floats, measure
from components.evaluation.pairing import Pair
from components.evaluation.resampling import Interval, at_most, interval, mcnemar, weights
from components.evaluation.weighted import Answers, answers, figure_name, figures

Word = Literal["better", "equal", "worse", "unsure"]
SCHEMA = 1


@dataclass(frozen=True)
class ClassChange:
    """The recall of a class by either model. p: how probable such a loss, or a greater one, is by chance."""

    name: str
    support: int
    champion: float
    challenger: float
    p: float


@dataclass(frozen=True)
class TaskVerdict:
    """Both models on one task.

    metric: the figure that decided. figures: (champion, challenger) by name. won, lost: samples that the challenger
    alone, or the champion alone, got right; p_mcnemar of these. known: samples of classes that the champion knows, and
    what decides measured on them alone.
    """

    metric: str
    samples: int
    verdict: Word
    champion: float
    challenger: float
    interval: Interval
    won: int
    lost: int
    p_mcnemar: float
    figures: dict[str, tuple[float, float]]
    classes: tuple[ClassChange, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    known: tuple[int, float, float] | None


@dataclass(frozen=True)
class Comparison:
    """All tasks that both models know, and the mean over them."""

    tasks: dict[str, TaskVerdict]
    verdict: Word
    interval: Interval


def compare(pairs: list[Pair], units: NDArray[np.uint8], rule: Rule, seed: int) -> Comparison:
    """Hold the models against each other, task by task and in the mean of the tasks.

    units: what is resampled, uint8 [n, 32] for all samples that were judged.
    """
    said = {one.task.name: [answers(side, one.labels, one.task.kind) for side in (one.champion, one.challenger)]
            for one in pairs}
    points: dict[str, float] = {}
    drawn: dict[str, list[Floats]] = {name: [] for name in said}
    for one in pairs:
        points[one.task.name] = float(gain(rule, one, said[one.task.name], np.ones((1, len(one.rows))))[0])
    for block in weights(seed, units, rule.resamples):
        for one in pairs:
            drawn[one.task.name].append(gain(rule, one, said[one.task.name], block[:, one.places]))
    every = {name: np.concatenate(blocks) for name, blocks in drawn.items()}
    tasks = {one.task.name: task_verdict(one, said[one.task.name], rule, interval(
        points[one.task.name], every[one.task.name], rule.confidence)) for one in pairs}
    mean = interval(math.fsum(points.values()) / len(points), np.mean(list(every.values()), axis=0), rule.confidence)
    return Comparison(tasks, word(mean, rule.margin), mean)


def gain(rule: Rule, one: Pair, said: list[Answers], block: Floats) -> Floats:
    """By how much the challenger is better under every weighting [B, n], [B]."""
    name = figure_name(rule.metric, one.task.kind)
    champion, challenger = (figures(name, side, block) for side in said)
    return champion - challenger if name == "log_loss" else challenger - champion


def word(found: Interval, margin: float) -> Word:
    """What an interval says.

    >>> [word(Interval(0.0, low, high, 1.0), 0.01) for low, high in ((0.1, 0.2), (-0.005, 0.2), (-0.2, -0.1), (-1, 1))]
    ['better', 'equal', 'worse', 'unsure']
    """
    if found.low > 0:
        return "better"
    if found.low >= -margin:
        return "equal"
    return "worse" if found.high < 0 else "unsure"


def task_verdict(one: Pair, said: list[Answers], rule: Rule, found: Interval) -> TaskVerdict:
    """All that is told of one task."""
    champion, challenger = (measure(side, one.labels, one.task.kind).values for side in (one.champion, one.challenger))
    won, lost = int((said[1].right & ~said[0].right).sum()), int((said[0].right & ~said[1].right).sum())
    name = figure_name(rule.metric, one.task.kind)
    return TaskVerdict(
        name, len(one.rows), word(found, rule.margin), champion[name], challenger[name], found, won, lost,
        mcnemar(won, lost), {key: (champion[key], challenger[key]) for key in champion},
        tuple(class_changes(one, said)), one.new, one.gone, on_known(one, said, name))


def on_known(one: Pair, said: list[Answers], name: str) -> tuple[int, float, float] | None:
    """What decides, on samples of classes that the champion knows; None where these are all, or none."""
    count = int(one.known.sum())
    if not 0 < count < len(one.known):
        return None
    champion, challenger = (float(figures(name, side, one.known[None].astype(np.float64))[0]) for side in said)
    return count, champion, challenger


def class_changes(one: Pair, said: list[Answers]) -> Iterator[ClassChange]:
    """The recall of every class that a sample bears and the champion knows."""
    for place, name in enumerate(one.task.classes):
        bears = said[0].truth == place if one.task.kind == "single" else said[0].truth[:, place]
        if name in one.new or not bears.any():
            continue
        hits = [side.named[bears] == place if one.task.kind == "single" else side.named[bears, place] for side in said]
        won, lost = int((hits[1] & ~hits[0]).sum()), int((hits[0] & ~hits[1]).sum())
        yield ClassChange(name, int(bears.sum()), float(hits[0].mean()), float(hits[1].mean()),
                          at_most(won, won + lost) if lost > won else 1.0)


def to_json(found: Comparison) -> dict[str, Any]:
    """A comparison as verdict.json holds it."""
    return {"mean": asdict(found.interval) | {"verdict": found.verdict},
            "tasks": {name: asdict(one) for name, one in found.tasks.items()}}
