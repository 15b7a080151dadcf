"""The page that shows what `validate` found: one file that needs nothing else, readable on a phone."""

import base64
import io
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from components.data.contents import content_of
from components.data.dataset import SPLITS
from components.data.decoding import MAX_PIXELS, UPRIGHT, Undecodable, attempt, orientation_of, to_rgb
from components.data.fingerprints import MOST_SIGNS, SAME, SIGNS, similarity
from components.data.reading import Listing, labels_of
from components.data.tasks import Task
from components.data.verdicts import MEANING, REASONS, Policies, Reason
from components.pages.rendering import rendered

SIDE = 160
SHOWN = {"left_out": 48, "ok": 16}  # cards of a reason, by what becomes of its files
BINS = 24
NEAR = f"Judged by brightness alone: similarity at least {SAME}, and at most {MOST_SIGNS} of {SIGNS} signs differ."
RULES: dict[Reason, str] = {
    "bomb": f"More than {MAX_PIXELS:,} pixels, or more than {{memory_mb}} MiB (validate.memory_mb).",
    "timeout": "Longer than {seconds:g} s (validate.seconds).",
    "too_small": "A side of fewer than {short_side} pixels (validate.thresholds.short_side).",
    "extreme_aspect": "The long side more than {aspect:g} times the short one (validate.thresholds.aspect).",
    "near_uniform": "Standard deviation of luma below {contrast:g} (validate.thresholds.contrast).",
    "dark": "Mean luma plus twice its standard deviation below {dark:g} (validate.thresholds.dark).",
    "bright": "Mean luma less twice its standard deviation above {bright:g} (validate.thresholds.bright).",
    "blurred": "Sharpness below {sharpness:g} (validate.thresholds.sharpness).",
    "low_information": "Entropy below {entropy:g} bits a pixel (validate.thresholds.entropy).",
    "near_duplicate": NEAR, "near_leak": NEAR, "near_conflict": NEAR,
}
# What the small diagrams show, with its unit; the first two on an axis of factors.
DIAGRAMS = {"short side": "pixels", "width to height": "", "brightness": "", "contrast": "", "sharpness": "",
            "entropy": "bits"}
FACTORS = ("short side", "width to height")


@dataclass(frozen=True)
class Card:
    """One finding as the page shows it.

    pictures: data URI or "", path, and in words the place, of the file and of its copy. otherwise: the reason for which
    the file is left out, else "".
    """

    pictures: list[tuple[str, str, str]]
    labels: str
    detail: str
    facts: str
    otherwise: str


@dataclass(frozen=True)
class Group:
    """The findings of one reason: how many, by what rule, what became of them, and the first of them."""

    reason: Reason
    meaning: str
    rule: str
    policy: str
    kept: bool
    count: int
    cards: list[Card]


@dataclass(frozen=True)
class Diagram:
    """How a figure is spread: heights of bars in shares of the highest, its ends, and where most files are."""

    name: str
    unit: str
    heights: list[float]
    low: str
    high: str
    said: str


def page(root: Path, rows: pd.DataFrame, findings: pd.DataFrame, listing: Listing, policies: Policies,
         head: Mapping[str, Any]) -> str:
    """The whole page as HTML.

    rows: the manifest of all files. findings: path, reason, detail and peer of every finding. head: of validation.json.
    Files are read again for the thumbnails that are shown, and only such as were decoded before.
    """
    found = {reason: findings[findings["reason"] == reason] for reason in REASONS}
    gallery = Gallery(root, rows, listing.tasks)
    groups = [group(gallery, some, reason, policies, head) for reason, some in found.items() if len(some)]
    splits = [split for split in (*SPLITS, "") if (rows["split"] == split).any()]
    return rendered(Path(__file__).with_name("findings.html"), {
        "total": len(rows), "kept": int((rows["verdict"] == "ok").sum()), "layout": listing.layout,
        "notes": listing.notes, "groups": sorted(groups, key=lambda one: one.kept),
        "clean": [one for one, some in found.items() if not len(some)], "leaks": head["leaks"],
        "diagrams": diagrams(rows), "splits": splits,
        "tables": [class_table(rows, task, splits) for task in listing.tasks]})


