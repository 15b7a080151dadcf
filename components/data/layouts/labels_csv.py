"""The layout labels.csv: a table with a row an image and a column a task."""

import csv
import io
from collections import Counter
from pathlib import Path

import pandas as pd

from components.data.files import listed, root_of
from components.data.layouts.found import Found
from components.data.layouts.table import Table, labelled, strangers
from components.data.settings import Data
from components.errors import UserError
from components.settings import shown

NAME = "labels.csv"


def recognised(root: Path) -> bool:
    """Whether labels.csv is there."""
    return (root / NAME).is_file()


def read(root: Path, data: Data) -> Found:
    """Every row of the table that has a split or none yet, checked against the files."""
    notes: list[str] = []
    table = Table(read_csv(root / NAME, ","), root / NAME)
    files = root_of(root, data.root)
    every = labelled(table, data, files, notes)
    paths = table.cells[data.columns.get("path", "path")]
    refuse_strangers(files, root / NAME, paths, notes)
    return Found(every, notes)


def read_csv(path: Path, separator: str) -> pd.DataFrame:
    """The cells of a CSV file as text; UserError where it is not UTF-8 or a row has another length than the head."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        head, *rows = [row for row in lines if row]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path} is not well-formed CSV: {error}", "quote cells that hold commas or quotes") from None
    except ValueError:
        raise UserError(f"{path} is empty; expected a head line with path, split and a column a task",
                        "write the table, one row an image") from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise UserError(f"{path}, row {number}: {len(row)} cells, the head has {len(head)}: "
                            f"{shown(separator.join(row))}",
                            "quote cells that hold commas, and write every cell, empty where there is nothing to say")
    twice = [name for name, count in Counter(head).items() if count > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]} stands there twice", "remove or rename one")
    return pd.DataFrame(rows, columns=head, dtype=object)


def refuse_strangers(root: Path, origin: Path, paths: "pd.Series[str]", notes: list[str]) -> None:
    """UserError where an image below the folder has no row."""
    known = [Path(path).as_posix() for path in paths]
    found = strangers(root, known, notes)
    if found:
        raise UserError(f"{origin}: {len(found)} images of the folder have no row: {listed(found)}",
                        "add rows for them (any split but train, val, test leaves them out), or move them away")
