"""Two Datasets held against each other: what changed, and whether it matters."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components.data.class_changes import Change, changes, words
from components.data.dataset import SPLITS
from components.data.drift import PICTURES, PSI, VERDICTS, Distance, Verdict, pictures_apart, stability
from components.data.statistics import histograms_of, spreads_of
from components.data.tasks import Task, read_tasks
from components.errors import UserError

# Shares of the samples: from where on it is minor, and major.
SHARES = {"removed": (0.1, 0.25), "relabelled": (0.01, 0.05), "seen": (0.0, 0.05)}


@dataclass(frozen=True)
class Side:
    """One of the two: its head, and its samples where they are there."""

    name: str
    head: dict[str, Any]
    samples: pd.DataFrame | None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in order."""
        return read_tasks(self.head["tasks"])


@dataclass(frozen=True)
class Finding:
    """One thing that was compared. figure: how far apart; chance: how far without any change; None where unknown."""

    kind: str
    what: str
    verdict: Verdict
    reason: str
    figure: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What changed between two Datasets. counts: of samples, None where their tables are not there."""

    old: Side
    new: Side
    counts: dict[str, Any] | None
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return max((one.verdict for one in self.findings), key=VERDICTS.index, default="none")

    def to_json(self) -> dict[str, Any]:
        """The whole as JSON would hold it."""
        return {
            "schema": 1, "kind": "comparison", "old": self.old.name, "new": self.new.name, "verdict": self.verdict,
            "splits": {side: head["splits"] for side, head in (("old", self.old.head), ("new", self.new.head))},
            "samples": self.counts, "changes": [one.to_json() for one in self.changes],
            "findings": [asdict(one) for one in self.findings],
        }


def opened(path: Path) -> Side:
    """A Dataset folder, or the dataset.json of one; UserError where it is neither."""
    file = path / "dataset.json" if path.is_dir() else path
    remedy = "name a folder that `index` wrote (data/dataset), or the dataset.json of one"
    try:
        head = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", remedy) from None
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}", remedy) from None
    if not isinstance(head, dict) or head.get("kind") != "dataset" or not {"tasks", "splits", "counts"} <= head.keys():
        raise UserError(f"{file} is not the head of a Dataset", remedy)
    table = file.parent / "samples.parquet"
    return Side(str(path), head, pd.read_parquet(table) if table.is_file() else None)


def compare(old: Side, new: Side) -> Comparison:
    """Everything that can be told from both."""
    changed = changes(old.tasks, new.tasks)
    counts = moves(old, new) if old.samples is not None and new.samples is not None else None
    found = [*on_classes(changed, old.tasks), *on_samples(counts, old), *on_form(old, new), *on_sizes(old, new),
             *on_labels(old, new), *on_measures(old, new), *on_pictures(old, new)]
    return Comparison(old, new, counts, tuple(changed), tuple(found))


def moves(old: Side, new: Side) -> dict[str, Any]:
    """Which samples came, went, changed their split, or their labels; by content."""
    assert old.samples is not None and new.samples is not None
    before, after = (side.samples.drop_duplicates("id").set_index("id") for side in (old, new))  # type: ignore[union-attr]
    both = before.index.intersection(after.index)
    was, now = before.loc[both], after.loc[both]
    split = pd.crosstab(was["split"], now["split"])
    moved = {f"{one} to {other}": int(split.loc[one, other]) for one in split.index for other in split.columns
             if one != other and split.loc[one, other]}
    return {"kept": len(both), "added": len(after.index.difference(before.index)),
            "removed": len(before.index.difference(after.index)), "moved": moved,
            "relabelled": {task.name: relabelled(was, now, task, new.tasks) for task in old.tasks
                           if task.name in {other.name for other in new.tasks}}}


def relabelled(was: pd.DataFrame, now: pd.DataFrame, task: Task, tasks: Sequence[Task]) -> int:
    """How many samples carry other class names of a task than before."""
    other = next(one for one in tasks if one.name == task.name)
    before, after = (names(table[task.name], one) for table, one in ((was, task), (now, other)))
    return sum(one != two for one, two in zip(before, after, strict=True))


def names(column: pd.Series, task: Task) -> list[frozenset[str]]:
    """The class names of each sample; empty where it has no label."""
    cells = ([cell] if task.kind == "single" else [] if cell is None else cell for cell in column)
    return [frozenset(task.classes[number] for number in cell if number >= 0) for cell in cells]


def graded(share: float, bounds: tuple[float, float]) -> Verdict:
    """The verdict on a share.

    >>> graded(0.0, (0.0, 0.05)), graded(0.01, (0.0, 0.05)), graded(0.3, (0.1, 0.25))
    ('none', 'minor', 'major')
    """
    return "none" if share <= bounds[0] else "minor" if share <= bounds[1] else "major"


def on_classes(changed: Sequence[Change], before: Sequence[Task]) -> Iterator[Finding]:
    """Tasks and classes; whatever changes the meaning of a model's outputs is major."""
    for one in changed:
        verdict: Verdict = "minor" if one.fate == "appeared" else "major"
        yield Finding("classes", one.task, verdict, "; ".join(words(one, before)))


