"""A class name that stands for no label: images that only teachers have something to say about."""

from pathlib import Path

import pandas as pd

from components.data.layouts.found import FIXED
from components.errors import UserError, near


def unlabelled(rows: pd.DataFrame, name: str, source: Path, notes: list[str]) -> pd.DataFrame:
    """The rows with no label where it is `name`; UserError where it is nowhere.

    Rows that are left without a label of any task, and that have no split, are of train: elsewhere they would measure
    nothing.
    """
    tasks = [column for column in rows.columns if column not in FIXED]
    meant = rows[tasks] == name
    if not meant.any(axis=None):
        seen = sorted({str(label) for task in tasks for label in rows[task].unique()} - {""})
        raise UserError(f"params.yaml: data.unlabelled is {name}, but no image of {source} is in such a class."
                        f"{near(name, seen)}", "name the class, or the class folder, that stands for no label; or \"\"")
    emptied = rows.assign(**{task: rows[task].mask(meant[task], "") for task in tasks})
    bare = meant.any(axis=1) & (emptied[tasks] == "").all(axis=1)
    moved = bare & (emptied["split"] == "")
    emptied.loc[moved, "split"] = "train"
    notes.append(f"{int(bare.sum())} images of {name} have no label"
                 + (f"; {int(moved.sum())} that had no split are of train" if moved.any() else ""))
    return emptied
