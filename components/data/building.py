"""From a manifest and raw files to a Dataset: samples in their order, labels as numbers, pixels in shards."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from components.data import shards
from components.data.dataset import SCHEMA, SPLITS
from components.data.decoding import IMAGE_SUFFIXES, decode, letterbox
from components.data.manifest import write_table
from components.data.pool import ordered
from components.data.reading import labels_of
from components.data.tasks import Task
from components.errors import UserError
from components.progress import progress

CHANNELS = 3
BLOCK = 32
EXAMPLES = 16
REMEDY = "validate the folder again: dvc repro validate"
OPTIONAL = {"identity": pa.string(), "camera": pa.string(), "group": pa.string(), "weight": pa.float64()}


@dataclass(frozen=True)
class Geometry:
    """How images are stored: height and width, the grey around them (0..255), and the size of a shard in MiB."""

    size: tuple[int, int]
    pad: int
    shard_mb: int


def build(root: Path, kept: pd.DataFrame, tasks: Sequence[Task], geometry: Geometry, folder: Path,
          processes: int) -> dict[str, int]:
    """Write a Dataset from the rows of a manifest and the files that they name, and return its figures.

    kept: every row with its split. Raises UserError for a file that has changed.
    """
    samples = in_order(kept)
    folder.mkdir()
    rows = shards.rows_per_shard(geometry.size, geometry.shard_mb)
    names = shards.create(folder / "shards", len(samples), rows, geometry.size)
    store_pixels(root, samples, geometry, folder / "shards", processes)
    write_samples(folder / "samples.parquet", samples, tasks)
    head = {
        "schema": SCHEMA, "kind": "dataset", "tasks": [task.to_json() for task in tasks],
        "splits": {split: int((samples["split"] == split).sum()) for split in SPLITS},
        "counts": {task.name: class_counts(samples, task) for task in tasks},
        "geometry": {"size": list(geometry.size), "channels": CHANNELS, "pad": geometry.pad, "layout": "NHWC",
                     "dtype": "uint8"},
        "shards": {"rows": rows, "files": names},
        "examples": copy_examples(root, samples, folder / "examples"),
    }
    text = json.dumps(head, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    return figures(head, folder)


def in_order(kept: pd.DataFrame) -> pd.DataFrame:
    """Rows by split, then content, then path."""
    place = {split: number for number, split in enumerate(SPLITS)}
    keys = zip(kept["split"].map(place), kept["sha256"], kept["path"], strict=True)
    order = [row for _, row in sorted((key, row) for row, key in enumerate(keys))]
    return kept.iloc[order].reset_index(drop=True)


def store_pixels(root: Path, samples: pd.DataFrame, geometry: Geometry, folder: Path, processes: int) -> None:
    """Decode, resize and store every image, blocks of them side by side."""
    paths, digests = samples["path"].tolist(), samples["sha256"].tolist()
    starts = range(0, len(paths), BLOCK)
    blocks = [(first, paths[first : first + BLOCK], digests[first : first + BLOCK]) for first in starts]
    work = partial(store_block, root, geometry, folder)
    for _ in progress(ordered(work, blocks, processes, chunk=1), len(blocks), "indexing"):
        pass


def store_block(root: Path, geometry: Geometry, folder: Path, block: tuple[int, list[str], list[str]]) -> None:
    """Store the images of one block: first row, paths, expected digests."""
    first, paths, digests = block
    images = [letterbox(decode(unchanged(root, path, digest)), geometry.size, geometry.pad)
              for path, digest in zip(paths, digests, strict=True)]
    shards.write(folder, first, shards.rows_per_shard(geometry.size, geometry.shard_mb), np.stack(images))


def unchanged(root: Path, path: str, digest: str) -> bytes:
    """The content of a file; UserError where it is not what the manifest says."""
    try:
        content = (root / path).read_bytes()
    except OSError as error:
        raise UserError(f"{root / path} cannot be read: {error.strerror}", REMEDY) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{root / path} was changed since it was validated", REMEDY)
    return content


def write_samples(path: Path, samples: pd.DataFrame, tasks: Sequence[Task]) -> None:
    """Write samples.parquet."""
    optional = {name: kind for name, kind in OPTIONAL.items() if samples[name].notna().any()}
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


def copy_examples(root: Path, samples: pd.DataFrame, folder: Path) -> list[str]:
    """Copy the first raw files of test, so that an export can be checked without the raw folder."""
    folder.mkdir()
    chosen = samples[samples["split"] == "test"].head(EXAMPLES)
    names = []
    for path, digest in zip(chosen["path"], chosen["sha256"], strict=True):
        suffix = Path(path).suffix.lower()
        names.append(digest + (suffix if suffix in IMAGE_SUFFIXES else ""))
        (folder / names[-1]).write_bytes(unchanged(root, path, digest))
    return names


def figures(head: dict[str, Any], folder: Path) -> dict[str, int]:
    """What metrics.json says of a Dataset."""
    files = sorted((folder / "shards").iterdir())
    return {
        **{f"images.{split}": count for split, count in head["splits"].items()},
        **{f"classes.{task['name']}": len(task["classes"]) for task in head["tasks"]},
        "bytes": sum(file.stat().st_size for file in files),
    }
