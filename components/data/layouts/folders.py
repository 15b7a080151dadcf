"""The layout {train,val,test}/CLASS/*: one task, whose classes are folders."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import image_files, listed, safe_name, visible
from components.data.settings import Data
from components.errors import UserError
from components.storage.digests import printable


def recognised(root: Path) -> bool:
    """Whether a split folder with a class folder in it is there."""
    return any(child.is_dir() for split in SPLITS for child in visible(root / split))


def read(root: Path, data: Data) -> tuple[pd.DataFrame, list[str]]:
    """Every image with the class folder that it lies in, and what was left out, in words."""
    task = task_name(data)
    notes = [f"{printable(child.name)}/ is no split folder and is left out" for child in visible(root)
             if child.is_dir() and child.name not in SPLITS]
    refuse_unequal_classes(root)
    rows = [row for split in SPLITS for row in read_split(root, split, notes)]
    return pd.DataFrame(rows, columns=["path", "split", task]), notes


def task_name(data: Data) -> str:
    """What the task of the class folders is called; UserError where other tasks are asked for."""
    if set(data.tasks) - {data.default_task}:
        raise UserError(
            f"params.yaml: data.tasks names {listed(data.tasks)}, but class folders give one task, {data.default_task}",
            "set data.default_task to that name, or data.layout: labels_csv to read several tasks from labels.csv")
    if data.tasks and data.tasks[data.default_task].kind == "multi":
        raise UserError(f"params.yaml: data.tasks.{data.default_task}.kind is multi, but a file lies in one folder",
                        "several labels an image are read from labels.csv: data.layout: labels_csv")
    return data.default_task


def classes_of(root: Path, split: str) -> list[str]:
    """Names of the class folders of a split; UserError where it has none."""
    classes = sorted(safe_name(root / split, child) for child in visible(root / split) if child.is_dir())
    if not classes:
        state = "has no class folders" if (root / split).is_dir() else "is not there"
        raise UserError(f"{root / split} {state}; expected {split}/CLASS/IMAGE",
                        f"make the folder and put images in it; every one of {', '.join(SPLITS)} is needed")
    return classes


def refuse_unequal_classes(root: Path) -> None:
    """UserError unless every split has the same class folders."""
    expected = set(classes_of(root, SPLITS[0]))
    for split in SPLITS[1:]:
        found = set(classes_of(root, split))
        if found != expected:
            missing, extra = sorted(expected - found), sorted(found - expected)
            parts = [f"{root / split} lacks {listed(missing)}"] if missing else []
            parts += [f"{root / split} has {listed(extra)}, which {root / SPLITS[0]} lacks"] if extra else []
            raise UserError(f"class folders differ between splits: {'; '.join(parts)}",
                            "give every split the same class folders, or use data.layout: labels_csv")


def read_split(root: Path, split: str, notes: list[str]) -> Iterator[tuple[str, str, str]]:
    """Path, split and class of every image of a split; UserError for a class without images or a stray image."""
    stray = [path for path in visible(root / split) if path.is_file() and image_files(root, [path], [])]
    if stray:
        raise UserError(f"{len(stray)} images lie beside the class folders of {root / split}, for example "
                        f"{safe_name(root, stray[0])}: they have no label", "move them into a class folder, or away")
    for name in classes_of(root, split):
        folder = root / split / name
        found = image_files(root, visible(folder, deep=True), notes)
        if not found:
            raise UserError(f"{printable(str(folder))} has no images; expected at least one a class and split",
                            "put images there, or remove that class from every split")
        yield from ((path, split, name) for path in found)
