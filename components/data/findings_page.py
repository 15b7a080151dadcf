"""The page that shows what `validate` found: one file that needs nothing else, readable on a phone."""

import base64
import io
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from components.data.dataset import SPLITS
from components.data.decoding import Undecodable, decode
from components.data.reading import Listing, labels_of
from components.data.tasks import Task
from components.data.verdicts import MEANING, REASONS, Policies, Reason

SIDE = 160
SHOWN = 48


@dataclass(frozen=True)
class Card:
    """One finding as the page shows it. pictures: (data URI or "", path, split) of the file and of its copy."""

    pictures: list[tuple[str, str, str]]
    labels: str
    detail: str
    facts: str


@dataclass(frozen=True)
class Group:
    """The findings of one reason: how many, what became of them, and the first of them."""

    reason: Reason
    meaning: str
    fate: str
    count: int
    cards: list[Card]


def page(root: Path, rows: pd.DataFrame, listing: Listing, policies: Policies) -> str:
    """The whole page as HTML. rows: the listing's with a column for everything that was found, and the verdict."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = set(rows["reason"])
    environment = Environment(loader=PackageLoader("components.data", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("findings.html").render(
        total=len(rows), kept=int((rows["verdict"] == "ok").sum()), layout=listing.layout, notes=listing.notes,
        groups=[group(root, rows, listing.tasks, reason, policies) for reason in REASONS if reason in found],
        clean=[reason for reason in REASONS if reason not in found],
        splits=SPLITS, tables=[class_table(rows, task) for task in listing.tasks],
    ) + "\n"


def group(root: Path, rows: pd.DataFrame, tasks: Sequence[Task], reason: Reason, policies: Policies) -> Group:
    """The findings of one reason."""
    found = rows[rows["reason"] == reason].to_dict("records")
    split_of = dict(zip(rows["path"], rows["split"], strict=True))
    cards = [card(root, row, split_of, tasks) for row in found[:SHOWN]]
    fate = "kept" if policies.keeps(reason) else "left out"
    return Group(reason, MEANING[reason], fate, len(found), cards)


def card(root: Path, row: Mapping[Hashable, Any], split_of: dict[str, str], tasks: Sequence[Task]) -> Card:
    """One finding, beside it the file that it is a copy of."""
    paths = [row["path"]] + ([row["peer"]] if row["peer"] else [])
    pictures = [(thumbnail(root / path), path, split_of[path]) for path in paths]
    labels = ", ".join(f"{task.name}: {row[task.name]}" for task in tasks if row[task.name])
    size = f"{row['width']} × {row['height']} {row['mode']}, " if row["width"] else ""
    return Card(pictures, labels, row["detail"], f"{size}{row['bytes']:,} bytes")


def thumbnail(path: Path) -> str:
    """A small JPEG of an image as a data URI; "" where it cannot be decoded any more."""
    try:
        image = decode(path.read_bytes())
    except (OSError, Undecodable):
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def class_table(rows: pd.DataFrame, task: Task) -> dict[str, Any]:
    """How many images of each class every split keeps, and how many have no label for the task."""
    kept = rows[rows["verdict"] == "ok"]
    counts = Counter((split, label) for split, cell in zip(kept["split"], kept[task.name], strict=True)
                     for label in labels_of(cell, task.kind) or [""])
    lines = [(name, [counts[split, name] for split in SPLITS]) for name in task.classes]
    return {"task": task, "lines": lines, "unlabelled": [counts[split, ""] for split in SPLITS],
            "most": max(sum(numbers) for _, numbers in lines)}
