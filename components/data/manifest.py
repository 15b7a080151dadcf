"""The manifest artifact: every file of a folder with its digest and the verdict on it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.dataset import SPLITS
from components.data.reading import labels_of
from components.data.tasks import Task, read_tasks
from components.errors import UserError
from components.storage.digests import json_text

SCHEMA = 2
REMEDY = "make it again: dvc repro validate"
TEXT = ("path", "split", "identity", "camera", "group")
MEASURED = {"sha256": pa.string(), "bytes": pa.int64(), "width": pa.int32(), "height": pa.int32(),
            "format": pa.string(), "mode": pa.string(), "brightness": pa.float64(), "contrast": pa.float64(),
            "sharpness": pa.float64(), "entropy": pa.float64(), "fingerprint": pa.binary(), "cluster": pa.string(),
            "verdict": pa.string(), "reason": pa.string()}
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Manifest:
    """A manifest opened for reading.

    rows: path, split ("" = not assigned yet), identity, camera, group, weight, one text column a task, sha256, bytes,
    width, height, format, mode, brightness, contrast, sharpness, entropy, fingerprint (see `facts`), cluster (the
    smallest digest of all files that show the same picture, null for one that stands alone), verdict (`ok` or
    `left_out`), reason (the first that leaves it out, else "").
    """

    path: Path
    rows: pd.DataFrame
    tasks: tuple[Task, ...]

    @classmethod
    def open(cls, path: Path) -> "Manifest":
        """Open a sealed manifest; UserError where it is none of this version."""
        try:
            head = json.loads((path / "validation.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{path} is no manifest: it has no readable validation.json", REMEDY) from None
        if (head.get("kind"), head.get("schema")) != ("manifest", SCHEMA):
            raise UserError(f"{path} is a {head.get('kind')} of schema {head.get('schema')}; expected a manifest of "
                            f"schema {SCHEMA}", REMEDY)
        return cls(path, pq.read_table(path / "manifest.parquet").to_pandas(), read_tasks(head["tasks"]))

    def kept(self) -> pd.DataFrame:
        """The rows whose verdict is ok."""
        return self.rows[self.rows["verdict"] == "ok"].reset_index(drop=True)


def write_table(path: Path, rows: pd.DataFrame, types: dict[str, pa.DataType]) -> None:
    """Write columns of a frame as Parquet, the same bytes for the same values: no index, no metadata of pandas."""
    arrays = [pa.array(rows[name].tolist(), kind, from_pandas=True) for name, kind in types.items()]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(list(types.items())))
    pq.write_table(table, path, compression="zstd")


def write_manifest(folder: Path, rows: pd.DataFrame, findings: pd.DataFrame, head: dict[str, Any],
                   tasks: Sequence[Task]) -> None:
    """Write the manifest folder: manifest.parquet, validation.json, findings.csv."""
    folder.mkdir()
    types = dict.fromkeys(TEXT, pa.string()) | {"weight": pa.float64()}
    types |= {task.name: pa.string() for task in tasks} | MEASURED
    write_table(folder / "manifest.parquet", rows, types)
    whole = head | {"schema": SCHEMA, "kind": "manifest", "tasks": [task.to_json() for task in tasks]}
    (folder / "validation.json").write_text(json_text(whole), encoding="utf-8")
    with (folder / "findings.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(findings.columns)
        for row in findings.itertuples(index=False):
            writer.writerow([harmless(cell) for cell in row])


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("images/1.jpg")
    ("'=1+1", 'images/1.jpg')
    """
    return "'" + cell if cell.startswith(FORMULA) else cell


def refuse_gaps(rows: pd.DataFrame, tasks: Sequence[Task]) -> None:
    """UserError where leaving files out has emptied a split, a class, or the whole set."""
    kept = rows[rows["verdict"] == "ok"]
    remedy = "mend the files, or let validate.policies allow the reason"
    if not len(kept):
        raise UserError(f"every image was left out: {why(rows)}", remedy)
    for split in SPLITS:
        given = rows[rows["split"] == split]
        if len(given) and not (given["verdict"] == "ok").any():
            raise UserError(f"every image of split {split} was left out: {why(given)}", remedy)
    for task in tasks:
        left = {label for cell in kept[task.name] for label in labels_of(cell, task.kind)}
        for name in task.classes:
            if name not in left:
                all_of_it = rows[[name in labels_of(cell, task.kind) for cell in rows[task.name]]]
                raise UserError(f"every image of class {name} of {task.name} was left out: {why(all_of_it)}", remedy)


def why(rows: pd.DataFrame) -> str:
    """The reasons of some rows and how often each occurs."""
    counts = rows["reason"].value_counts().sort_index()
    return ", ".join(f"{number} {reason}" for reason, number in counts.items())