def on_samples(counts: dict[str, Any] | None, old: Side) -> Iterator[Finding]:
    """Samples that went, that carry other labels, or that models of the old set learnt from and are now tested on."""
    if counts is None:
        return
    size = max(1, counts["kept"] + counts["removed"])
    share = round(counts["removed"] / size, 6)
    told = f"{counts['removed']} of {size} are gone"
    yield Finding("samples", "removed", graded(share, SHARES["removed"]), told, share)
    for task, number in counts["relabelled"].items():
        share = round(number / max(1, counts["kept"]), 6)
        yield Finding("samples", f"labels of {task}", graded(share, SHARES["relabelled"]),
                      f"{number} of {counts['kept']} samples that stayed carry another label", share)
    for name in SPLITS[1:]:
        number = counts["moved"].get(f"train to {name}", 0)
        share = round(number / max(1, old.head["splits"][name]), 6)
        yield Finding("samples", f"train to {name}", graded(share, SHARES["seen"]),
                      f"{number} samples that models of the old set learnt from are now in {name}", share)


def on_form(old: Side, new: Side) -> Iterator[Finding]:
    """The geometry of the stored pixels."""
    before, after = old.head.get("geometry", {}), new.head.get("geometry", {})
    differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if differing:
        told = ", ".join(f"{key} {before.get(key)} is now {after.get(key)}" for key in differing)
        yield Finding("form", "stored pixels", "minor", f"{told}: models of the old set see other pixels")


def on_sizes(old: Side, new: Side) -> Iterator[Finding]:
    """How samples are shared out among the splits."""
    before, after = ([side.head["splits"].get(name, 0) for name in SPLITS] for side in (old, new))
    told = ", ".join(f"{name} {one} to {two}" for name, one, two in zip(SPLITS, before, after, strict=True))
    yield apart("splits", "sizes", stability(before, after), PSI, told)


def apart(kind: str, what: str, distance: Distance, bounds: tuple[float, float], told: str = "") -> Finding:
    """A distance as a finding: which bound it crosses, or that chance explains it."""
    verdict = distance.verdict(bounds)
    if verdict != "none":
        reason = f"{distance.figure:.3f} is over {bounds[VERDICTS.index(verdict) - 1]:g}"
    elif distance.figure > bounds[0]:
        reason = f"{distance.figure:.3f} is within what chance does with so few images ({distance.chance:.3f})"
    else:
        reason = f"{distance.figure:.3f} is not over {bounds[0]:g}"
    return Finding(kind, what, verdict, f"{told}: {reason}" if told else reason, round(distance.figure, 6),
                   round(distance.chance, 6) if distance.chance != float("inf") else None)


def on_labels(old: Side, new: Side) -> Iterator[Finding]:
    """How often each class occurs, and how many samples are labelled, by task and split."""
    for task in new.tasks:
        for split in SPLITS if task.name in old.head["counts"] else ():
            before, after = (side.head["counts"][task.name][split] for side in (old, new))
            classes = sorted(before.keys() | after.keys())
            distance = stability(*([counts.get(name, 0) for name in classes] for counts in (before, after)))
            yield apart("class shares", f"{task.name} in {split}", distance, PSI)
            labelled = [share_labelled(side, task.name, split) for side in (old, new)]
            if all(labelled):
                yield apart("labelled", f"{task.name} in {split}", stability(*labelled), PSI)


def share_labelled(side: Side, task: str, split: str) -> list[int]:
    """How many samples of a split have a label, and how many have none; empty where the head does not say."""
    known = side.head.get("statistics", {}).get("labelled", {}).get(task, {}).get(split)
    return [] if known is None else [known, side.head["splits"][split] - known]


def on_measures(old: Side, new: Side) -> Iterator[Finding]:
    """Sizes, shapes, light: by what the heads of both hold histograms of."""
    before, after = (histograms_of(side.head) for side in (old, new))
    for name in sorted(before.keys() & after.keys()):
        for split in SPLITS:
            yield apart("measures", f"{name} in {split}", stability(before[name][split], after[name][split]), PSI)


def on_pictures(old: Side, new: Side) -> Iterator[Finding]:
    """Colours, their places, and the directions of edges."""
    before, after = spreads_of(old.head), spreads_of(new.head)
    for split in SPLITS:
        if split in before and split in after:
            yield apart("pictures", split, pictures_apart(before[split], after[split]), PICTURES)
