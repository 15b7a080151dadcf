"""Likely label errors of a Dataset, from what models say of it: found, ranked, counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from components.data.tasks import Task
from components.errors import UserError, near
from components.evaluation.calibration import labelled
from components.probabilities.confidence import Floats, Verdicts, confident_joint, estimated, flagged, judge
from components.probabilities.sayings import Rows, Sayings, means

HELD_OUT, LEARNT = "held_out", "learnt"
ABSENT, PRESENT = "absent", "present"
COLUMNS = ("row", "id", "path", "split", "judged", "task", "label", "given", "suggested", "probability",
           "suggested_probability", "margin", "score")


@dataclass(frozen=True)
class Part:
    """One question about some samples: a `single` task, or one label of a `multi` task.

    label: "" for a `single` task. judged: `learnt` where the sources were trained on these very labels. answers: names
    of the answers. rows: the Dataset's, labelled all, int64 [n].
    """

    task: Task
    label: str
    judged: str
    answers: tuple[str, ...]
    rows: Rows
    verdicts: Verdicts


def audit(sayings: Sayings, tasks: Sequence[str] = ()) -> list[Part]:
    """Judge every label of the named tasks, of all where none is named; UserError where no sample has a label."""
    chosen = chosen_tasks(sayings, tasks)
    parts = [part for task in chosen for judged, inside in sides(sayings, task) for part in judged_parts(
        sayings, task, judged, inside)]
    if not parts:
        names = ", ".join(task.name for task in chosen)
        raise UserError(f"no sample that {sayings.store.path} covers has a label of {names}", "name another task")
    return parts


def chosen_tasks(sayings: Sayings, names: Sequence[str]) -> list[Task]:
    """The named tasks of which the store speaks, in their own order, all where none is named; UserError for others."""
    known, spoken = ([task.name for task in tasks] for tasks in (sayings.dataset.tasks, sayings.tasks))
    for name in names:
        if name not in known:
            raise UserError(f"there is no task {name}.{near(name, known)}", f"expected one of {', '.join(spoken)}")
        if name not in spoken:
            raise UserError(f"{sayings.store.path} says nothing of {name}", f"name some of {', '.join(spoken)}")
    return [task for task in sayings.tasks if not names or task.name in names]


def sides(sayings: Sayings, task: Task) -> Iterator[tuple[str, Rows]]:
    """The labelled places, apart where the sources had learnt the labels: in-sample words are too sure of them."""
    known = labelled(sayings.dataset.labels(task)[sayings.rows])
    train = (sayings.dataset.samples["split"].to_numpy()[sayings.rows] == "train") & (not sayings.out_of_fold)
    for judged, inside in ((HELD_OUT, known & ~train), (LEARNT, known & train)):
        if inside.any():
            yield judged, np.flatnonzero(inside)


def judged_parts(sayings: Sayings, task: Task, judged: str, inside: Rows) -> Iterator[Part]:
    """The question of a `single` task, or that of each label of a `multi` task."""
    rows = sayings.rows[inside]
    given = sayings.dataset.labels(task)[rows]
    if task.kind == "single":
        verdicts = judge(partial(means, sayings, task, inside), given.astype(np.int64), len(task.classes))
        yield Part(task, "", judged, task.classes, rows, verdicts)
        return
    said = np.empty(given.shape)
    for block, values in means(sayings, task, inside):
        said[block] = values
    for place, label in enumerate(task.classes):
        verdicts = judge(partial(both_answers, said[:, place]), (given[:, place] > 0.5).astype(np.int64), 2)
        yield Part(task, label, judged, (ABSENT, PRESENT), rows, verdicts)


def both_answers(present: Floats) -> Iterator[tuple[slice, Floats]]:
    """The probabilities [n, 2] of a label's absence and presence, from that of its presence [n], as one block."""
    yield slice(0, len(present)), np.column_stack([1.0 - present, present])