@dataclass(frozen=True)
class Gallery:
    """Files by path, with what is known of them."""

    root: Path
    rows: pd.DataFrame
    tasks: tuple[Task, ...]

    @cached_property
    def place(self) -> dict[str, int]:
        """The row of every path."""
        return {path: number for number, path in enumerate(self.rows["path"])}

    def row(self, path: str) -> pd.Series:
        """What the manifest says of a file."""
        return self.rows.iloc[self.place[path]]

    def picture(self, path: str, words: str = "") -> tuple[str, str, str]:
        """Data URI, path, and split with words behind it; no picture of what did not decode within its limits."""
        row = self.row(path)
        place = row["split"] or "no split yet"
        return thumbnail(self.root / path) if row["width"] else "", path, place + words


def group(gallery: Gallery, found: pd.DataFrame, reason: Reason, policies: Policies, head: Mapping[str, Any]) -> Group:
    """The findings of one reason."""
    kept = policies.keeps(reason)
    first = found.head(SHOWN["ok" if kept else "left_out"])
    cards = [card(gallery, finding) for finding in first.to_dict("records")]
    limits = head["thresholds"] | {"seconds": head["seconds"], "memory_mb": head["memory_mb"]}
    return Group(reason, MEANING[reason], RULES.get(reason, "").format(**limits), policies.of(reason), kept, len(found),
                 cards)


def card(gallery: Gallery, finding: Mapping[Hashable, str]) -> Card:
    """One finding, beside it the file that it is a copy of."""
    row, peer = gallery.row(finding["path"]), finding["peer"]
    pictures = [gallery.picture(finding["path"])]
    labels = ", ".join(f"{task.name}: {row[task.name]}" for task in gallery.tasks if row[task.name])
    facts = [f"{row['width']} × {row['height']} {row['mode']} {row['format']}"] if row["width"] else []
    facts.append(f"{row['bytes']:,} bytes")
    if peer:
        other = gallery.row(peer)
        counts = "" if "conflict" in finding["reason"] else ", the copy that counts"
        pictures.append(gallery.picture(peer, ", left out" if other["reason"] else counts))
        if other["sha256"] != row["sha256"]:
            facts.append(f"similarity {similarity(row['fingerprint'], other['fingerprint']):.3f}")
    return Card(pictures, labels, finding["detail"], ", ".join(facts), row["reason"])


def thumbnail(path: Path) -> str:
    """A small JPEG of an image as a data URI; "" where it cannot be decoded any more."""
    try:
        image = attempt(content_of(str(path)), _shrunk)
    except Undecodable:
        return ""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _shrunk(opened: Image.Image) -> Image.Image:
    if opened.mode in ("L", "RGB"):
        opened.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)  # a JPEG is decoded at a scale
    small = to_rgb(opened)
    turned = UPRIGHT.get(orientation_of(opened))
    small.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return small.transpose(turned) if turned is not None else small


def diagrams(rows: pd.DataFrame) -> list[Diagram]:
    """How sizes and figures of all decodable images are spread."""
    seen = rows[rows["width"] > 0]
    if not len(seen):
        return []
    sides = seen[["width", "height"]].to_numpy(np.float64)
    values = {"short side": sides.min(axis=1), "width to height": sides[:, 0] / sides[:, 1]}
    values |= {name: seen[name].to_numpy(np.float64) for name in DIAGRAMS if name not in FACTORS}
    return [diagram(name, numbers[np.isfinite(numbers)]) for name, numbers in values.items()
            if np.isfinite(numbers).any()]


def diagram(name: str, values: NDArray[np.float64]) -> Diagram:
    """A histogram of some finite values, at least one."""
    axis = np.log(values) if name in FACTORS else values
    low, high = float(axis.min()), float(axis.max())
    counts, _ = np.histogram(axis, BINS, (low, high) if high > low else (low - 0.5, high + 0.5))
    heights = (counts / counts.max()).round(4).tolist()
    least, few, middle, many, most = (f"{value:.3g}" if value < 100 else f"{value:.0f}"
                                      for value in np.quantile(values, [0, 0.05, 0.5, 0.95, 1]))
    return Diagram(name, DIAGRAMS[name], heights, least, most, f"median {middle}, nine of ten from {few} to {many}")


def class_table(rows: pd.DataFrame, task: Task, splits: Sequence[str]) -> dict[str, Any]:
    """How many images of each class every split keeps, and how many have no label for the task."""
    kept = rows[rows["verdict"] == "ok"]
    counts = Counter((split, label) for split, cell in zip(kept["split"], kept[task.name], strict=True)
                     for label in labels_of(cell, task.kind) or [""])
    lines = [(name, [counts[split, name] for split in splits]) for name in task.classes]
    return {"task": task, "lines": lines, "unlabelled": [counts[split, ""] for split in splits],
            "most": max(1, *(sum(numbers) for _, numbers in lines))}
