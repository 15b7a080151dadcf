"""Lists and manifests written: files that name images with their splits and labels, for others and for later."""

import csv
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pandas as pd

from components.data.dataset import SPLITS, Dataset
from components.data.files import listed
from components.data.layouts.found import SEPARATOR
from components.data.layouts.labels_csv import read_csv
from components.data.layouts.lists import SEPARATORS
from components.data.manifest import FORMULA
from components.data.tasks import Task
from components.errors import UserError, shown
from components.storage.digests import file_digest

Separator = Literal["space", "tab", "comma"]
OPTIONAL = ("identity", "camera", "group", "weight")


def named_rows(dataset: Dataset) -> pd.DataFrame:
    """The samples of a Dataset as a listing has them: labels by name, sha256."""
    rows = dataset.samples.rename(columns={"id": "sha256"})
    for task in dataset.tasks:
        rows[task.name] = [named(value, task) for value in dataset.samples[task.name]]
    return rows


def named(value: object, task: Task) -> str:
    """A stored label as a cell holds it: the name of a class, or several names joined; "" for none."""
    if task.kind == "single":
        return task.classes[int(str(value))] if int(str(value)) >= 0 else ""
    return SEPARATOR.join(task.classes[int(one)] for one in value) if isinstance(value, Iterable) else ""


def list_texts(rows: pd.DataFrame, task: Task, separator: Separator, numbers: bool) -> dict[str, str]:
    """The text of every list by its file name, and of classes.txt; UserError for a row that a line cannot hold."""
    numbered = {name: str(number) for number, name in enumerate(task.classes)}
    if numbers and any(name.isdecimal() and numbered[name] != name for name in task.classes):
        raise UserError(f"classes of {task.name} are numbers themselves, and not those of their order",
                        "leave --numbers out")
    suffix = {"comma": "csv", "tab": "tsv", "space": "txt"}[separator]
    texts = {"classes.txt": "".join(f"{name}\n" for name in task.classes)}
    refuse_lines(task.classes, "class")
    for split in SPLITS:
        part = rows[rows["split"] == split]
        cells = [SEPARATOR.join(numbered[one] for one in cell.split(SEPARATOR)) if numbers and cell else cell
                 for cell in part[task.name]]
        if len(part):
            texts[f"{split}.{suffix}"] = "".join(line(path, cell, separator)
                                                 for path, cell in zip(part["path"], cells, strict=True))
    return texts


def line(path: str, label: str, separator: Separator) -> str:
    """One line of a list; UserError where it could not be read back.

    >>> line("a b.jpg", "cat", "space"), line("=1.jpg", "", "comma")
    ('a b.jpg cat\\n', './=1.jpg,\\n')
    """
    path, sign = harmless(path), SEPARATORS[separator]
    if separator == "comma":
        return csv_line([path, label])
    refuse_lines([path, label], "line")
    if sign in label or label != label.strip():
        raise UserError(f"the label {shown(label)} of {path} holds what parts a path from its label",
                        "write numbers in its place (--numbers), or choose another --separator")
    return f"{path}{sign}{label}\n"


def refuse_lines(texts: Iterable[str], what: str) -> None:
    """UserError for a text that takes more than one line."""
    bad = [text for text in texts if "\n" in text or "\r" in text]
    if bad:
        raise UserError(f"the {what} {shown(bad[0])} does not fit in a line", "rename it, or use --separator comma")


def harmless(path: str) -> str:
    """A path in a spelling that neither a spreadsheet nor a program takes for something else.

    >>> harmless("=1+1.jpg"), harmless("images/1.jpg")
    ('./=1+1.jpg', 'images/1.jpg')
    """
    return f"./{path}" if path.startswith((*FORMULA, '"', "\ufeff")) else path


def csv_line(cells: Sequence[str]) -> str:
    """Cells as a line of CSV."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()


def manifest_text(rows: pd.DataFrame, tasks: Sequence[Task]) -> str:
    """A manifest of rows with sha256: path, sha256, split, what else is known, and a column a task."""
    known = [name for name in OPTIONAL if name in rows and rows[name].notna().any()]
    columns = ["path", "sha256", "split", *known, *(task.name for task in tasks)]
    return csv_line(columns) + "".join(manifest_lines(rows, columns))


def manifest_lines(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Rows as lines under some columns; "" for what a row does not know."""
    cells = [["" if pd.isna(value) else str(value) for value in rows[name]] if name in rows else [""] * len(rows)
             for name in columns]
    return [csv_line([harmless(row[0]), *row[1:]] if columns[0] == "path" else list(row))
            for row in zip(*cells, strict=True)]


def extended(manifest: Path, rows: pd.DataFrame, notes: list[str]) -> str:
    """The text of a manifest with those rows behind it whose path and content it lacks; what is there stays as it is.

    rows: path, sha256, and a column a task; they get no split. What is known already, or has changed, is noted.
    """
    old = read_csv(manifest, ",")
    lacking = [name for name in ("path", "sha256") if name not in old]
    if lacking:
        raise UserError(f"{manifest} has no column {lacking[0]}", "write it again: stillhouse lists --manifest")
    known = {path.removeprefix("./"): digest for path, digest in zip(old["path"], old["sha256"], strict=True)}
    contents = set(known.values())
    changed = [path for path, digest in zip(rows["path"], rows["sha256"], strict=True)
               if known.get(path, digest) != digest]
    new = rows[[path not in known for path in rows["path"]]]
    copies = new["sha256"].isin(contents) | new["sha256"].duplicated()
    if changed:
        notes.append(f"{len(changed)} files are not what the manifest says, whose rows stay: {listed(changed)}")
    if copies.any():
        notes.append(f"{int(copies.sum())} files are copies of others and are left out: {listed(new['path'][copies])}")
    columns = [str(name) for name in old.columns]
    strange = [name for name in rows.columns if name not in (*columns, "split", "sha256_given", *OPTIONAL)]
    if strange:
        notes.append(f"the manifest has no column for {listed(strange)}: left out")
    added = manifest_lines(new[~copies].assign(split=""), columns)
    notes.append(f"{len(added)} rows are new, {len(known)} stay")
    text = manifest.read_bytes().decode("utf-8")
    return text + ("" if text.endswith("\n") else "\n") + "".join(added)


def digests(root: Path, paths: Sequence[str]) -> list[str]:
    """SHA-256 of every file, several read at once; UserError for one that cannot be read."""
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:  # hashlib releases the GIL
            return list(pool.map(file_digest, (root / path for path in paths)))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}",
                        "mend or remove it: stillhouse validate names all such files") from None