def findings(sayings: Sayings, parts: Sequence[Part]) -> pd.DataFrame:
    """Every likely error, by task, held-out samples first, the likeliest error first, then by id; rank counts from 1.

    Columns: COLUMNS and rank; row is the Dataset's. Nothing in it depends on the order of samples.
    """
    tables = [doubted(sayings, part, place) for place, part in enumerate(parts)]
    table = pd.concat(tables, ignore_index=True)
    names = {task.name: place for place, task in enumerate(sayings.dataset.tasks)}
    keys = pd.DataFrame({"task": table["task"].map(names), "judged": table["judged"] == LEARNT,
                         "score": -table["score"], "id": table["id"], "path": table["path"], "part": table["part"]})
    table = table.loc[keys.sort_values(list(keys.columns), kind="stable").index, list(COLUMNS)].reset_index(drop=True)
    table["rank"] = table.groupby(["task", "judged"], sort=False).cumcount() + 1
    return table


def doubted(sayings: Sayings, part: Part, place: int) -> pd.DataFrame:
    """The likely errors of one question."""
    samples, said = sayings.dataset.samples, part.verdicts
    found = np.flatnonzero(flagged(said))
    rows = part.rows[found]
    answers = np.array(part.answers, dtype=object)
    return pd.DataFrame({
        "row": rows, "id": samples["id"].to_numpy()[rows], "path": samples["path"].to_numpy()[rows],
        "split": samples["split"].to_numpy()[rows], "judged": part.judged, "task": part.task.name,
        "label": part.label, "given": answers[said.given[found]], "suggested": answers[said.suggested[found]],
        "probability": said.own[found], "suggested_probability": said.other[found], "margin": said.margin[found],
        "score": said.score[found], "part": place,
    })


def summary(parts: Sequence[Part]) -> dict[str, Any]:
    """Counts, thresholds and the noise of each task, held-out and learnt samples apart, as JSON holds them.

    agreed: labels that no other answer is likelier than.
    """
    found: dict[str, Any] = {}
    for part in parts:
        side = found.setdefault(part.task.name, {"kind": part.task.kind}).setdefault(
            part.judged, {"labels": 0, "agreed": 0, "flagged": 0, "estimated_errors": 0.0, "thresholds": {},
                          "pairs": []})
        pairs = noise(part)
        side["labels"] += len(part.rows)
        side["agreed"] += int((part.verdicts.margin >= 0).sum())
        side["flagged"] += sum(one["flagged"] for one in pairs)
        side["estimated_errors"] += sum(one["estimated"] for one in pairs)
        side["pairs"] += pairs
        limits = {name: None if np.isnan(value) else round(float(value), 6)
                  for name, value in zip(part.answers, part.verdicts.thresholds, strict=True)}
        side["thresholds"] |= {part.label: limits} if part.label else limits
    for sides_of_task in found.values():
        for side in (sides_of_task[judged] for judged in (HELD_OUT, LEARNT) if judged in sides_of_task):
            side["estimated_errors"] = round(side["estimated_errors"], 3)
            side["estimated_share"] = round(side["estimated_errors"] / side["labels"], 6)
    return found


def noise(part: Part) -> list[dict[str, Any]]:
    """Given and other answers: how often the other is confident, how many labels are flagged, and estimated in all."""
    joint, said = confident_joint(part.verdicts), part.verdicts
    found = flagged(said)
    pairs = said.given[found] * len(part.answers) + said.suggested[found]
    marked = dict(zip(*(one.tolist() for one in np.unique(pairs, return_counts=True)), strict=True))
    label = {"label": part.label} if part.label else {}
    return [label | {"given": part.answers[given], "suggested": part.answers[other], "counted": count,
                     "flagged": marked.get(given * len(part.answers) + other, 0), "estimated": round(float(number), 3)}
            for (given, other, count), number in zip(joint.tolist(), estimated(said, joint), strict=True)
            if given != other]
