"""The page of images to label next, in their order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components.data.dataset import Dataset
from components.pages.rendering import rendered
from components.probabilities.pages import thumbnail
from components.probabilities.suggestions import Wish


@dataclass(frozen=True)
class Card:
    """One image to label. picture: a data URI; guesses: task, likeliest answer, its probability in words."""

    picture: str
    path: str
    split: str
    rank: int
    score: str
    guesses: list[tuple[str, str, str]]


def page(dataset: Dataset, chosen: pd.DataFrame, wish: Wish, most: int, notes: Sequence[str]) -> str:
    """The whole page as HTML. most: images shown, the first of the ranking."""
    shown = chosen.head(most).to_dict("records")
    return rendered(Path(__file__).with_name("suggestions.html"), {
        "cards": [card(dataset, row, wish) for row in shown], "count": len(chosen),
        "tasks": [task.name for task in wish.tasks], "by": wish.by, "notes": notes})


def card(dataset: Dataset, row: Mapping[Any, Any], wish: Wish) -> Card:
    """One image as the page shows it."""
    guesses = [(task.name, row[f"suggested.{task.name}"] or "none", f"{100 * row[f'probability.{task.name}']:.0f} %")
               for task in wish.tasks]
    return Card(thumbnail(dataset, row["row"]), row["path"], row["split"], row["rank"], f"{row[wish.by]:.3f}", guesses)
