"""From a folder or a manifest to a table of labelled files: finds the layout and reads it; where layouts plug in."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import glance, is_folder, listed
from components.data.files import root_of as root_of
from components.data.layouts import (
    arrays,
    class_folders,
    folders,
    labels_csv,
    lists,
    manifest_file,
    task_folders,
    torchvision_sets,
)
from components.data.layouts.found import FIXED, SEPARATOR, Found
from components.data.layouts.unlabelled import unlabelled
from components.data.settings import Data
from components.data.settings import Task as TaskSettings
from components.data.tasks import Task
from components.errors import UserError
from components.settings import near, shown
from components.storage.digests import printable

Reader = Callable[[Path, Data], Found]

# Every layout: how to recognise it, how to read it, what it looks like. The first that is recognised wins.
LAYOUTS: dict[str, tuple[Callable[[Path], bool], Reader, str]] = {
    "manifest": (manifest_file.recognised, manifest_file.read, "a .csv, .tsv, .jsonl or .parquet file with paths"),
    "folders": (folders.recognised, folders.read, "{train,val,test}/CLASS/IMAGE"),
    "labels_csv": (labels_csv.recognised, labels_csv.read, "labels.csv with path, split and a column a task"),
    "torchvision": (torchvision_sets.recognised, torchvision_sets.read, "a data set as torchvision keeps it"),
    "task_folders": (task_folders.recognised, task_folders.read, "TASK/{train,val,test}/CLASS/IMAGE"),
    "lists": (lists.recognised, lists.read, "{train,val,test}.txt (.csv, .tsv) with a path and a label a line"),
    "class_folders": (class_folders.recognised, class_folders.read, "CLASS/IMAGE, at least two classes"),
}
TABLES = ("labels_csv", "lists", "manifest")  # whose paths may be relative to data.root
TEXT = ("identity", "camera", "group", "sha256_given")
ORDER = (*SPLITS, "")


@dataclass(frozen=True)
class Listing:
    """The labelled files of a folder, before any of them was opened.

    rows: path (relative, POSIX), split ("" = not assigned yet), identity, camera, group, sha256_given (text or null),
    weight (float or NaN), and one text column a task ("" = not labelled, several labels joined by `|`); sorted by
    split and path. notes: what was left out or adjusted.
    """

    rows: pd.DataFrame
    tasks: tuple[Task, ...]
    layout: str
    notes: tuple[str, ...]


def read_listing(source: Path, data: Data) -> Listing:
    """List a folder of labelled images, or a manifest of one; UserError says what is wrong with it and where."""
    notes: list[str] = []
    layout = choose_layout(existing(source), data.layout, notes)
    if data.root and layout not in TABLES:
        raise UserError(f"params.yaml: data.root is {data.root}, but {source} is of layout {layout}, whose images lie "
                        "where they lie", f"leave data.root out; it is for the layouts {', '.join(TABLES)}")
    found = LAYOUTS[layout][1](source, data)
    rows = completed(found.rows)
    if data.unlabelled and len(rows):
        rows = completed(unlabelled(rows, data.unlabelled, source, notes))
    if not len(rows):
        raise UserError(f"{source} has no image of layout {layout} ({LAYOUTS[layout][2]})", "put images there")
    names = [name for name in rows.columns if name not in FIXED]
    notes += [*found.notes, *told_splits(rows)]
    tasks = tuple(resolve_task(rows, name, settings_of(name, data, found), found.classes.get(name, ()), notes)
                  for name in names)
    return Listing(rows, tasks, layout, tuple(notes))


def existing(source: Path) -> Path:
    """The source; UserError where nothing is there, or it is elsewhere."""
    if source.parts[:1] == ("s3:",):
        bucket = "/".join(source.parts[1:])
        raise UserError(f"data.path is s3://{bucket}, which is not on this machine",
                        "bring it here first (stillhouse fetch, docs/storage.md), and set data.path to that folder")
    if not source.exists():
        raise UserError(f"{source} does not exist; expected a folder of images, or a manifest",
                        "set data.path in params.yaml to one")
    return source


def choose_layout(source: Path, wanted: str, notes: list[str]) -> str:
    """The name of the layout to read a source by; UserError where none fits."""
    fitting = {"manifest"} if source.is_file() else LAYOUTS.keys() - {"manifest"}
    found = [name for name, (recognised, _, _) in LAYOUTS.items() if name in fitting and recognised(source)]
    if wanted != "auto":
        if wanted not in found:
            raise UserError(f"{source} is not of layout {wanted} ({LAYOUTS[wanted][2]}); {told_tree(source)}",
                            "correct data.path or data.layout in params.yaml")
        return wanted
    if not found:
        arrays.refuse(source)
        known = "; ".join(f"{name}: {shape}" for name, (_, _, shape) in LAYOUTS.items())
        raise UserError(f"{source} is of no known layout; {told_tree(source)}", f"arrange it as one of these: {known}")
    rivals = [name for name in found[1:] if name != "class_folders"]  # which almost any tree of images resembles
    if rivals:
        notes.append(f"it is read as {found[0]}; to read it as {rivals[0]}, set data.layout: {rivals[0]}")
    return found[0]


def told_tree(source: Path) -> str:
    """What a source is, or holds two levels deep, in a few words."""
    if not source.is_dir():
        return "it is a file"
    entries = sorted(glance(source), key=lambda entry: entry.name)
    parts = [printable(entry.name) + (f"/ ({told_folder(Path(entry))})" if is_folder(entry) else "")
             for entry in entries[:8]]
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    return f"there are {', '.join(parts)}{more}" if parts else "there is nothing"


def told_folder(folder: Path) -> str:
    """What a folder holds, in fewer words."""
    entries = glance(folder)
    inside = [f"{entry.name}/" for entry in entries if is_folder(entry)]
    files = f"{len(entries) - len(inside)} files"
    return f"{listed(inside)}; {files}" if inside else files


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with every fixed column, in the fixed order of columns and rows."""
    tasks = [name for name in rows.columns if name not in FIXED]
    full = rows.reindex(columns=[*FIXED, *tasks])
    for name in ("path", "split", *tasks):
        full[name] = full[name].fillna("").astype(object)
    for name in TEXT:
        full[name] = pd.Series([value if isinstance(value, str) and value else None for value in full[name]],
                               index=full.index, dtype=object)
    full["weight"] = full["weight"].astype("float64")
    keys = [(ORDER.index(split), path) for split, path in zip(full["split"], full["path"], strict=True)]
    return full.iloc[sorted(range(len(full)), key=keys.__getitem__)].reset_index(drop=True)


