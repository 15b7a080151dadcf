"""Images a second of an epoch from a Dataset against torchvision's ImageFolder and transforms.v2 with the same
augmentations and number of workers; decoded pixels and JPEGs, the cases in turn, ratios of each turn.

    python benchmarks/reading.py ../shared/data/clothing/train
"""

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from components import process
from components.data.augment import draw_views, render
from components.data.augment_settings import Augment
from components.data.building import Places, build
from components.data.choice import Wanted, choose
from components.data.dataset import Dataset
from components.data.loader import Batches, load
from components.data.tasks import Task

AUGMENT = Augment(crop=(0.35, 1.0), flip=0.5, brightness=0.3, contrast=0.3, saturation=0.3, erase=0.25)
SIZE, BATCH = 128, 64


def rows_of(root: Path) -> pd.DataFrame:
    """What a manifest says of the images of a class folder."""
    rows = []
    for path in sorted(root.rglob("*.jpg")):
        content = path.read_bytes()
        with Image.open(path) as image:
            shape = {"width": image.width, "height": image.height, "format": image.format}
        rows.append({"path": path.relative_to(root).as_posix(), "split": "train", "label": path.parent.name,
                     "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "identity": None,
                     "camera": None, "group": None, "weight": float("nan"), **shape})
    return pd.DataFrame(rows)


def built(root: Path, rows: pd.DataFrame, store: str, target: Path) -> Dataset:
    """A Dataset of the images in one of the two forms."""
    tasks = (Task("label", "single", tuple(sorted(set(rows["label"])))),)
    plan = choose(rows, Wanted(store, (SIZE, SIZE), 128, 256, 50.0, 90, 0), 10**15)
    print(f"# {plan.said[0]}")
    build(Places(root, target / store, target / f"{store}.work", target / "cache"), rows, tasks, plan, os.cpu_count())
    return Dataset.open(target / store)


def ours(dataset: Dataset, epoch: int, workers: int) -> int:
    """An epoch of rendered views, float [N, 3, S, S] in [0, 1]."""
    order, seen = np.random.default_rng(epoch).permutation(dataset.rows("train")), 0
    plan = [(order[first : first + BATCH], epoch + 1) for first in range(0, len(order) - BATCH + 1, BATCH)]
    for batch in load(Batches(dataset, plan, 0, AUGMENT), workers):
        views = draw_views(AUGMENT, 0, dataset.ids[batch.rows], epoch + 1)
        seen += len(render(batch.pixels, views, (SIZE, SIZE)))
    return seen


def theirs(root: Path, workers: int) -> int:
    """The same from ImageFolder."""
    jitter = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)
    crop = v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0), ratio=(0.75, 1.333), antialias=True)
    erase = v2.RandomErasing(p=0.25, scale=(0.02, 0.2), value=0.5)
    steps = [v2.ToImage(), crop, v2.RandomHorizontalFlip(), jitter, v2.ToDtype(torch.float32, scale=True), erase]
    loader = torch.utils.data.DataLoader(ImageFolder(root, v2.Compose(steps)), BATCH, shuffle=True,
                                         num_workers=workers, drop_last=True)
    return sum(len(images) for images, _ in loader)


def speed(epoch: Callable[[], int]) -> float:
    """Images a second of one epoch."""
    start = time.perf_counter()
    return epoch() / (time.perf_counter() - start)


def main() -> None:
    """Print speeds and ratios for 0 and 2 workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/data/clothing/train"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = rows_of(options.folder)
    with tempfile.TemporaryDirectory() as temporary:
        sets = {store: built(options.folder, rows, store, Path(temporary)) for store in ("decoded", "jpeg")}
        for workers in (0, 2):
            torch.set_num_threads(max(1, workers))  # views are rendered where the network computes
            found: dict[str, list[float]] = {"torchvision": [], "decoded": [], "jpeg": []}
            for turn in range(options.rounds):
                found["torchvision"].append(speed(partial(theirs, options.folder, workers)))
                for store, dataset in sets.items():
                    found[store].append(speed(partial(ours, dataset, turn, workers)))
            report(workers, found)


def report(workers: int, found: dict[str, list[float]]) -> None:
    """One line a form."""
    for store in ("decoded", "jpeg"):
        ratios = np.array(found[store]) / np.array(found["torchvision"])
        print(f"{workers} workers, {store}: {statistics.median(found[store]):.0f} images/s, torchvision "
              f"{statistics.median(found['torchvision']):.0f}; ratio {np.median(ratios):.2f} "
              f"({', '.join(f'{ratio:.2f}' for ratio in ratios)})")


if __name__ == "__main__":
    process.prepare()
    sys.exit(main())
