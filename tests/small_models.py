"""A sealed Dataset of drawn photographs with names that bite, and sealed models of it, for evaluation and export."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from components.data.dataset import SCHEMA, Dataset
from components.data.decoding import decode, letterbox
from components.data.forms import Form
from components.models.artifact import count_parameters, save_model
from components.models.network import build_network
from components.models.preprocessing import geometry_head
from components.models.settings import Architecture
from components.storage import receipts
from components.storage.digests import tree_digests

SIZE = (28, 36)
OPTIONS = {"layers": [1, 1, 1, 1], "channels": [4, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
KIND = ["<script>alert(1)</script>", "$x_1$", "ドレス", 'a "quoted", long name of a garment']
TRIM = ["buttons", "zip", "ribbon"]
SUFFIXES = (".jpg", ".png", ".webp")


def seal(folder: Path, step: str, inputs: dict[str, str] | None = None) -> Path:
    """Write the receipt that the contract would."""
    receipt = receipts.Receipt(step, step, {}, inputs or {}, tree_digests(folder), {"source": "ab" * 32})
    (folder / receipts.NAME).write_text(receipt.text(), encoding="utf-8")
    return folder


def photograph(chance: np.random.Generator, kind: int, suffix: str) -> bytes:
    """An image file of odd size whose colour tells its kind."""
    width, height = chance.integers(30, 90, 2)
    pixels = chance.integers(0, 90, (height, width, 3)).astype(np.uint8)
    pixels[..., kind % 3] += np.uint8(120 if kind < 3 else 20)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[suffix])
    return stream.getvalue()


def write_photographs(folder: Path, count: int = 60) -> Path:
    """A sealed Dataset with a `single` and a `multi` task, both partly labelled, and raw files among its examples."""
    chance = np.random.default_rng(11)
    kinds = chance.integers(0, len(KIND), count)
    files = [(photograph(chance, kind, SUFFIXES[i % 3]), SUFFIXES[i % 3]) for i, kind in enumerate(kinds)]
    ids = [hashlib.sha256(content).hexdigest() for content, _ in files]
    splits = ["train", "val", "test"]
    split = [splits[min(2, 3 * i // count)] for i in range(count)]
    order = sorted(range(count), key=lambda i: (splits.index(split[i]), ids[i]))
    given = np.where(np.arange(count) % 9 == 4, -1, kinds)
    trims = [None if i % 5 == 1 else [j for j in range(3) if (int(kinds[i]) + j) % 2] for i in range(count)]
    (folder / "shards").mkdir(parents=True)
    (folder / "examples").mkdir()
    pixels = np.stack([letterbox(decode(files[i][0]), SIZE, 128) for i in order])
    rows = 25
    shards = [f"{n:05d}.npy" for n in range(-(-count // rows))]
    for number, name in enumerate(shards):
        np.save(folder / "shards" / name, pixels[number * rows : (number + 1) * rows])
    table = {"id": [ids[i] for i in order], "path": [f"a <b>{i}</b>{files[i][1]}" for i in order],
             "split": [split[i] for i in order], "kind": np.array([given[i] for i in order], np.int32),
             "trim": [trims[i] for i in order]}
    pd.DataFrame(table).to_parquet(folder / "samples.parquet", index=False)
    examples = [i for i in order if split[i] == "test"][:6]
    for i in examples:
        (folder / "examples" / f"{ids[i]}{files[i][1]}").write_bytes(files[i][0])
    tasks = [{"name": "kind", "kind": "single", "classes": KIND}, {"name": "trim", "kind": "multi", "classes": TRIM}]
    head = {"schema": SCHEMA, "kind": "dataset", "tasks": tasks, "splits": {name: split.count(name) for name in splits},
            "geometry": Form("decoded", SIZE, 128).to_json(),
            "shards": {"starts": list(range(0, count, rows)), "files": shards},
            "examples": [f"{ids[i]}{files[i][1]}" for i in examples]}
    (folder / "dataset.json").write_text(json.dumps(head, ensure_ascii=False))
    return seal(folder, "index")


def write_small_model(folder: Path, name: str, dataset: Dataset, seed: int = 0, **geometry: object) -> Path:
    """A sealed model of a Dataset, untrained but with heads that have something to say."""
    import torch

    architecture = Architecture.model_validate_json(json.dumps({"name": "resnet18", "options": OPTIONS}))
    network = build_network(architecture, dataset.tasks, (24, 24), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=2.0)
    head = {"name": name, "architecture": architecture.model_dump(mode="json"),
            "tasks": [task.to_json() for task in dataset.tasks],
            "geometry": geometry_head(dataset.size, (24, 24), 128) | geometry,
            "calibration": {task.name: {"temperature": 1.0 + 0.25 * seed} for task in dataset.tasks},
            "training": {"epochs": 1, "best_epoch": 1, "val": {}}, "parameters": count_parameters(network)}
    save_model(folder, head, network.state_dict())
    return seal(folder, "train", {"dataset": receipts.digest(dataset.path)})
