"""A Dataset of coloured noise, written without the steps."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.dataset import SCHEMA
from components.data.forms import Form


def write_dataset(folder: Path, count: int = 48, size: tuple[int, int] = (24, 20)) -> Path:
    """A Dataset of coloured noise: task `shade` tells dark from light, `hue` which channel rules, some unlabelled."""
    rng = np.random.default_rng(5)
    shade, hue = rng.integers(0, 2, count), rng.integers(0, 3, count)
    pixels = (
        rng.integers(0, 60, (count, *size, 3)).astype(np.uint8) + (shade * 120).astype(np.uint8)[:, None, None, None]
    )
    pixels[np.arange(count), :, :, hue] += 60
    split = np.array(["train", "val", "test"])[
        np.minimum(np.arange(count) * 6 // count, 5) // 3 + (np.arange(count) * 6 // count == 5)
    ]
    ids = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    order = sorted(range(count), key=lambda i: (["train", "val", "test"].index(split[i]), ids[i]))
    hue[::7] = -1
    (folder / "shards").mkdir(parents=True)
    rows = -(-count // 2)
    for number in range(2):
        np.save(folder / "shards" / f"{number:05d}.npy", pixels[order][number * rows : (number + 1) * rows])
    table = {
        "id": [ids[i] for i in order],
        "path": [f"{i}.png" for i in order],
        "split": split[order],
        "shade": shade[order].astype(np.int32),
        "hue": hue[order].astype(np.int32),
    }
    pd.DataFrame(table).to_parquet(folder / "samples.parquet", index=False)
    head = {
        "schema": SCHEMA,
        "kind": "dataset",
        "tasks": [
            {"name": "shade", "kind": "single", "classes": ["dark", "light"]},
            {"name": "hue", "kind": "single", "classes": ["red", "green", "blue"]},
        ],
        "geometry": Form("decoded", size, 128).to_json(),
        "shards": {"starts": [0, rows], "files": ["00000.npy", "00001.npy"]},
        "examples": [],
    }
    (folder / "dataset.json").write_text(json.dumps(head))
    return folder
