"""The layout labels.csv: a table with a row an image and a column a task."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import image_files, listed, visible
from components.data.settings import Data
from components.errors import UserError
from components.settings import near, shown

NAME = "labels.csv"
FIXED = ("path", "split", "identity", "camera", "group", "weight")
# Names of columns that later artifacts have, and that no task can therefore have.
RESERVED = frozenset((*FIXED, "id", "sha256", "bytes", "width", "height", "mode", "verdict", "reason", "keypoints"))


def recognised(root: Path) -> bool:
    """Whether labels.csv is there."""
    return (root / NAME).is_file()


def read(root: Path, data: Data) -> tuple[pd.DataFrame, list[str]]:
    """Every row of the table that has a split, checked against the files, and what was left out, in words."""
    table = read_table(root / NAME)
    notes: list[str] = []
    table = renamed(table, root / NAME, data)
    tasks = task_columns(table, root / NAME, data, notes)
    table = table[[name for name in (*FIXED, *tasks) if name in table]]
    table["path"] = checked_paths(root, table["path"])
    refuse_strangers(root, table["path"], notes)
    if "weight" in table:
        table["weight"] = [weight(root / NAME, line, value) for line, value in enumerate(table["weight"], 2)]
    for task in tasks:
        table[task] = table[task].str.strip()
    return with_split(table, root / NAME, notes), notes


def read_table(path: Path) -> pd.DataFrame:
    """The cells of a CSV file as text; UserError where it is not UTF-8 or a row has another length than the head."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        head, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path} is not well-formed CSV: {error}", "quote cells that hold commas or quotes") from None
    except ValueError:
        raise UserError(f"{path} is empty; expected a head line with path, split and a column a task",
                        "write the table, one row an image") from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise UserError(f"{path}, row {number}: {len(row)} cells, the head has {len(head)}: {shown(','.join(row))}",
                            "quote cells that hold commas, and write every cell, empty where there is nothing to say")
    twice = [name for name, count in Counter(head).items() if count > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]} stands there twice", "remove or rename one")
    return pd.DataFrame(rows, columns=head, dtype=object)


def renamed(table: pd.DataFrame, origin: Path, data: Data) -> pd.DataFrame:
    """The table under our own column names; UserError where data.columns names a column that is not there."""
    for ours, theirs in data.columns.items():
        if theirs not in table:
            raise UserError(f"params.yaml: data.columns.{ours} is {theirs}, but {origin} has no such column."
                            f"{near(theirs, table.columns)}", f"its columns: {', '.join(table.columns)}")
        if ours != theirs and ours in table:
            raise UserError(f"params.yaml: data.columns.{ours} is {theirs}, but {origin} has a column {ours} as well",
                            "rename one of them in the file, or leave the setting out")
    table = table.rename(columns={theirs: ours for ours, theirs in data.columns.items()})
    for name in ("path", "split"):
        if name not in table:
            raise UserError(f"{origin} has no column {name}; it has {', '.join(table.columns)}",
                            f"add it, or name the column that stands for it: data.columns: {{{name}: THAT}}")
    return table


def task_columns(table: pd.DataFrame, origin: Path, data: Data, notes: list[str]) -> list[str]:
    """The columns that are tasks; UserError for one that is missing or badly named."""
    others = [name for name in table.columns if name not in FIXED]
    for name in data.tasks:
        if name not in others and name not in RESERVED:
            raise UserError(f"params.yaml: data.tasks.{name}: {origin} has no such column.{near(name, others)}",
                            f"columns that can be tasks: {', '.join(others)}")
    tasks = list(data.tasks) or others
    for name in tasks:
        if name in RESERVED or not name.isidentifier():
            why = "is a name of our own columns" if name in RESERVED else "is no usable task name"
            raise UserError(f"{origin}: column {shown(name)} {why}",
                            "rename it with letters, digits and underscores, or list the tasks to read in data.tasks")
    if not tasks:
        raise UserError(f"{origin} has no column of labels; it has {', '.join(table.columns)}", "add a column a task")
    left = [name for name in others if name not in tasks]
    if left:
        notes.append(f"columns of {NAME} that data.tasks does not name are left out: {', '.join(left)}")
    return tasks


def checked_paths(root: Path, paths: Iterable[str]) -> list[str]:
    """Paths in one spelling; UserError for one that leaves the folder, stands there twice or names no file."""
    names: list[str] = []
    for line, path in enumerate(paths, 2):
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise UserError(f"{root / NAME}, row {line}: path {shown(path)} is not below {root}",
                            "write paths relative to the folder that labels.csv is in, without ..")
        names.append(str(pure))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{root / NAME}: {len(twice)} paths stand there more than once: {listed(twice)}",
                        "keep one row each")
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise UserError(f"{root / NAME}: {len(missing)} labelled files are not there: {listed(missing)}",
                        f"put them below {root}, or remove their rows")
    return names


def refuse_strangers(root: Path, paths: Iterable[str], notes: list[str]) -> None:
    """UserError where an image below the folder has no row."""
    strangers = set(image_files(root, [p for p in visible(root, deep=True) if has_image_suffix(p)], notes)) - set(paths)
    if strangers:
        raise UserError(f"{root / NAME}: {len(strangers)} images of the folder have no row: {listed(strangers)}",
                        "add rows for them (any split but train, val, test leaves them out), or move them away")


def has_image_suffix(path: Path) -> bool:
    """Whether the name is that of an image."""
    from components.data.decoding import IMAGE_SUFFIXES

    return path.suffix.lower() in IMAGE_SUFFIXES


def weight(origin: Path, line: int, cell: str) -> float:
    """The weight that a cell gives, NaN for an empty one; UserError for what is no weight."""
    try:
        value = float(cell) if cell.strip() else math.nan
    except ValueError:
        value = -1.0
    if value < 0 or math.isinf(value) or (math.isnan(value) and cell.strip()):
        raise UserError(f"{origin}, row {line}: weight is {shown(cell)}; expected a finite number of at least 0",
                        "correct it, or leave the cell empty for 1")
    return value


def with_split(table: pd.DataFrame, origin: Path, notes: list[str]) -> pd.DataFrame:
    """The rows of train, val and test, in that order; UserError for a split without rows."""
    known = table["split"].isin(SPLITS)
    if not known.all():
        counts = Counter(table.loc[~known, "split"])
        named = ", ".join(f"{count} of split {shown(name)}" for name, count in sorted(counts.items()))
        notes.append(f"rows of {NAME} whose split is not one of {', '.join(SPLITS)} are left out: {named}")
    table = table[known]
    for split in SPLITS:
        if not (table["split"] == split).any():
            raise UserError(f"{origin} has no row with split {split}; expected some of each of {', '.join(SPLITS)}",
                            "give some rows that split; identities and groups should not be torn between splits")
    return table
