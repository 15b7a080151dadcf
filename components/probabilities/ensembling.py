"""An ensemble of members: weighed, made one, measured, and written as a store and as a list of answers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from components.data.dataset import SPLITS, Dataset
from components.data.layouts.found import SEPARATOR
from components.data.tasks import Task
from components.errors import UserError, near
from components.evaluation.calibration import labelled
from components.evaluation.metrics import measure
from components.probabilities.members import Member
from components.probabilities.mixing import Voice
from components.probabilities.store import StoreWriter
from components.probabilities.voting import MEANS, By, Floats, answers, learnt, together
from components.storage import receipts
from components.storage.digests import value_digest

NAME = "ensemble"
MARK = re.compile(r"_[wW](\d+)(?=_|$)")  # a weight in the name of a file, as in deep_w3_.csv
OF_NAMES = ("accuracy", "balanced_accuracy", "f1_macro", "f1_micro", "subset_accuracy")  # figures without probabilities


@dataclass(frozen=True)
class Wish:
    """How members become one. weights: `equal`, `learn`, `names`, or those that are not 1 by member."""

    by: By
    weights: str | Mapping[str, float]
    partial: bool


@dataclass(frozen=True)
class Ensemble:
    """What members say together: by task, log-probabilities float64 [N, C] (NaN: nothing) and the voices."""

    members: tuple[Member, ...]
    said: dict[str, Floats]
    voices: dict[str, tuple[Voice, ...]]

    def of(self, task: str) -> list[Member]:
        """The members that speak of a task."""
        return [one for one in self.members if task in one.said]


def assembled(dataset: Dataset, members: Sequence[Member], wish: Wish, notes: list[str],
              tasks: Sequence[Task] = ()) -> Ensemble:
    """The ensemble of members, in the order of their names; UserError where they do not fit each other.

    tasks: those that count; all of the Dataset where none is given.
    """
    refuse_unknown(members, wish.weights)
    whole = Ensemble(tuple(members), {}, {})
    for task in tasks or dataset.tasks:
        heard = whole.of(task.name)
        if heard:
            refuse_bare(heard, wish.by)
            refuse_gaps(heard, task, wish.partial, notes)
            whole.voices[task.name] = weighed(dataset, heard, task, wish)
            whole.said[task.name] = together(wish.by, [one.said[task.name] for one in heard],
                                             [one.bare for one in heard], whole.voices[task.name], task)
    silent = [task.name for task in tasks or dataset.tasks if task.name not in whole.said]
    if silent:
        notes.append(f"no member speaks of {', '.join(silent)}")
    return whole


def refuse_unknown(members: Sequence[Member], weights: str | Mapping[str, float]) -> None:
    """UserError where a weight is given to nobody, or all are 0."""
    names = [one.name for one in members]
    for name in () if isinstance(weights, str) else weights:
        if name not in names:
            raise UserError(f"there is no member {name}.{near(name, names)}", f"expected some of {', '.join(names)}")
    if not isinstance(weights, str) and all(weights.get(name, 1.0) == 0 for name in names):
        raise UserError("every member has the weight 0", "give one of them more")


def refuse_bare(heard: Sequence[Member], by: By) -> None:
    """UserError where probabilities are to be averaged that a member does not have."""
    for one in heard:
        if one.bare and by in MEANS:
            raise UserError(f"{one.name} holds labels and no probabilities", "count votes: --by vote")


def refuse_gaps(heard: Sequence[Member], task: Task, partial: bool, notes: list[str]) -> None:
    """UserError where members speak of different samples, unless that is allowed: then a note."""
    spoken = np.stack([one.spoken(task.name) for one in heard])
    every = spoken.any(axis=0)
    for one, mine in zip(heard, spoken, strict=True):
        lacking = int((every & ~mine).sum())
        if lacking:
            said = f"{one.name} says nothing of {task.name} for {lacking} of {int(every.sum())} samples of others"
            if not partial:
                raise UserError(said, "complete it, or let the others speak alone there: --partial")
            notes.append(said)


def weighed(dataset: Dataset, heard: Sequence[Member], task: Task, wish: Wish) -> tuple[Voice, ...]:
    """The voices of those who speak of a task, all of one temperature unless learnt, their weights summing to 1."""
    if wish.weights == "learn":
        rows, labels = dataset.rows("val"), dataset.labels(task)
        known = rows[labelled(labels[rows]) & np.all([one.spoken(task.name)[rows] for one in heard], axis=0)]
        if not len(known):
            raise UserError(f"no labelled sample of {task.name} in val of which all members speak",
                            "give weights: --weights equal, or NAME=2")
        return learnt(wish.by, {one.name: one.said[task.name][known] for one in heard}, labels[known], task)
    weights = [weight_of(one.name, wish.weights) for one in heard]
    total = sum(weights)
    if total == 0:
        raise UserError(f"every member that speaks of {task.name} has the weight 0", "give one of them more")
    return tuple(Voice(one.name, weight / total) for one, weight in zip(heard, weights, strict=True))


def weight_of(name: str, weights: str | Mapping[str, float]) -> float:
    """What a member counts.

    >>> weight_of("deep_w3_", "names"), weight_of("deep", "names"), weight_of("deep", {"deep": 2.0})
    (3.0, 1.0, 2.0)
    """
    if isinstance(weights, str):
        found = MARK.search(name) if weights == "names" else None
        return float(found.group(1)) if found else 1.0
    return weights.get(name, 1.0)


def figures(dataset: Dataset, whole: Ensemble) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """What the ensemble and its members are worth, by name, split and task; of votes no figures of probabilities."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for task in (task for task in dataset.tasks if task.name in whole.said):
        every = [(NAME, whole.said[task.name], False),
                 *((one.name, one.said[task.name], one.bare) for one in whole.of(task.name))]
        labels = dataset.labels(task)
        for split in SPLITS:
            for name, said, bare in every:
                rows = dataset.rows(split)
                rows = rows[labelled(labels[rows]) & ~np.isnan(said[rows, 0])]
                if len(rows):
                    values = measure(np.maximum(said[rows], -745.0), labels[rows], task.kind).values
                    kept = {key: value for key, value in values.items() if not bare or key in OF_NAMES}
                    found.setdefault(name, {}).setdefault(split, {})[task.name] = kept
    return found


