"""A first look at images: how they are arranged, what they are labelled, and whether some of them can be read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from components.data.settings import Data

if TYPE_CHECKING:
    import pandas as pd

    from components.data.tasks import Task

SAMPLE = 64
SHOWN = 8  # classes of a task


def look(source: Path, data: Data) -> Iterator[str]:
    """What is found, in lines; UserError where the images are arranged in no known way."""
    from components.data.reading import LAYOUTS, read_listing, root_of

    listing = read_listing(source, data)
    rows = listing.rows
    splits = [f"{count:,} {split}" if split else f"{count:,} without a split, which `index` gives them"
              for split, count in rows["split"].value_counts().items()]
    yield f"{source}: layout {listing.layout} ({LAYOUTS[listing.layout][2]})"
    yield f"  {len(rows):,} images: {', '.join(splits)}"
    for task in listing.tasks:
        yield f"  task {task.name}: {told_classes(rows[task.name], task)}"
    yield from (f"  note: {note}" for note in listing.notes)
    yield from (f"  {line}" for line in sampled(root_of(source, data.root), rows))


def told_classes(labels: "pd.Series[str]", task: "Task") -> str:
    """How many samples each class has, the largest first; how many have no label."""
    from components.data.layouts.found import SEPARATOR

    counts = Counter(one for cell in labels for one in (cell.split(SEPARATOR) if task.kind == "multi" else [cell]))
    unlabelled = counts.pop("", 0)
    named = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(SHOWN))
    rest = counts.most_common()[SHOWN:]
    more = f", and {len(rest)} more down to {rest[-1][1]:,}" if rest else ""
    kind = "classes" if task.kind == "single" else "labels, several an image"
    return f"{len(counts)} {kind}: {named}{more}" + (f"; {unlabelled:,} images without a label" if unlabelled else "")


def sampled(root: Path, rows: "pd.DataFrame") -> Iterator[str]:
    """What decoding some images, evenly spread over all, tells: their sizes, and which cannot be used."""
    from components.data.check_settings import Thresholds
    from components.data.checks import inspect_all
    from components.data.guard_worker import Limits
    from components.data.verdicts import UNUSABLE

    few = rows.iloc[:: max(1, len(rows) // SAMPLE)].head(SAMPLE)
    facts = inspect_all(root, few, Thresholds(), Limits(5.0, 512), 1)
    bad = [f"{path} ({found.reason}: {found.detail})" for path, one in zip(few["path"], facts, strict=True)
           for found in one.findings if found.reason in UNUSABLE]
    sides = [(one.width, one.height) for one in facts if one.width and one.height]
    if sides:
        middle = [round(median(side)) for side in zip(*sides, strict=True)]
        yield f"{len(few)} of them looked at: {len(sides)} decode, {middle[0]} x {middle[1]} pixels in the middle"
    if bad:
        more = f", and {len(bad) - 3} more" if len(bad) > 3 else ""
        yield f"{len(bad)} cannot be used: {', '.join(bad[:3])}{more}; `validate` leaves such files out"
