"""The layout TASK/SPLIT/CLASS/*: every task a tree of its own; the same image under several tasks is one sample."""

from pathlib import Path

import pandas as pd

from components.data.files import Tree, below, listed, subfolders, walk
from components.data.layouts import folders
from components.data.layouts.found import Found, refuse_separators, refuse_task_name, split_names
from components.data.layouts.joining import Row, joined
from components.data.settings import Data
from components.errors import UserError, near


def recognised(root: Path) -> bool:
    """Whether a folder that is arranged as SPLIT/CLASS is there, and the folder itself is not."""
    return not folders.recognised(root) and any(folders.recognised(root / name) for name in subfolders(root))


def read(root: Path, data: Data) -> Found:
    """Every image once, with its label of each task that it lies under."""
    tree = walk(root)
    notes: list[str] = []
    kinds = {task: data.tasks[task].kind if task in data.tasks else "single" for task in tasks_of(root, data, notes)}
    rows = [row for task in kinds for row in task_rows(root, tree, task, notes)]
    for task, kind in kinds.items():
        if kind == "multi":
            refuse_separators({row.get(task, "") for row in rows}, root / task)
    table = pd.DataFrame(joined(root, rows, kinds, notes), columns=["path", "split", *kinds])
    return Found(table, tree.notes + notes, {}, dict(kinds))


def tasks_of(root: Path, data: Data, notes: list[str]) -> list[str]:
    """The folders that are tasks, or those of them that data.tasks names; UserError for one that is not there."""
    names = subfolders(root)
    found = [name for name in names if folders.recognised(root / name)]
    for name in data.tasks:
        if name not in found:
            raise UserError(f"params.yaml: data.tasks.{name}: {root} has no such task folder.{near(name, found)}",
                            f"its task folders: {', '.join(found)}")
    taken = [name for name in found if name in data.tasks or not data.tasks]
    left = [f"{name}/" for name in names if name not in taken]
    if left:
        notes.append(f"folders that are no task, or that data.tasks does not name, are left out: {listed(left)}")
    for name in taken:
        refuse_task_name(name, root)
    return taken


def task_rows(root: Path, tree: Tree, task: str, notes: list[str]) -> list[Row]:
    """Path, split and label of every file below a task's folder."""
    inside = [name for name in below(tree.folders, f"{task}/") if "/" not in name]
    said: list[str] = []
    splits = split_names(inside, root / task, said)
    notes += [f"{task}/{note}" for note in said]
    others = [f"{task}/{name}/" for name in inside if name not in splits.values()]
    if others:
        notes.append(f"folders that are no split are left out: {listed(others)}")
    if "train" not in splits:
        notes.append(f"task {task} has no images of train: only other tasks are learnt from them")
    rows = []
    for split, name in splits.items():
        place = f"{task}/{name}/"
        folders.refuse_strays(root, tree, place)
        rows += [{"path": path, "split": split, task: label}
                 for path, label in folders.in_classes(root, tree, place, notes)]
    return rows