def covered(dataset: Dataset, whole: Ensemble) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The rows of which something is said for every task that is spoken of."""
    return np.flatnonzero(np.all([~np.isnan(said[:, 0]) for said in whole.said.values()], axis=0))


def write_ensemble(folder: Path, dataset: Dataset, whole: Ensemble, by: By) -> None:
    """Write the ensemble as a store of one source."""
    rows = covered(dataset, whole)
    tasks = [task for task in dataset.tasks if task.name in whole.said]
    made = {"by": by, "members": {one.name: one.digest for one in whole.members},
            "weights": {task: {one.source: [one.weight, one.temperature] for one in voices}
                        for task, voices in whole.voices.items()}}
    splits = {split: dataset.rows(split) for split in SPLITS}
    head = {"tasks": [task.to_json() for task in tasks], "sources": [NAME], "views": [0], "dtype": "float32", "seed": 0,
            "dataset": receipts.digest(dataset.path) if receipts.is_sealed(dataset.path) else None,
            "augmentation": None, "models": {NAME: value_digest(made)}, "ensemble": made,
            "coverage": {split: {"rows": len(np.intersect1d(own, rows)), "of": len(own)}
                         for split, own in splits.items()}}
    writer = StoreWriter(folder, head, dataset.ids[rows])
    for task in tasks:
        for shard in range(writer.shard_count()):
            writer.put(NAME, task.name, shard, whole.said[task.name][rows[writer.rows_of(shard)]][:, None])
    writer.finish()


def answer_lines(dataset: Dataset, whole: Ensemble, task: Task, numbers: bool) -> list[tuple[str, str]]:
    """An id and the named class of every sample, sorted by id.

    id: the name of its file up to the first dot where that is no other's, else its path.
    """
    rows = np.flatnonzero(~np.isnan(whole.said[task.name][:, 0]))
    paths = dataset.column("path").tolist()
    stems = [PurePosixPath(path).name.partition(".")[0] for path in paths]
    alone = once(stems)
    named = answers(whole.said[task.name][rows], task.kind)
    words = [str(place) for place in range(len(task.classes))] if numbers else list(task.classes)
    cells = [SEPARATOR.join(words[place] for place in np.flatnonzero(row)) for row in named]
    return sorted((stems[row] if stems[row] in alone else paths[row], cell)
                  for row, cell in zip(rows.tolist(), cells, strict=True))


def once(names: Sequence[str]) -> set[str]:
    """The names that stand there once."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return {name for name, count in seen.items() if count == 1}
