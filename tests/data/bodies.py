"""Rows of a manifest made from files, without a validation, and a Dataset built of them."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from components.data.building import Built, Places, build
from components.data.choice import Wanted, choose
from components.data.tasks import Task

TASKS = (Task("kind", "single", ("a", "b")),)
PLENTY = 10**12


def picture(seed: int, width: int = 30, height: int = 20) -> Image.Image:
    """Coarse noise, another for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def draw(root: Path, count: int, first: int = 0) -> list[str]:
    """Write JPEG and PNG files of several shapes; their names."""
    root.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(first, first + count):
        names.append(f"{number:04d}.{'png' if number % 3 == 0 else 'jpg'}")
        picture(number, 24 + number % 7, 20 + number % 5).save(root / names[-1])
    return names


def rows_of(root: Path, names: list[str]) -> pd.DataFrame:
    """What a manifest says of files."""
    rows = []
    for place, name in enumerate(names):
        content = (root / name).read_bytes()
        with Image.open(root / name) as image:
            facts = {"width": image.width, "height": image.height, "format": image.format}
        rows.append({"path": name, "split": ("train", "train", "val", "test")[place % 4], "kind": "ab"[place % 2],
                     "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "identity": None,
                     "camera": None, "group": None, "weight": float("nan"), **facts})
    return pd.DataFrame(rows)


def wanted(store: str = "decoded", size: tuple[int, int] = (16, 24), shard_mb: int = 1, short_side: int = 0) -> Wanted:
    """What the settings ask for."""
    return Wanted(store, size, 128, shard_mb, 50.0, 90, short_side)  # type: ignore[arg-type]


def built(root: Path, target: Path, rows: pd.DataFrame, wish: Wanted | None = None, processes: int = 1) -> Built:
    """Build target/dataset, with the state of an interrupted run and the cache beside it."""
    places = Places(root, target / "dataset", target / "work", target / "cache")
    target.mkdir(exist_ok=True)
    return build(places, rows, TASKS, choose(rows, wish or wanted(), PLENTY), processes)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file()}
