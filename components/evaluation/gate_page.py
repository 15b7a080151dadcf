"""The page of a verdict: one file that needs nothing but a browser, readable on a telephone, in light and dark."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation import columns
from components.evaluation.differences import signed, span
from components.evaluation.gate import ClassChange, TaskVerdict
from components.evaluation.gate_table import HEADLINES, headline
from components.evaluation.gating import Answer
from components.evaluation.mistakes import read, words
from components.evaluation.pairing import Pair
from components.evaluation.report import sample_image
from components.evaluation.resampling import Interval
from components.evaluation.weighted import answers
from components.pages.rendering import rendered

MOST_CLASSES, MOST_SAMPLES = 8, 6  # of each kind


@dataclass(frozen=True)
class Bar:
    """An interval as a picture: places from 0 to 100 on the scale that all intervals of the page share."""

    low: float
    middle: float
    high: float
    zero: float
    margin: float


@dataclass(frozen=True)
class Row:
    """A line of the table of tasks."""

    name: str
    metric: str
    champion: str
    challenger: str
    difference: str
    span: str
    bar: Bar
    won: str
    p: str
    verdict: str


@dataclass(frozen=True)
class Changed:
    """A sample that one of the models alone got right: its picture, what was given, and what each said how surely."""

    image: str
    path: str
    given: str
    champion: tuple[str, float]
    challenger: tuple[str, float]


def page(verdict: Mapping[str, Any], answer: Answer) -> str:
    """The page of a verdict. verdict: the content of verdict.json."""
    return rendered(Path(__file__).with_name("gate.html"), {
        "verdict": verdict, "headline": headline(verdict), "meaning": HEADLINES[verdict["verdict"]],
        "reasons": answer.judgement.reasons, "rule": verdict["rule"], "rows": list(rows(answer, verdict["rule"])),
        "tasks": [section(answer, one) for one in answer.pairs], "own": own(verdict),
    })


def own(verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What decides, of the challenger alone, by task."""
    return [(name, f"{value:.3f}") for name, value in verdict["challenger"].items()]


def rows(answer: Answer, rule: Mapping[str, Any]) -> Iterator[Row]:
    """A line for every task, and one for their mean where there are several."""
    found = answer.judgement.comparison
    if found is None:
        return
    every = [found.interval, *(one.interval for one in found.tasks.values())]
    reach = 1.05 * max(rule["margin"], 1e-9, *(max(abs(one.low), abs(one.high)) for one in every))
    for name, one in found.tasks.items():
        yield Row(name, columns.title(one.metric), f"{one.champion:.3f}", f"{one.challenger:.3f}",
                  signed(one.interval.difference, one.metric), span(one.interval.low, one.interval.high, one.metric),
                  bar(one.interval, reach, rule["margin"]), f"{one.won} : {one.lost}", chance(one), one.verdict)
    if len(found.tasks) > 1:
        mean, metric = found.interval, rule["metric"]
        told = signed(mean.difference, metric), span(mean.low, mean.high, metric), bar(mean, reach, rule["margin"])
        yield Row("mean", columns.title(metric), "", "", *told, "", shown_p(mean.p), found.verdict)


def bar(found: Interval, reach: float, margin: float) -> Bar:
    """An interval on a scale from -reach to reach.

    >>> bar(Interval(0.0, -0.5, 0.5, 1.0), 1.0, 0.1)
    Bar(low=25.0, middle=50.0, high=75.0, zero=50.0, margin=45.0)
    """
    places = [round(50 + 50 * value / reach, 2) for value in (found.low, found.difference, found.high, 0.0, -margin)]
    return Bar(places[0], places[1], places[2], places[3], places[4])


def chance(one: TaskVerdict) -> str:
    """How probable such a difference is by chance: exactly where right and wrong samples decide."""
    exact = one.metric in ("accuracy", "subset_accuracy")
    return shown_p(one.p_mcnemar if exact else one.interval.p)


def shown_p(value: float) -> str:
    """A probability as the table shows it.

    >>> shown_p(0.0004), shown_p(0.25)
    ('< 0.001', '0.250')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def section(answer: Answer, one: Pair) -> dict[str, Any]:
    """All that the page shows of one task."""
    comparison = answer.judgement.comparison
    assert comparison is not None, "pairs are there where a comparison is"
    found = comparison.tasks[one.task.name]
    moved = [change for change in found.classes if change.champion != change.challenger]
    lost, won = (sorted((change for change in moved if (change.challenger < change.champion) == worse), key=size)
                 for worse in (True, False))
    return {"name": one.task.name, "found": found, "figures": figures(found),
            "classes": {"lost": lost[:MOST_CLASSES], "gained": won[:MOST_CLASSES]},
            "samples": {"lost": changed(answer, one, lost=True), "gained": changed(answer, one, lost=False)}}


def size(change: ClassChange) -> tuple[float, str]:
    """The order of classes: the greatest change first."""
    return -abs(change.challenger - change.champion), change.name


def figures(found: TaskVerdict) -> list[tuple[str, str, str]]:
    """Every figure of both models."""
    return [(columns.title(name), columns.written(name, one), columns.written(name, other))
            for name, (one, other) in found.figures.items()]


def changed(answer: Answer, one: Pair, lost: bool) -> list[Changed]:
    """The samples that the champion alone (lost), or the challenger alone, got right; the greatest change first."""
    before, after = (answers(side, one.labels, one.task.kind) for side in (one.champion, one.challenger))
    flipped = (before.right & ~after.right) if lost else (after.right & ~before.right)
    gained = after.losses - before.losses if lost else before.losses - after.losses
    order = np.argsort(-np.where(flipped, gained, -np.inf), kind="stable")[: min(MOST_SAMPLES, int(flipped.sum()))]
    return [shown(answer, one, int(place)) for place in order]


def shown(answer: Answer, one: Pair, place: int) -> Changed:
    """One sample as the page shows it."""
    labels = one.labels[place : place + 1]
    given = labels[0] if one.task.kind == "single" else labels[0] > 0.5
    sayings = []
    for side in (one.champion, one.challenger):
        named, sure, _ = read(one.task, side[place : place + 1], labels)
        sayings.append((words(one.task, named[0]), float(sure[0])))
    row = int(one.rows[place])
    path = str(answer.dataset.column("path").iloc[row])
    return Changed(sample_image(answer.dataset, row), path, words(one.task, given), sayings[0], sayings[1])
