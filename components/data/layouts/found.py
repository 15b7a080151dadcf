"""What every layout hands over, and which names columns and tasks may have."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import listed
from components.errors import UserError
from components.settings import shown

SEPARATOR = "|"  # between several labels of a cell
FIXED = ("path", "split", "identity", "camera", "group", "weight", "sha256_given")
# Names of columns that later artifacts have, and that no task can therefore have.
RESERVED = frozenset((*FIXED, "id", "sha256", "bytes", "width", "height", "mode", "verdict", "reason", "keypoints",
                      "format", "brightness", "contrast", "sharpness", "entropy", "fingerprint", "cluster", "detail",
                      "peer"))
SYNONYMS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
            "eval": "val", "test": "test", "testing": "test"}


@dataclass(frozen=True)
class Found:
    """The files of a folder with their labels.

    rows: path and split ("" = not assigned yet), a text column a task, and any other of FIXED. notes: what was left
    out or adjusted, in words. classes: the order of a task's classes, where the layout has one. kinds: of tasks, where
    they are not single.
    """

    rows: pd.DataFrame
    notes: list[str]
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[str, Literal["single", "multi"]] = field(default_factory=dict)


def split_of(name: str) -> str:
    """The split that a name stands for, or "".

    >>> split_of("train"), split_of("Validation"), split_of("extra")
    ('train', 'val', '')
    """
    return SYNONYMS.get(name.strip().lower(), "")


def split_names(names: Iterable[str], where: Path, notes: list[str]) -> dict[str, str]:
    """The names that stand for splits, by split; UserError where two stand for one."""
    found: dict[str, str] = {}
    for name in sorted(names):
        split = split_of(name)
        if split in found:
            raise UserError(f"{where}: {found[split]} and {name} both stand for split {split}", "put them into one")
        if split:
            found[split] = name
    notes += [f"{name} is read as split {split}" for split, name in found.items() if name != split]
    return {split: found[split] for split in SPLITS if split in found}


def refuse_task_name(name: str, origin: Path) -> None:
    """UserError for a task that later artifacts could not hold."""
    if name in RESERVED or not name.isidentifier():
        why = "is a name of our own columns" if name in RESERVED else "is no usable task name"
        raise UserError(f"{origin}: task {shown(name)} {why}",
                        "rename it with letters, digits and underscores, or list the tasks to read in data.tasks")


def refuse_separators(classes: Iterable[str], origin: Path) -> None:
    """UserError for class names that a cell of several labels cannot hold."""
    bad = [name for name in classes if SEPARATOR in name]
    if bad:
        raise UserError(f"{origin}: class {listed(bad)} holds {SEPARATOR}, which stands between labels", "rename it")
