"""The page of a label audit: doubted labels with their images, by task and by what was taken for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components.data.dataset import Dataset
from components.pages.rendering import rendered
from components.probabilities.auditing import HELD_OUT, LEARNT
from components.probabilities.pages import thumbnail

PAIRS = 20
TITLES = {HELD_OUT: "Judged by models that had not learnt these labels",
          LEARNT: "Judged by models that had learnt these very labels"}


@dataclass(frozen=True)
class Card:
    """One doubted label. picture: a data URI; probabilities in percent, as words."""

    picture: str
    path: str
    split: str
    rank: int
    own: str
    other: str


@dataclass(frozen=True)
class Group:
    """The doubted labels of one pair: how many there are, and the first of them."""

    label: str
    given: str
    suggested: str
    count: int
    cards: list[Card]


def page(dataset: Dataset, findings: pd.DataFrame, summary: Mapping[str, Any], most: int,
         notes: Sequence[str]) -> str:
    """The whole page as HTML. most: samples shown of each task, held-out and learnt ones apart."""
    sections = [section(dataset, findings, name, judged, summary[name][judged], most)
                for name in summary for judged in TITLES if judged in summary[name]]
    return rendered(Path(__file__).with_name("audit.html"), {
        "sections": sections, "notes": notes, "samples": len(dataset), "doubted": findings["row"].nunique()})


def section(dataset: Dataset, findings: pd.DataFrame, name: str, judged: str, figures: Mapping[str, Any],
            most: int) -> dict[str, Any]:
    """What the page shows of one task on one side."""
    inside = findings[(findings["task"] == name) & (findings["judged"] == judged)]
    pairs = sorted(figures["pairs"], key=lambda one: (-one["estimated"], one.get("label", ""), one["given"]))
    return {"name": name, "judged": judged, "title": TITLES[judged], "figures": figures,
            "share": f"{100 * figures['estimated_share']:.1f}",
            "agreed": f"{100 * figures['agreed'] / figures['labels']:.0f}", "pairs": pairs[:PAIRS],
            "more_pairs": max(0, len(pairs) - PAIRS), "groups": groups(dataset, inside, most),
            "shown": min(most, len(inside))}


def groups(dataset: Dataset, inside: pd.DataFrame, most: int) -> list[Group]:
    """The first `most` findings by pair; pairs in the order of their first finding."""
    keys = ["label", "given", "suggested"]
    counts = inside.groupby(keys).size().to_dict()
    found = []
    for key, rows in inside.head(most).groupby(keys, sort=False):
        label, given, suggested = map(str, key)
        cards = [card(dataset, row) for row in rows.to_dict("records")]
        found.append(Group(label, given, suggested, counts[key], cards))
    return found


def card(dataset: Dataset, row: Mapping[Any, Any]) -> Card:
    """One finding as the page shows it."""
    return Card(thumbnail(dataset, row["row"]), row["path"], row["split"], row["rank"],
                f"{100 * row['probability']:.1f} %", f"{100 * row['suggested_probability']:.1f} %")
