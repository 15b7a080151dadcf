"""What a label audit may do to a data set: less weight for doubtful samples, or none of them; labels stay as given."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from components.data.dataset import Dataset
from components.data.layouts.found import SEPARATOR
from components.data.manifest import harmless
from components.data.tasks import Task
from components.probabilities.confidence import Floats

CARRIED = ("identity", "camera", "group")


def trust(findings: pd.DataFrame, count: int) -> Floats:
    """How far each sample of a Dataset is trusted, [count], 1 where nothing was found.

    A doubted label has p / (p + q), the probability of the given answer against that of the suggested one, below one
    half always; a sample is worth its least trusted label.
    """
    worth = np.ones(count)
    own, other = findings["probability"].to_numpy(), findings["suggested_probability"].to_numpy()
    np.minimum.at(worth, findings["row"].to_numpy(np.int64), own / (own + other))
    return worth


def applied(dataset: Dataset, findings: pd.DataFrame, policy: str) -> dict[str, str]:
    """The files of a policy by name, empty for `report`.

    `weight`: weights.csv, and manifest.csv with these weights times those of the Dataset. `quarantine`: quarantine.csv,
    and manifest.csv without its rows. A manifest's paths are those of the raw folder.
    """
    worth = trust(findings, len(dataset))
    doubted = np.flatnonzero(worth < 1.0)
    ids, paths = dataset.samples["id"].tolist(), dataset.samples["path"].tolist()
    if policy == "weight":
        rows = [(ids[row], f"{worth[row]:.6f}") for row in doubted]
        return {"weights.csv": written(("sha256", "weight"), rows), "manifest.csv": manifest(dataset, worth, ())}
    if policy == "quarantine":
        gone = [(ids[row], harmless(paths[row])) for row in doubted]
        return {"quarantine.csv": written(("sha256", "path"), gone),
                "manifest.csv": manifest(dataset, np.ones(len(dataset)), doubted.tolist())}
    return {}


def manifest(dataset: Dataset, worth: Floats, without: Sequence[int]) -> str:
    """The Dataset as a table that `data.path` can name: path, sha256, split, weight, what is known, and every task."""
    columns = {"path": dataset.samples["path"], "sha256": dataset.samples["id"], "split": dataset.samples["split"]}
    columns |= {name: dataset.samples[name].fillna("") for name in CARRIED if name in dataset.samples}
    cells = {name: column.tolist() for name, column in columns.items()}
    cells |= {"weight": [f"{value:.6g}" for value in dataset.weights * worth]}
    cells |= {task.name: list(labels(dataset, task)) for task in dataset.tasks}
    left = set(without)
    rows = [row for number, row in enumerate(zip(*cells.values(), strict=True)) if number not in left]
    return written(tuple(cells), rows)


def labels(dataset: Dataset, task: Task) -> Iterator[str]:
    """The labels of every sample as a cell holds them, "" for none."""
    for value in dataset.samples[task.name]:
        if task.kind == "single":
            yield task.classes[value] if value >= 0 else ""
        else:
            yield SEPARATOR.join(task.classes[index] for index in value) if value is not None else ""


def written(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV text, lines ended by a line feed."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()