def told_splits(rows: pd.DataFrame) -> list[str]:
    """Which splits are still to be made, in words."""
    unassigned = int((rows["split"] == "").sum())
    if unassigned:
        return [f"{unassigned} images belong to no split yet: index assigns them"]
    missing = [split for split in SPLITS if not (rows["split"] == split).any()]
    return [f"no image belongs to split {' or '.join(missing)} yet: index makes it"] if missing else []


def settings_of(name: str, data: Data, found: Found) -> TaskSettings:
    """The settings of a task: the user's, and what the layout knows where those are silent."""
    given = data.tasks.get(name)
    kind = given.kind if given else found.kinds.get(name, "single")
    return TaskSettings(kind=kind, classes=given.classes if given else ())


def resolve_task(rows: pd.DataFrame, name: str, settings: TaskSettings, order: Sequence[str],
                 notes: list[str]) -> Task:
    """A task with its ordered classes; UserError for labels and classes that do not fit together.

    order: of classes as the layout has it, for where the settings are silent.
    """
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
        raise UserError(f"task {name} has no label", f"label some rows, or leave {name} out of data.tasks")
    missing = [one for one in settings.classes if one not in found]
    if missing:
        raise UserError(f"class {missing[0]} of data.tasks.{name}.classes has no image",
                        "add images of it, or remove it from the list")
    notes += told_classes(name, found, set(rows["split"]))
    unseen = [one for one in order if one not in found]
    if unseen and not settings.classes:
        notes.append(f"classes of task {name} that no image has are left out: {listed(unseen)}")
    classes = settings.classes or [one for one in order if one in found] + in_order(found.keys() - set(order))
    return Task(name, settings.kind, tuple(classes))


def told_classes(task: str, found: dict[str, set[str]], splits: set[str]) -> list[str]:
    """What is odd about the classes of a task, in words; found: class -> splits in which it occurs."""
    notes = []
    for split in SPLITS:
        lacking = [one for one, known in found.items() if split not in known]
        if lacking and split in splits and "" not in splits:
            hint = near(lacking[0], [one for one in found if split in found[one]]) if split == "train" else ""
            plural, verb = ("es", "have") if len(lacking) > 1 else ("", "has")
            notes.append(f"class{plural} {listed(lacking)} of task {task} {verb} no image in {split}{hint}")
    if len(found) == 1:
        notes.append(f"task {task} has one class only, {shown(min(found))}: there is nothing to tell apart")
    return notes


def in_order(classes: Iterable[str]) -> list[str]:
    """Class names in the order of their letters, or of their values where all are whole numbers.

    >>> in_order(["dog", "cat"]), in_order(["10", "9"]), in_order(["10", "09"])
    (['cat', 'dog'], ['9', '10'], ['09', '10'])
    """
    names = sorted(classes)
    return sorted(names, key=int) if all(name.isdecimal() and str(int(name)) == name for name in names) else names


def labels_of(cell: str, kind: str) -> list[str]:
    """The labels that a cell holds.

    >>> labels_of("a|b", "multi"), labels_of("a|b", "single"), labels_of("", "multi")
    (['a', 'b'], ['a|b'], [])
    """
    if not cell:
        return []
    return [part.strip() for part in cell.split(SEPARATOR)] if kind == "multi" else [cell]
