"""The layout SPLIT/CLASS/*: one task, whose classes are folders; splits may be missing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from components.data.files import Tree, below, has_image_suffix, images, is_image, listed, subfolders, walk
from components.data.layouts.found import Found, refuse_separators, split_names, split_of
from components.data.layouts.joining import Row, joined
from components.data.settings import Data
from components.errors import UserError
from components.storage.digests import printable


def recognised(root: Path) -> bool:
    """Whether a split folder with a class folder in it is there."""
    return any(split_of(name) and subfolders(root / name) for name in subfolders(root))


def read(root: Path, data: Data) -> Found:
    """Every image with its split and the class folder that it lies in."""
    notes: list[str] = []
    tree = walk(root)
    top = [name for name in tree.folders if "/" not in name]
    splits = split_names(top, root, notes)
    others = [name for name in top if name not in splits.values()]
    if others:
        notes.append(f"folders that are no split are left out: {listed(f'{name}/' for name in others)}")
    return by_class(root, data, tree, {f"{name}/": split for split, name in splits.items()}, notes)


def by_class(root: Path, data: Data, tree: Tree, places: Mapping[str, str], notes: list[str]) -> Found:
    """Every image that lies in a class folder of one of the places; places: folder with its slash -> split."""
    task, kind = folder_task(data)
    rows: list[Row] = []
    for place, split in places.items():
        refuse_strays(root, tree, place)
        rows += [{"path": name, "split": split, task: label} for name, label in in_classes(root, tree, place, notes)]
    if kind == "multi":
        refuse_separators({row[task] for row in rows}, root)
        rows = joined(root, rows, {task: kind}, notes)
    return Found(pd.DataFrame(rows, columns=["path", "split", task]), tree.notes + notes, {}, {task: kind})


def folder_task(data: Data) -> tuple[str, Literal["single", "multi"]]:
    """Name and kind of the task of the class folders; UserError where other tasks are asked for."""
    if set(data.tasks) - {data.default_task}:
        raise UserError(
            f"params.yaml: data.tasks names {listed(data.tasks)}, but class folders give one task, {data.default_task}",
            "set data.default_task to that name, or data.layout: labels_csv to read several tasks from labels.csv")
    return data.default_task, data.tasks[data.default_task].kind if data.tasks else "single"


def refuse_strays(root: Path, tree: Tree, place: str) -> None:
    """UserError for images that lie beside the class folders."""
    beside = [name for name in below(tree.files, place) if "/" not in name]
    stray = [name for name in beside if has_image_suffix(name) or is_image(root / place / name)]
    if stray:
        raise UserError(f"{len(stray)} images lie beside the class folders of {root / place}, for example "
                        f"{printable(place + stray[0])}: they have no label", "move them into a class folder, or away")


def in_classes(root: Path, tree: Tree, place: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """Path and class of every image below the class folders of a place; folders without one are noted."""
    inside = [place + name for name in below(tree.files, place) if "/" in name]
    found = images(root, inside, notes)
    labels = [name[len(place) :].partition("/")[0] for name in found]
    empty = {name for name in below(tree.folders, place) if "/" not in name}.difference(labels)
    if empty:
        notes.append(f"class folders without images: {listed(place + name for name in empty)}")
    return zip(found, labels, strict=True)
