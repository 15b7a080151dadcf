"""What tables of images have in common: columns that are tasks, paths that can be trusted, splits and weights."""

import math
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import has_image_suffix, images, listed, other_spelling, walk
from components.data.layouts.found import FIXED, RESERVED, refuse_task_name, split_of
from components.data.settings import Data
from components.errors import UserError
from components.settings import near, shown


@dataclass(frozen=True)
class Table:
    """The cells of a table as text, the file that it was read from, and the number of its first row there."""

    cells: pd.DataFrame
    origin: Path
    first: int = 2

    def numbered(self, column: str) -> "enumerate[str]":
        """The cells of a column with their row numbers in the file."""
        return enumerate(self.cells[column], self.first)


def labelled(table: Table, data: Data, root: Path, notes: list[str]) -> pd.DataFrame:
    """The rows of a table with the columns that are known or tasks, checked, those of no split left out."""
    table = Table(renamed(table, data), table.origin, table.first)
    tasks = task_columns(table, data, notes)
    rows = table.cells[[name for name in (*FIXED, *tasks) if name in table.cells]].copy()
    rows["path"] = checked_paths(table, root)
    if "weight" in rows:
        rows["weight"] = [weight(table.origin, line, value) for line, value in table.numbered("weight")]
    if "sha256_given" in rows:
        rows["sha256_given"] = [digest(table.origin, line, value) for line, value in table.numbered("sha256_given")]
    for task in tasks:
        rows[task] = rows[task].str.strip()
    return with_split(rows, table.origin, notes)


def renamed(table: Table, data: Data) -> pd.DataFrame:
    """The cells under our own column names; UserError where data.columns names a column that is not there."""
    cells, origin = table.cells, table.origin
    names = {theirs: "sha256_given" if ours == "sha256" else ours for ours, theirs in data.columns.items()}
    for theirs, ours in names.items():
        if theirs not in cells:
            raise UserError(f"params.yaml: data.columns has {theirs} for {ours}, but {origin} has no such column."
                            f"{near(theirs, cells.columns)}", f"its columns: {', '.join(cells.columns)}")
        if ours != theirs and ours in cells:
            raise UserError(f"params.yaml: data.columns.{ours} is {theirs}, but {origin} has a column {ours} as well",
                            "rename one of them in the file, or leave the setting out")
    cells = cells.rename(columns=names)
    if "path" not in cells:
        raise UserError(f"{origin} has no column path; it has {', '.join(cells.columns)}",
                        "add it, or name the column that stands for it: data.columns: {path: THAT}")
    return cells


def task_columns(table: Table, data: Data, notes: list[str]) -> list[str]:
    """The columns that are tasks; UserError for one that is missing or badly named."""
    others = [name for name in table.cells.columns if name not in FIXED]
    for name in data.tasks:
        if name not in others and name not in RESERVED:
            raise UserError(f"params.yaml: data.tasks.{name}: {table.origin} has no such column.{near(name, others)}",
                            f"columns that can be tasks: {', '.join(others)}")
    tasks = list(data.tasks) or others
    for name in tasks:
        refuse_task_name(name, table.origin)
    if not tasks:
        raise UserError(f"{table.origin} has no column of labels; it has {', '.join(table.cells.columns)}",
                        "add a column a task")
    left = [name for name in others if name not in tasks]
    if left:
        notes.append(f"columns of {table.origin.name} that data.tasks does not name are left out: {', '.join(left)}")
    return tasks


def checked_paths(table: Table, root: Path) -> list[str]:
    """Paths in one spelling; UserError for one that leaves the folder, stands there twice or names nothing."""
    names: list[str] = []
    for line, path in table.numbered("path"):
        name = posixpath.normpath(path) if path else ""
        if not name or name.startswith(("/", "../")) or name in (".", "..") or "\0" in path or ".." in path.split("/"):
            raise UserError(f"{table.origin}, row {line}: path {shown(path)} is not below {root}",
                            f"write paths relative to {root}, without ..")
        names.append(name)
    refuse_repeated(names, table.origin)
    missing = [name for name in names if not (root / name).exists() and not (root / name).is_symlink()]
    if missing:
        hint = other_spelling(missing[0], lambda path: (root / path).exists())
        more = f"; {shown(missing[0])} is not{hint}" if hint else ""
        raise UserError(f"{table.origin}: {len(missing)} of {len(names)} files are not there: {listed(missing)}{more}",
                        f"put them below {root}, remove their rows, or set data.root to the folder that they are in")
    return names


def refuse_repeated(names: Sequence[str], origin: Path) -> None:
    """UserError where a path stands in a file more than once."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{origin}: {len(twice)} entries stand there more than once: {listed(twice)}", "keep one each")


def strangers(root: Path, known: Sequence[str], notes: list[str]) -> list[str]:
    """The images below a folder that are not known; what could not be looked into is noted."""
    tree = walk(root)
    notes += tree.notes
    return sorted(set(images(root, filter(has_image_suffix, tree.files), notes)).difference(known))


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


def digest(origin: Path, line: int, cell: str) -> str:
    """The SHA-256 that a cell gives, in small letters; UserError for what is none."""
    value = cell.strip().lower()
    if value and (len(value) != 64 or set(value) - set("0123456789abcdef")):
        raise UserError(f"{origin}, row {line}: sha256 is {shown(cell)}; expected 64 hexadecimal digits",
                        "correct it, or leave the cell empty")
    return value


def with_split(rows: pd.DataFrame, origin: Path, notes: list[str]) -> pd.DataFrame:
    """The rows of train, val, test and of no split yet, in the spelling of ours; others are left out."""
    if "split" not in rows:
        return rows.assign(split="")
    given = rows["split"].str.strip()
    ours = [split_of(name) for name in given]
    spelt = {name: split for name, split in zip(given, ours, strict=True) if split and name != split}
    notes += [f"split {shown(name)} of {origin.name} is read as {split}" for name, split in sorted(spelt.items())]
    known = (given == "") | (pd.Series(ours, index=rows.index) != "")
    if not known.all():
        counts = Counter(given[~known])
        named = ", ".join(f"{count} of split {shown(name)}" for name, count in sorted(counts.items()))
        notes.append(f"rows of {origin.name} whose split is not one of {', '.join(SPLITS)} are left out: {named}")
    return rows.assign(split=ours)[known]
