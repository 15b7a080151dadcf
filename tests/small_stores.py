"""Small Datasets with given labels, and stores with given probabilities."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.dataset import SCHEMA, Dataset
from components.data.forms import Form
from components.data.tasks import Task
from components.probabilities.sayings import Sayings, beside
from components.probabilities.store import Store, StoreWriter

SIZE = (8, 6)
KIND = Task("kind", "single", ("coat", "<b>dress</b>", "=skirt"))
TRIM = Task("trim", "multi", ("zip", "bow"))


def identities(count: int) -> list[str]:
    """Content digests that look like any others."""
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def write_samples(folder: Path, columns: Mapping[str, Sequence[Any]], tasks: Sequence[Task]) -> Dataset:
    """A Dataset of the rows as they stand; pixels are a function of the id."""
    (folder / "shards").mkdir(parents=True)
    pixels = [np.random.default_rng(int(name[:8], 16)).integers(0, 255, (*SIZE, 3), np.uint8) for name in columns["id"]]
    np.save(folder / "shards" / "00000.npy", np.stack(pixels))
    paths = [f"@{name[:6]}.png" for name in columns["id"]]
    pd.DataFrame({"path": paths, **columns}).to_parquet(folder / "samples.parquet", index=False)
    head = {"schema": SCHEMA, "kind": "dataset", "tasks": [task.to_json() for task in tasks],
            "geometry": Form("decoded", SIZE, 128).to_json(), "shards": {"starts": [0], "files": ["00000.npy"]},
            "examples": []}
    (folder / "dataset.json").write_text(json.dumps(head))
    return Dataset.open(folder)


def write_store(folder: Path, dataset: Dataset, said: Mapping[str, Mapping[str, np.ndarray]], /,
                **head: Any) -> Store:
    """A store of probabilities [n, views, C] by source and task, rows those of a Dataset from last to first."""
    views = next(iter(next(iter(said.values())).values())).shape[1]
    whole = {"tasks": [task.to_json() for task in dataset.tasks], "sources": list(said), "views": list(range(views)),
             "dataset": "ab" * 32, "shard_rows": 16}
    writer = StoreWriter(folder, whole | head, dataset.ids[::-1])
    for source, tasks in said.items():
        for task, values in tasks.items():
            for shard in range(writer.shard_count()):
                with np.errstate(divide="ignore"):
                    writer.put(source, task, shard, np.log(values[::-1][writer.rows_of(shard)]))
    writer.finish()
    return Store.open(folder)


def drawn(folder: Path, count: int = 90, seed: int = 0, order: np.ndarray | None = None, **head: Any) -> Sayings:
    """A Dataset of a `single` and a `multi` task, partly labelled, and two sources of two views that are often right.

    order: the rows in another order; what is said of each stays the same.
    """
    chance = np.random.default_rng(seed)
    kind, trim = chance.integers(0, 3, count), chance.integers(0, 2, (count, 2))
    said = {source: {"kind": votes(chance, np.eye(3)[kind]), "trim": labels_said(chance, trim)}
            for source in ("deep", "wide")}
    wrong = chance.uniform(size=count) < 0.15
    given = np.where(chance.uniform(size=count) < 0.1, -1, np.where(wrong, (kind + 1) % 3, kind))
    bows = (trim ^ wrong[:, None]).astype(bool)
    trims = [None if i % 7 == 3 else np.flatnonzero(row).tolist() for i, row in enumerate(bows)]
    ids = identities(count)
    split = np.array(["train", "val", "test"])[np.arange(count) % 5 // 2]
    order = np.arange(count) if order is None else order
    columns = {"id": [ids[i] for i in order], "split": split[order], "kind": given[order].astype(np.int32),
               "trim": [trims[i] for i in order]}
    dataset = write_samples(folder / "dataset", columns, (KIND, TRIM))
    ordered = {source: {task: values[order] for task, values in tasks.items()} for source, tasks in said.items()}
    return beside(dataset, write_store(folder / "store", dataset, ordered, **head))


def votes(chance: np.random.Generator, truth: np.ndarray, views: int = 2, strength: float = 1.5) -> np.ndarray:
    """Probabilities [n, views, C]: by view, what can be known of a true class [n, C] seen through Gaussian noise.

    With noise of unit variance and equal priors the softmax of strength * seen is the posterior: calibrated exactly.
    """
    seen = strength * truth[:, None] + chance.normal(size=(len(truth), views, truth.shape[1]))
    powers = np.exp(strength * seen)
    return powers / powers.sum(axis=2, keepdims=True)


def labels_said(chance: np.random.Generator, truth: np.ndarray, views: int = 2) -> np.ndarray:
    """Probabilities [n, views, L] of each label alone, seen through noise."""
    both = [votes(chance, np.column_stack([1 - column, column]), views)[:, :, 1] for column in truth.T]
    return np.stack(both, axis=2)
