"""The page that shows what changed between two Datasets: one file that needs nothing else, readable on a phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from components.data.comparing import Comparison, Finding
from components.data.dataset import SPLITS
from components.data.drift import VERDICTS
from components.data.statistics import EDGES, histograms_of
from components.pages.rendering import rendered

SHOWN_CLASSES = 60


@dataclass(frozen=True)
class Bar:
    """Shares of the old and the new set in one cell, in percent, and as widths or heights of the largest."""

    name: str
    old: float
    new: float
    counts: tuple[int, int]
    scale: float


def page(found: Comparison) -> str:
    """The whole page as HTML."""
    return rendered(Path(__file__).with_name("comparing.html"), {
        "found": found, "counts": found.counts,
        "sizes": [sum(side.head["splits"].values()) for side in (found.old, found.new)],
        "findings": sorted(found.findings, key=lambda one: -VERDICTS.index(one.verdict)),
        "splits": [(name, *(side.head["splits"].get(name, 0) for side in (found.old, found.new))) for name in SPLITS],
        "classes": class_charts(found), "measures": measure_charts(found), "most": SHOWN_CLASSES})


def bars(names: Sequence[str], old: Sequence[int], new: Sequence[int]) -> list[Bar]:
    """One bar a cell."""
    totals = [max(1, sum(counts)) for counts in (old, new)]
    shares = [(100 * one / totals[0], 100 * two / totals[1]) for one, two in zip(old, new, strict=True)]
    largest = max((max(pair) for pair in shares), default=0.0) or 1.0
    return [Bar(name, *pair, counts, 100 / largest) for name, pair, counts
            in zip(names, shares, zip(old, new, strict=True), strict=True)]


def verdict_of(found: Comparison, kind: str, what: str) -> Finding | None:
    """The finding about a thing, where there is one."""
    return next((one for one in found.findings if (one.kind, one.what) == (kind, what)), None)


def class_charts(found: Comparison) -> list[dict[str, Any]]:
    """Shares of the classes of every task both have, by split."""
    charts = []
    for task in found.new.tasks:
        for split in SPLITS if task.name in found.old.head["counts"] else ():
            before, after = (side.head["counts"][task.name][split] for side in (found.old, found.new))
            names = [*task.classes, *(name for name in before if name not in task.classes)]
            drawn = bars(names, *([counts.get(name, 0) for name in names] for counts in (before, after)))
            charts.append({"task": task.name, "split": split, "total": len(drawn),
                           "bars": sorted(drawn, key=lambda bar: -abs(bar.old - bar.new))[:SHOWN_CLASSES],
                           "finding": verdict_of(found, "class shares", f"{task.name} in {split}")})
    return charts


def measure_charts(found: Comparison) -> list[dict[str, Any]]:
    """Histograms of every measure that both have: of the split that changed most, or of all where none did."""
    before, after = (histograms_of(side.head) for side in (found.old, found.new))
    charts = []
    for name in [name for name in EDGES if name in before and name in after]:
        about = {split: verdict_of(found, "measures", f"{name} in {split}") for split in SPLITS}
        known = [(VERDICTS.index(one.verdict), one.figure or 0.0, split) for split, one in about.items() if one]
        worst, _, split = max(known)
        counts = [side[name][split] if worst else added(side[name]) for side in (before, after)]
        if all(map(any, counts)):
            edges = [f"{edge:g}" for edge in EDGES[name]]
            charts.append({"name": name.replace("_", " ") + (f" in {split}" if worst else ""), "low": edges[0],
                           "bars": bars(cells(edges), *counts), "high": edges[-1], "verdict": VERDICTS[worst]})
    return charts


def cells(edges: Sequence[str]) -> list[str]:
    """What each cell of a histogram holds, in words."""
    return [f"under {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges)), f"{edges[-1]} and more"]


def added(by_split: Mapping[str, Sequence[int]]) -> list[int]:
    """The histogram of all splits together."""
    return [sum(cell) for cell in zip(*by_split.values(), strict=True)]
