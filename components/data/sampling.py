"""The embedded data set as a folder: the garment that each image shows, its labels and its faults."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from components.data.chance import generator
from components.data.drawing import Picture, garment, picture
from components.data.pool import ordered
from components.data.silhouettes import CATEGORIES
from components.progress import progress

# Splits of the successive garments of one kind: 14 of 20 train, 3 val, 3 test, and all three among the first three.
PATTERN = ("train", "val", "test", "train", "train", "train", "train", "train", "val", "train",
           "train", "test", "train", "train", "train", "train", "val", "train", "train", "test")
COLUMNS = ("path", "split", "category", "colour", "pattern", "identity", "camera")


@dataclass(frozen=True)
class Plan:
    """What to draw: the values of the `sample` section."""

    seed: int
    count: int
    size: int
    pictures: int
    unlabelled: float
    faults: dict[str, int]


@dataclass(frozen=True)
class Row:
    """One row of labels.csv."""

    path: str
    split: str
    category: str
    colour: str
    pattern: str
    identity: str
    camera: str


def draw_all(plan: Plan, folder: Path, processes: int) -> None:
    """Write images/, labels.csv and faults.json; the same bytes for any number of processes."""
    (folder / "images").mkdir(parents=True)
    planted = plant(plan)
    work = partial(draw_one, plan, folder, planted)
    drawn = progress(ordered(work, range(plan.count), processes), plan.count, "drawing")
    rows = list(drawn)
    copies = list(copied(plan, rows, planted, folder))
    write_labels(folder / "labels.csv", [*rows, *(row for row, _ in copies)])
    report = [fault(rows[item], kind) for item, kind in sorted(planted.items()) if kind != "duplicated"]
    report += [fault(row, "duplicated") | {"of": original} for row, original in copies]
    truth = {row.path: garment(plan.seed, item // plan.pictures).category for item, row in enumerate(rows)}
    report = [entry | ({"true": truth[entry["path"]]} if entry["fault"] == "mislabelled" else {}) for entry in report]
    text = json.dumps(report, sort_keys=True, indent=1, allow_nan=False) + "\n"
    (folder / "faults.json").write_text(text, encoding="utf-8")


def plant(plan: Plan) -> dict[int, str]:
    """Which item gets which fault; duplicates are of items outside train."""
    order = [int(item) for item in generator(plan.seed, "sample.faults").permutation(plan.count)]
    planted: dict[int, str] = {}
    for kind, number in sorted(plan.faults.items()):
        free = (item for item in order if item not in planted)
        fit = (item for item in free if kind != "duplicated" or split_of(plan, item) != "train")
        planted |= dict.fromkeys(islice(fit, number), kind)
    return planted


def split_of(plan: Plan, item: int) -> str:
    """The split of an item: that of its garment, so that no identity is torn."""
    return PATTERN[item // plan.pictures // len(CATEGORIES) % len(PATTERN)]


def draw_one(plan: Plan, folder: Path, planted: dict[int, str], item: int) -> Row:
    """Write the file of an item and return its row."""
    number = item // plan.pictures
    taken = picture(plan.seed, item, number, plan.size)
    kind = planted.get(item, "")
    path = f"images/{item:05d}{suffix(taken, kind == 'wrong_extension')}"
    (folder / path).write_bytes(damaged(taken.content, kind))
    worn, draw = garment(plan.seed, number), generator(plan.seed, "sample.labels", item)
    pattern = worn.pattern if draw.uniform() >= plan.unlabelled else ""
    others = [name for name in CATEGORIES if name != worn.category]
    category = str(draw.choice(others)) if kind == "mislabelled" else worn.category
    return Row(path, split_of(plan, item), category, worn.colour, pattern, f"garment-{number:04d}", taken.camera)


def suffix(taken: Picture, wrong: bool) -> str:
    """The suffix of a file, or the other one."""
    return ".png" if (taken.format == "PNG") != wrong else ".jpg"


def damaged(content: bytes, kind: str) -> bytes:
    """The bytes of a file as its fault leaves them."""
    if kind == "empty":
        return b""
    return content[: len(content) * 6 // 10] if kind == "truncated" else content


def copied(plan: Plan, rows: list[Row], planted: dict[int, str], folder: Path) -> Iterator[tuple[Row, str]]:
    """Put copies of files into train; their rows, and the paths that they were copied from."""
    items = sorted(item for item, kind in planted.items() if kind == "duplicated")
    for place, item in enumerate(items):
        path = f"images/{plan.count + place:05d}{Path(rows[item].path).suffix}"
        (folder / path).write_bytes((folder / rows[item].path).read_bytes())
        yield replace(rows[item], path=path, split="train"), rows[item].path


def fault(row: Row, kind: str) -> dict[str, Any]:
    """One entry of faults.json."""
    return {"path": row.path, "fault": kind}


def write_labels(path: Path, rows: Iterable[Row]) -> None:
    """Write labels.csv."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
