"""A manifest: one file that names every image with its split and labels, so that no folder is walked.

Its columns are those of labels.csv, and sha256 where it likes. The table that `validate` writes is read as well.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from components.data.files import root_of
from components.data.layouts.found import FIXED, RESERVED, SEPARATOR, Found
from components.data.layouts.labels_csv import read_csv
from components.data.layouts.table import Table, labelled
from components.data.settings import Data
from components.errors import UserError, shown


def recognised(source: Path) -> bool:
    """Whether a file with the suffix of a table is there."""
    return source.is_file() and source.suffix.lower() in READERS


def read(source: Path, data: Data) -> Found:
    """Every row of the manifest that has a split or none yet; its files are looked for below data.root."""
    notes: list[str] = []
    table = READERS[source.suffix.lower()](source)
    cells = kept(table.cells, source, notes)
    if "sha256" in cells and "sha256" not in data.columns:
        cells = cells.rename(columns={"sha256": "sha256_given"})
    taken = {*data.tasks, *data.columns.values(), *FIXED}
    ours = [name for name in cells.columns if name in RESERVED and name not in taken]
    if ours:
        notes.append(f"columns of {source.name} that `validate` measures itself are left out: {', '.join(ours)}")
    table = Table(cells.drop(columns=ours), source, table.first)
    return Found(labelled(table, data, root_of(source, data.root), notes), notes)


def kept(cells: pd.DataFrame, source: Path, notes: list[str]) -> pd.DataFrame:
    """The rows that no earlier validation has left out."""
    if "verdict" not in cells:
        return cells
    fit = cells["verdict"].isin(["ok", ""])
    if not fit.all():
        notes.append(f"{int((~fit).sum())} rows of {source.name} whose verdict is not ok are left out")
    return cells[fit].reset_index(drop=True)


def read_jsonl(path: Path) -> Table:
    """The objects of a JSON Lines file, a row each; UserError names the line that is none."""
    rows = []
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number} is not JSON: {error}", "write one object a line") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number} is {shown(row)}", "write one object a line")
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = {name: [text(row.get(name), path) for row in rows] for name in names}
    return Table(filled(values, path), path, 1)


def read_parquet(path: Path) -> Table:
    """The rows of a Parquet file; UserError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is no Parquet file: {' '.join(str(error).split())[:120]}", "write it again") from None
    wanted = [name for name in table.column_names if name not in RESERVED or name in (*FIXED, "sha256", "verdict")]
    return Table(filled({name: [text(value, path) for value in table[name].to_pylist()] for name in wanted}, path),
                 path, 1)


def filled(values: dict[str, list[str]], path: Path) -> pd.DataFrame:
    """Columns as a table; UserError where there is no row."""
    if not any(values.values()):
        raise UserError(f"{path} has no row; expected path, split and a column a task", "write one row an image")
    return pd.DataFrame(values, dtype=object)


def text(value: Any, path: Path) -> str:
    """A value as a cell holds it: nothing for null, labels of a list joined.

    >>> text(["a", "b"], Path()), text(None, Path()), text(3, Path()), text(float("nan"), Path())
    ('a|b', '', '3', '')
    """
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, list):
        return SEPARATOR.join(text(one, path) for one in value)
    if isinstance(value, dict | bytes):
        raise UserError(f"{path} holds {shown(value)}; expected text, numbers, or lists of them", "write it as text")
    return str(value).lower() if isinstance(value, bool) else str(value)


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": lambda path: Table(read_csv(path, ","), path),
    ".tsv": lambda path: Table(read_csv(path, "\t"), path),
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
