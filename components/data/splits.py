"""Every sample gets a split: given ones stay, groups are never torn, leaks are counted and mended on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.dataset import SPLITS
from components.data.files import listed
from components.data.groups import Groups, Numbers, grouped, links_of
from components.data.leaks import leaking, leaks, repaired, told, torn
from components.data.split_settings import Split
from components.data.stratifying import NONE, label_counts, stratified
from components.data.tasks import Task
from components.errors import UserError

DRAWN_FIRST = ("test", "val", "train")  # so that another share of val moves nothing in or out of test
NAMES = np.array([*SPLITS, ""], object)  # NONE is the last


@dataclass(frozen=True)
class Division:
    """What was decided about splits: for dataset.json, for metrics.json, and in words."""

    head: dict[str, Any]
    figures: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """Rows to be divided. given: number of each row's split, or NONE, int64 [N]."""

    rows: pd.DataFrame
    tasks: Sequence[Task]
    settings: Split
    groups: Groups
    given: Numbers


def divided(kept: pd.DataFrame, tasks: Sequence[Task], settings: Split) -> tuple[pd.DataFrame, Division]:
    """The rows of a manifest with a split each, and what was decided.

    kept: path, sha256, split ("" = none yet), one text column a task, the columns of groups, cluster where near
    duplicates are known. The result depends on the set of rows alone, not on their order. Raises UserError where a
    split ends without an image.
    """
    rows = kept.reset_index(drop=True)
    links = links_of(rows, settings.groups, settings.near_duplicates)
    groups = grouped(links)
    given = numbers_of(rows["split"])
    question = Question(rows, tasks, settings, groups, given)
    mended = mend(question)
    placed = mended if settings.repair else given
    followed = follow(groups.of, placed)
    fractions = list(settings.fractions.model_dump().values())
    drawn = draw(question, followed, fractions)
    final, filled = fill(question, drawn, fractions)
    refuse_empty(final, groups, settings)
    names = NAMES[final]
    found = leaks(links, NAMES[given])
    moves = int((mended != given).sum())
    notes = [*([] if settings.repair else told(found, moves)), *notes_on(question, final, filled, moves)]
    facts = {"filled": filled, "given": [one.to_json() for one in found],
             "stored": [one.to_json() for one in leaks(links, names)],
             "groups": {name: int(link.nunique()) for name, link in links.items()},
             "repair": {"done": settings.repair, "moves": moves,
                        "torn": int(torn(groups.of, given, len(groups)).sum())}}
    return rows.assign(split=names), Division(head_of(question, final) | facts, figures(question, final), tuple(notes))


def head_of(question: Question, final: Numbers) -> dict[str, Any]:
    """What dataset.json says of the settings and of what they led to."""
    settings, groups, given = question.settings, question.groups, question.given
    return {
        "method": settings.method, "seed": settings.seed, "fractions": settings.fractions.model_dump(),
        "joined": groups.joined,
        "assigned": {name: int(((given == NONE) & (final == place)).sum()) for place, name in enumerate(SPLITS)},
        "deviation": deviations(question.rows, question.tasks, final),
    }


def figures(question: Question, final: Numbers) -> dict[str, int]:
    """What metrics.json says: samples that leak, as given and as stored; that got a split; that lost theirs."""
    given = question.given
    states = {"given": NAMES[given], "stored": NAMES[final]}
    counts = {f"leaking.{name}.{state}": count for state, split in states.items()
              for name, count in leaking(question.groups.of, split).items()}
    return counts | {"assigned": int((given == NONE).sum()), "moved": int(((given != NONE) & (given != final)).sum())}


def numbers_of(splits: pd.Series) -> Numbers:
    """The number of each row's split, NONE where it has none, int64 [N]."""
    place = {name: number for number, name in enumerate(SPLITS)}
    return splits.map(place).fillna(NONE).to_numpy().astype(np.int64)


def ranked(groups: Groups, settings: Split) -> Numbers:
    """The groups as chance ranks them: by their words, then by name, int64 [G]."""
    return np.argsort(groups.words(settings.seed), kind="stable").astype(np.int64)


def mend(question: Question) -> Numbers:
    """The given splits without leaks, int64 [N]."""
    groups, given, has = question.groups, question.given, question.given != NONE
    if not torn(groups.of, given, len(groups)).any():
        return given
    pieces = groups.of[has] * len(SPLITS) + given[has]
    counts = label_counts(question.rows[has], question.tasks, pieces, len(groups) * len(SPLITS))
    return repaired(groups.of, given, counts, ranked(groups, question.settings))


def follow(of: Numbers, split: Numbers) -> Numbers:
    """Rows without a split follow their group: to train where it has any sample there, else val, else test."""
    first = np.full(int(of.max(initial=-1)) + 1, len(SPLITS), np.int64)
    placed = split != NONE
    np.minimum.at(first, of[placed], split[placed])
    theirs = np.where(first < len(SPLITS), first, NONE)
    return np.where(placed, split, theirs[of])


