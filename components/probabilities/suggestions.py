"""Which images to label next: those that models are unsure of, and that differ from each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError
from components.evaluation.calibration import labelled
from components.probabilities.sayings import BLOCK, Floats, Rows, Sayings, mean, members
from components.probabilities.uncertainty import uncertainty

POOL = 10  # diversity is sought among this many times the wanted count of the most uncertain samples

Measure = Literal["entropy", "margin", "disagreement"]
MEASURES: tuple[Measure, ...] = ("entropy", "margin", "disagreement")


@dataclass(frozen=True)
class Wish:
    """What to look for.

    tasks: whose labels are wanted. split: only samples of it, "" for any. labelled: samples that have their labels too.
    diversity: power of the distance in the choice; 0 ranks by uncertainty alone.
    """

    tasks: tuple[Task, ...]
    count: int
    by: Measure = "entropy"
    split: str = ""
    labelled: bool = False
    diversity: float = 1.0


def candidates(sayings: Sayings, wish: Wish) -> pd.DataFrame:
    """The most uncertain samples, at most 10 times the wanted count, one of each cluster of near-equal pictures.

    Columns: place (in `sayings.rows`), id, entropy, margin, disagreement (means over the tasks that a sample has no
    label of), in falling order of the wish's measure, then of id. UserError where no sample is wanted.
    """
    wanted = open_questions(sayings, wish)
    inside = np.flatnonzero(wanted.any(axis=1))
    if not len(inside):
        raise UserError(nothing(wish), "add images without labels to the data (empty cells in labels.csv), run index "
                        "and teach again; or rank labelled samples too with --labelled")
    table = pd.DataFrame(scores(sayings, wish.tasks, inside, wanted[inside]))
    table["place"], table["id"] = inside, sayings.dataset.samples["id"].to_numpy()[sayings.rows[inside]]
    table = table.iloc[np.lexsort((table["id"], -table[wish.by]))]
    first = ~clusters(sayings.dataset, sayings.rows[table["place"]]).duplicated().to_numpy()
    return table[first].head(POOL * wish.count).reset_index(drop=True)


def open_questions(sayings: Sayings, wish: Wish) -> NDArray[np.bool_]:
    """Which tasks of the wish each covered sample is a candidate for, bool [n, tasks]."""
    columns = [wish.labelled | ~labelled(sayings.dataset.labels(task)[sayings.rows]) for task in wish.tasks]
    splits = sayings.dataset.samples["split"].to_numpy()[sayings.rows]
    inside = (splits == wish.split) if wish.split else np.ones(len(splits), bool)
    wanted: NDArray[np.bool_] = np.column_stack(columns) & inside[:, None]
    return wanted


def nothing(wish: Wish) -> str:
    """The words for an empty choice."""
    where = f" in {wish.split}" if wish.split else ""
    lacks = "is covered by the store" if wish.labelled else f"lacks a label of {', '.join(t.name for t in wish.tasks)}"
    return f"no sample{where} {lacks}"


def scores(sayings: Sayings, tasks: Sequence[Task], inside: Rows, wanted: NDArray[np.bool_]) -> dict[str, Floats]:
    """Every measure of some places, each [n]: the mean over the tasks that are wanted of it, bool [n, tasks]."""
    found: dict[str, Floats] = {name: np.zeros(len(inside)) for name in MEASURES}
    for start in range(0, len(inside), BLOCK):
        block = slice(start, start + BLOCK)
        for column, task in enumerate(tasks):
            asked = np.flatnonzero(wanted[block, column])
            if len(asked):
                said = uncertainty(members(sayings, task, inside[block][asked]), task.kind)
                for name, values in said.items():
                    found[name][start + asked] += values
    number = wanted.sum(axis=1)
    return {name: values / number for name, values in found.items()}


def clusters(dataset: Dataset, rows: Rows) -> pd.Series:
    """What picture each row shows: its cluster of near-equal ones, or itself by content."""
    ids = pd.Series(dataset.samples["id"].to_numpy()[rows])
    if "cluster" not in dataset.samples:
        return ids
    known = pd.Series(dataset.samples["cluster"].to_numpy()[rows])
    return known.where(known.notna(), ids)


def spoken(sayings: Sayings, tasks: Sequence[Task], places: Rows) -> Floats:
    """Where samples stand by what is said of them: roots of the probabilities of all tasks side by side, [n, D].

    Between roots the distance is Hellinger's, up to a constant.
    """
    parts = []
    for task in tasks:
        values = mean(sayings, task, places)
        parts += [np.sqrt(values)] + ([np.sqrt(1.0 - values)] if task.kind == "multi" else [])
    return np.concatenate(parts, axis=1)


def farthest_first(vectors: Floats, weights: Floats, count: int, power: float) -> tuple[Rows, Floats]:
    """Choose rows one by one: the heaviest, then that of the largest weight * distance to the nearest chosen ** power.

    The greedy k-center of Sener and Savarese 2018 (https://arxiv.org/abs/1708.00489), weighted. Of equals the first is
    taken. vectors: [n, D]; weights: [n], at least 0. Returns the chosen rows in order, and the distance of each to
    those before it (infinite for the first), each [min(count, n)]. Time is n * D * count.
    """
    count = min(count, len(vectors))
    chosen, apart = np.empty(count, np.int64), np.full(count, np.inf)
    nearest, free = np.full(len(vectors), np.inf), np.ones(len(vectors), bool)
    for turn in range(count):
        worth = weights * nearest ** (power / 2) if turn else weights
        chosen[turn] = pick = int(np.where(free, worth, -1.0).argmax())
        apart[turn], free[pick] = nearest[pick], False
        nearest = np.minimum(nearest, ((vectors - vectors[pick]) ** 2).sum(axis=1))  # squares: equal ones stay equal
    return chosen, np.sqrt(apart)


def suggestions(sayings: Sayings, wish: Wish, found: pd.DataFrame, vectors: Floats) -> pd.DataFrame:
    """The chosen candidates in order, with what is said of them.

    vectors: where each candidate stands, [n, D]. Adds row, path, split, distance, rank from 1, and for each task
    `suggested.TASK` and `probability.TASK`.
    """
    order, apart = farthest_first(vectors, found[wish.by].to_numpy(), wish.count, wish.diversity)
    table = found.iloc[order].reset_index(drop=True)
    rows = sayings.rows[table["place"]]
    table["row"], table["distance"], table["rank"] = rows, apart, np.arange(1, len(table) + 1)
    for name in ("path", "split"):
        table[name] = sayings.dataset.samples[name].to_numpy()[rows]
    for task in wish.tasks:
        values = mean(sayings, task, table["place"].to_numpy())
        table[f"suggested.{task.name}"], table[f"probability.{task.name}"] = guess(values, task)
    return table


def guess(values: Floats, task: Task) -> tuple[list[str], Floats]:
    """The likeliest answer of each row of probabilities [n, C], and its probability (of its least sure label), [n]."""
    if task.kind == "single":
        return [task.classes[index] for index in values.argmax(axis=1)], np.asarray(values.max(axis=1))
    named = [[name for name, value in zip(task.classes, row, strict=True) if value >= 0.5] for row in values]
    return ["|".join(names) for names in named], np.asarray(np.maximum(values, 1.0 - values).min(axis=1))
