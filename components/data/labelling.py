"""The table of samples of a Dataset: their order, their labels as numbers, how many carry each class."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from components.data.dataset import SPLITS
from components.data.files import listed
from components.data.manifest import write_table
from components.data.reading import labels_of
from components.data.tasks import Task

OPTIONAL = {"identity": pa.string(), "camera": pa.string(), "group": pa.string(), "weight": pa.float64(),
            "cluster": pa.string()}  # of near duplicates


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by split, then content, then path."""
    place = {split: number for number, split in enumerate(SPLITS)}
    keys = rows[["sha256", "path"]].assign(split=rows["split"].map(place))
    return rows.loc[keys.sort_values(["split", "sha256", "path"]).index].reset_index(drop=True)


def merged(samples: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Samples in order, every content once in a split, under its first path; what is merged is told in notes.

    A policy may allow copies. Within a split they are one sample, since draws and stored probabilities go by content.
    In two splits they stay two samples, of the same draws and probabilities.
    """
    copy = samples.duplicated(["split", "sha256"])
    if copy.any():
        notes.append(f"{int(copy.sum())} files hold what another file of their split holds, and count once: "
                     f"{listed(samples['path'][copy])}")
    twice = samples[~copy].duplicated("sha256")
    if twice.any():
        notes.append(f"{int(twice.sum())} images are in two splits, as validate.policies allows: scores are too good")
    return samples[~copy].reset_index(drop=True)


def write_samples(path: Path, samples: pd.DataFrame, tasks: Sequence[Task]) -> None:
    """Write samples.parquet."""
    optional = {name: kind for name, kind in OPTIONAL.items() if name in samples and samples[name].notna().any()}
    types = {"id": pa.string(), "path": pa.string(), "split": pa.string()}
    types |= {task.name: pa.int32() if task.kind == "single" else pa.list_(pa.int32()) for task in tasks}
    types |= optional | {"width": pa.int32(), "height": pa.int32()}
    numbered = {task.name: [encode(cell, task) for cell in samples[task.name]] for task in tasks}
    table = samples.drop(columns=list(numbered)).rename(columns={"sha256": "id"})
    for name, column in numbered.items():
        table[name] = pd.Series(column, dtype=object)
    write_table(path, table, types)


def encode(cell: str, task: Task) -> int | list[int] | None:
    """The labels of a cell as class numbers: -1, or null for `multi`, where there are none.

    >>> task = Task("colour", "multi", ("blue", "red"))
    >>> encode("red|blue", task), encode("", task)
    ([0, 1], None)
    """
    found = sorted({task.classes.index(label) for label in labels_of(cell, task.kind)})
    if task.kind == "multi":
        return found or None
    return found[0] if found else -1


def class_counts(samples: pd.DataFrame, task: Task) -> dict[str, dict[str, int]]:
    """How many images of each split carry each class."""
    counts = {split: dict.fromkeys(task.classes, 0) for split in SPLITS}
    for split, cell in zip(samples["split"], samples[task.name], strict=True):
        for label in labels_of(cell, task.kind):
            counts[split][label] += 1
    return counts