def draw(question: Question, split: Numbers, fractions: Sequence[float]) -> Numbers:
    """Every row that still has none gets a split with its group, int64 [N]."""
    groups, settings = question.groups, question.settings
    free = np.ones(len(groups), bool)
    free[groups.of[split != NONE]] = False
    if not free.any():
        return split
    if settings.method == "stable":
        theirs = stable(groups.words(settings.seed), fractions)
        return np.where(free[groups.of], theirs[groups.of], split)
    # A group that given splits tear apart is counted where each of its pieces is.
    pieces = groups.of * len(SPLITS) + np.maximum(split, 0)
    fixed = np.where(np.repeat(free, len(SPLITS)), NONE, np.tile(np.arange(len(SPLITS)), len(groups)))
    counts = label_counts(question.rows, question.tasks, pieces, len(fixed))
    order = ranked(groups, settings)
    spread = (order[:, None] * len(SPLITS) + np.arange(len(SPLITS))).ravel()
    return stratified(counts, fixed, fractions, spread)[pieces]


def stable(words: NDArray[np.uint64], fractions: Sequence[float]) -> Numbers:
    """The split of each group by its words alone, int64 [G]; the fractions are those of SPLITS."""
    share = dict(zip(SPLITS, fractions, strict=True))
    bounds = np.cumsum([share[name] for name in DRAWN_FIRST[:-1]])
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    order = np.array([SPLITS.index(name) for name in DRAWN_FIRST])
    return order[np.searchsorted(bounds, uniform, side="right")].astype(np.int64)


def fill(question: Question, split: Numbers, fractions: Sequence[float]) -> tuple[Numbers, list[str]]:
    """Splits that nobody gave and no row was left for are carved out of the groups that lie in train as wholes."""
    given = question.given
    empty = [place for place, fraction in enumerate(fractions) if fraction > 0 and not (split == place).any()]
    if not empty or (given == NONE).any():
        return split, []
    outside = np.zeros(len(question.groups), bool)
    outside[question.groups.of[split != 0]] = True
    loose = np.where(outside[question.groups.of], split, NONE)
    open_to = [fraction if place in (0, *empty) else 0.0 for place, fraction in enumerate(fractions)]
    carved = draw(question, loose, [fraction / sum(open_to) for fraction in open_to])
    return carved, [SPLITS[place] for place in empty]


def refuse_empty(split: Numbers, groups: Groups, settings: Split) -> None:
    """UserError where a split has no image."""
    for place, name in enumerate(SPLITS):
        if not (split == place).any():
            if settings.fractions.model_dump()[name] == 0:
                raise UserError(f"split {name} has no image, and index.split.fractions.{name} is 0",
                                f"give some images the split {name}, or raise the fraction")
            raise UserError(f"no image came into split {name}: the images form {len(groups)} groups only",
                            "set index.split.method: stratified, or give the splits in the data")


def deviations(rows: pd.DataFrame, tasks: Sequence[Task], split: Numbers) -> dict[str, dict[str, float]]:
    """By task and split: how far the share of a class in the split is from its share in all, at most."""
    found: dict[str, dict[str, float]] = {}
    for task in tasks:
        table = class_table(rows, task, split)
        shares = table / np.maximum(1, table.sum(axis=1, keepdims=True))
        whole = table.sum(axis=0) / max(1, table.sum())
        found[task.name] = {name: round(float(np.abs(shares[place] - whole).max()), 6)
                            for place, name in enumerate(SPLITS)}
    return found


def class_table(rows: pd.DataFrame, task: Task, split: Numbers) -> Numbers:
    """How many images of each class each split has, int64 [splits, classes]."""
    counts = label_counts(rows, [task], split, len(SPLITS))
    return counts.by_split(np.arange(len(SPLITS)), len(SPLITS))[:, 1:]


def notes_on(question: Question, split: Numbers, filled: Sequence[str], moves: int) -> list[str]:
    """What a user should know of the splits as they are stored."""
    settings, groups, given = question.settings, question.groups, question.given
    notes: list[str] = []
    if filled:
        notes.append(f"{' and '.join(filled)} had no image and got {int((split != given).sum())} of train's "
                     f"({settings.method}); give the splits in the data to choose others")
    if settings.repair and moves:
        notes.append(f"{moves} images were moved to another split so that none leaks")
    if groups.joined and settings.method == "stable" and (given == NONE).any():
        notes.append(f"{groups.joined} groups hold several values of one column, joined by near duplicates or by "
                     "another column; an image that joins two of them later moves one")
    return notes + (gaps(question, split) if (split != given).any() else [])  # of given splits, `validate` has told


def gaps(question: Question, split: Numbers) -> list[str]:
    """Classes of which a split has no image."""
    even = "; index.split.method: stratified shares classes out evenly"
    remedy = even if question.settings.method == "stable" else ""
    notes = []
    for task in question.tasks:
        table = class_table(question.rows, task, split)
        for place, name in enumerate(SPLITS):
            lost = [one for one, number in zip(task.classes, table[place], strict=True) if not number]
            if lost:
                notes.append(f"{name} has no image of {len(lost)} of {len(task.classes)} classes of {task.name} "
                             f"({listed(lost)}){remedy}")
    return notes
