"""What became of tasks and classes since an earlier data set: which appeared, vanished, or changed their number."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.data.files import listed
from components.data.tasks import Task, read_tasks

MOST_NAMES = 30


@dataclass(frozen=True)
class Change:
    """What became of one task.

    fate: `appeared`, `vanished`, `changed` (of another kind), or `kept`. moved: class -> (number before, number now).
    """

    task: str
    fate: str
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form in which a comparison holds it."""
        return asdict(self)

    def __bool__(self) -> bool:
        return self.fate != "kept" or bool(self.appeared or self.vanished or self.moved)


def changes(before: Sequence[Task], now: Sequence[Task]) -> list[Change]:
    """What became of every task; those of which nothing did are left out."""
    old, new = ({task.name: task for task in tasks} for tasks in (before, now))
    found = [Change(name, "vanished") for name in old if name not in new]
    for name, task in new.items():
        found.append(change(old[name], task) if name in old else Change(name, "appeared"))
    return [one for one in found if one]


def change(before: Task, now: Task) -> Change:
    """What became of the classes of a task."""
    old, new = ({name: number for number, name in enumerate(task.classes)} for task in (before, now))
    return Change(
        now.name, "kept" if before.kind == now.kind else "changed",
        tuple(name for name in new if name not in old), tuple(name for name in old if name not in new),
        {name: (old[name], number) for name, number in new.items() if old.get(name, number) != number})


def told(found: Iterable[Change], before: Sequence[Task]) -> list[str]:
    """Changes in words, one line a task, and how to keep the order where it moved."""
    return [line for one in found for line in words(one, before)]


def words(one: Change, before: Sequence[Task]) -> list[str]:
    """One change in words."""
    if one.fate in ("appeared", "vanished"):
        return [f"task {one.task} {one.fate} since the previous data set"]
    parts = ["its kind is another"] if one.fate == "changed" else []
    parts += [f"{len(names)} {'class' if len(names) == 1 else 'classes'} {fate} ({listed(names)})"
              for fate, names in (("appeared", one.appeared), ("vanished", one.vanished)) if names]
    if one.moved:
        name, (old, new) = next(iter(one.moved.items()))
        parts.append(f"{len(one.moved)} changed their number (for example {name}: {old} is now {new})")
    lines = [f"task {one.task} since the previous data set: {', '.join(parts)}"]
    if one.moved and not one.vanished:
        order = [*next(task.classes for task in before if task.name == one.task), *one.appeared]
        shown = ", ".join(order) if len(order) <= MOST_NAMES else "the old order, then the new classes"
        lines.append(f"to keep the numbers, set data.tasks.{one.task}.classes: [{shown}]")
    return lines


def previous(runs: Path) -> tuple[Task, ...] | None:
    """The tasks of the last run that a run.json of `index` knows; None where it knows none.

    runs: its path. Only what `noted` left there counts.
    """
    try:
        known = json.loads(runs.read_text(encoding="utf-8"))
        newest = list(known.values())[-1]
        return read_tasks(newest["tasks"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def since(runs: Path, tasks: Sequence[Task]) -> list[str]:
    """What became of tasks and classes since the last run that is known, in words; nothing where none is."""
    before = previous(runs)
    return told(changes(before, tasks), before) if before is not None else []


def noted(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The fact for run.json from which the next run learns the classes of this one."""
    return [task.to_json() for task in tasks]
