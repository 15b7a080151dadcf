"""From a folder to a table of labelled files: finds the layout and reads it; where further layouts plug in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import listed, visible
from components.data.layouts import folders, labels_csv
from components.data.settings import Data
from components.data.settings import Task as TaskSettings
from components.data.tasks import Task
from components.errors import UserError
from components.settings import near, shown
from components.storage.digests import printable

Reader = Callable[[Path, Data], tuple[pd.DataFrame, list[str]]]

# Every layout: how to recognise it, how to read it, what it looks like. The first that is recognised wins.
LAYOUTS: dict[str, tuple[Callable[[Path], bool], Reader, str]] = {
    "folders": (folders.recognised, folders.read, "{train,val,test}/CLASS/IMAGE"),
    "labels_csv": (labels_csv.recognised, labels_csv.read, "labels.csv with path, split and a column a task"),
}
TEXT = ("identity", "camera", "group")
SEPARATOR = "|"


@dataclass(frozen=True)
class Listing:
    """The labelled files of a folder, before any of them was opened.

    rows: path (relative, POSIX), split, identity, camera, group (text or null), weight (float or NaN), and one text
    column a task ("" = not labelled, several labels joined by `|`); sorted by split and path. notes: what was left out.
    """

    rows: pd.DataFrame
    tasks: tuple[Task, ...]
    layout: str
    notes: tuple[str, ...]


def read_listing(root: Path, data: Data) -> Listing:
    """List a folder of labelled images; UserError says what is wrong with it and where."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {state}; expected a folder of images", "set data.path in params.yaml to one")
    notes: list[str] = []
    layout = choose_layout(root, data.layout, notes)
    rows, more = LAYOUTS[layout][1](root, data)
    rows = completed(rows)
    names = [name for name in rows.columns if name not in labels_csv.FIXED]
    tasks = tuple(resolve_task(name, data.tasks.get(name, TaskSettings()), rows, notes) for name in names)
    return Listing(rows, tasks, layout, (*notes, *more))


def choose_layout(root: Path, wanted: str, notes: list[str]) -> str:
    """The name of the layout to read a folder by; UserError where none fits."""
    found = [name for name, (recognised, _, _) in LAYOUTS.items() if recognised(root)]
    if wanted != "auto":
        if wanted not in found:
            raise UserError(f"{root} is not of layout {wanted} ({LAYOUTS[wanted][2]}); there {tree(root)}",
                            "correct data.path or data.layout in params.yaml")
        return wanted
    if not found:
        known = "; ".join(f"{name}: {shape}" for name, (_, _, shape) in LAYOUTS.items())
        raise UserError(f"{root} is of no known layout; there {tree(root)}", f"arrange it as one of these: {known}")
    if len(found) > 1:
        notes.append(f"it is read as {found[0]}; to read it as {found[1]}, set data.layout: {found[1]}")
    return found[0]


def tree(root: Path) -> str:
    """What a folder holds, in a few words."""
    names = [printable(child.name) + "/" * child.is_dir() for child in visible(root)]
    return f"are {listed(names, 8)}" if names else "is nothing"


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with every fixed column, in the fixed order of columns and rows."""
    tasks = [name for name in rows.columns if name not in labels_csv.FIXED]
    full = rows.reindex(columns=[*labels_csv.FIXED, *tasks])
    for name in TEXT:
        full[name] = [value if isinstance(value, str) and value else None for value in full[name]]
    full["weight"] = full["weight"].astype("float64")
    keys = [(SPLITS.index(split), path) for split, path in zip(full["split"], full["path"], strict=True)]
    return full.iloc[sorted(range(len(full)), key=keys.__getitem__)].reset_index(drop=True)


def resolve_task(name: str, settings: TaskSettings, rows: pd.DataFrame, notes: list[str]) -> Task:
    """A task with its ordered classes; UserError for labels and classes that do not fit together."""
    found: dict[str, set[str]] = {}  # class -> splits in which it occurs
    for path, split, cell in zip(rows["path"], rows["split"], rows[name], strict=True):
        for label in labels_of(cell, settings.kind):
            if not label:
                raise UserError(f"{path}: {name} is {shown(cell)}; expected labels with one {SEPARATOR} between two",
                                "remove the empty one")
            if settings.classes and label not in settings.classes:
                raise UserError(f"{path}: {name} is {shown(label)}, which data.tasks.{name}.classes does not list."
                                f"{near(label, settings.classes)}", f"expected one of {', '.join(settings.classes)}")
            found.setdefault(label, set()).add(split)
    if not found:
        raise UserError(f"task {name} has no label in train, val or test",
                        f"label some rows, or leave {name} out of data.tasks")
    missing = [one for one in settings.classes if one not in found]
    if missing:
        raise UserError(f"class {missing[0]} of data.tasks.{name}.classes has no image",
                        "add images of it, or remove it from the list")
    notes += [f"class {one} of task {name} has no image in train" for one in sorted(found) if "train" not in found[one]]
    if len(found) == 1:
        notes.append(f"task {name} has one class only, {shown(min(found))}: there is nothing to tell apart")
    return Task(name, settings.kind, settings.classes or tuple(sorted(found)))


def labels_of(cell: str, kind: str) -> list[str]:
    """The labels that a cell holds.

    >>> labels_of("a|b", "multi"), labels_of("a|b", "single"), labels_of("", "multi")
    (['a', 'b'], ['a|b'], [])
    """
    if not cell:
        return []
    return [part.strip() for part in cell.split(SEPARATOR)] if kind == "multi" else [cell]
