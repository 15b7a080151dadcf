"""Every layout, from files on disk to an optimiser step on a batch of what they hold."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from garments import indexed, validated
from PIL import Image

from components.data.dataset import Dataset
from components.data.loader import Batches, load
from components.losses.objective import supervised
from components.models.network import build_network
from components.models.preprocessing import Normalise
from components.models.settings import Architecture
from components.training.optimizers import build_optimizer
from components.training.settings import Recipe
from components.training.state import State
from components.training.step import Job, train_step

CLASSES = ("cat", "dog")
SPLITS = {"train": 6, "val": 4, "test": 4}
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}


class Camera:
    """Pictures no two of which are alike; where each was put, and what it shows."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.taken: list[tuple[Path, str, str]] = []

    def take(self, path: Path, split: str, kind: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(self.rng.integers(0, 256, (7, 6, 3), np.uint8))
        coarse.resize((42, 49), Image.Resampling.BICUBIC).save(path)
        self.taken.append((path, split, kind))
        return path

    def all(self) -> Iterator[tuple[str, str, int]]:
        for split, count in SPLITS.items():
            for number in range(count):
                yield split, CLASSES[number % 2], number


def folders(root: Path, camera: Camera) -> dict[str, Any]:
    for split, kind, number in camera.all():
        camera.take(root / split / kind / f"{number}, a b.png", split, kind)
    return {}


def class_folders(root: Path, camera: Camera) -> dict[str, Any]:
    for split, kind, number in camera.all():
        camera.take(root / kind / f"{split}{number}.png", "", kind)
    return {}


def task_folders(root: Path, camera: Camera) -> dict[str, Any]:
    for split, kind, number in camera.all():
        picture = camera.take(root / "animal" / split / kind / f"{number}.png", split, kind)
        other = root / "parity" / split / ("even", "odd")[number // 2 % 2] / f"x{number}.png"
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(picture.read_bytes())
    return {}


def lists(root: Path, camera: Camera) -> dict[str, Any]:
    (root / "pictures").mkdir()
    for split, kind, number in camera.all():
        path = camera.take(root / "pictures" / f"{split} {number}.png", split, kind)
        with (root / f"{split}.txt").open("a") as stream:
            stream.write(f"{path.relative_to(root)} {CLASSES.index(kind)}\r\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    return {}


def table(root: Path, camera: Camera) -> list[list[str]]:
    return [[camera.take(root / "all" / f"{split},{number}.png", split, kind).relative_to(root).as_posix(), split, kind,
             ("new|worn", "new", "")[number % 3]] for split, kind, number in camera.all()]


def labels_csv(root: Path, camera: Camera) -> dict[str, Any]:
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "split", "animal", "state"], *table(root, camera)])
    return {"tasks": {"animal": {}, "state": {"kind": "multi"}}}


def manifest(root: Path, camera: Camera) -> dict[str, Any]:
    names = ("path", "split", "animal", "state")
    rows = [json.dumps(dict(zip(names, row, strict=True))) for row in table(root / "raw", camera)]
    (root / "images.jsonl").write_text("\n".join(rows))
    return {"root": str(root / "raw"), "tasks": {"animal": {}}, "source": "images.jsonl"}


def torchvision(root: Path, camera: Camera) -> dict[str, Any]:
    base = root / "dtd" / "dtd"
    for split, kind, number in camera.all():
        name = camera.take(base / "images" / kind / f"{kind}_{split}{number}.png", split, kind).name
        (base / "labels").mkdir(exist_ok=True)
        with (base / "labels" / f"{split}1.txt").open("a") as stream:
            stream.write(f"{kind}/{name}\n")
    return {}


@pytest.mark.parametrize("build", [folders, class_folders, task_folders, lists, labels_csv, manifest, torchvision])
def test_files_of_a_layout_become_a_batch_that_is_learnt_from(
    tmp_path: Path, build: Callable[[Path, Camera], dict[str, Any]]
) -> None:
    (tmp_path / "raw").mkdir()
    camera = Camera()
    data = build(tmp_path / "raw", camera)
    source = tmp_path / "raw" / data.pop("source", "")
    figures = validated(tmp_path, source, data=data)
    assert figures["kept"] == len(camera.taken)
    indexed(tmp_path, source, data=data, index={"size": [32, 32]})
    dataset = Dataset.open(tmp_path / "dataset")
    root = Path(data.get("root", source))
    samples = {root / row["path"]: row for row in dataset.samples.to_dict("records")}
    task = dataset.tasks[0]
    for path, split, kind in camera.taken:
        assert task.classes[samples[path][task.name]] == kind
        assert samples[path]["split"] == split or not split
    assert dataset.head["splits"] == {split: (dataset.samples["split"] == split).sum() for split in SPLITS}
    learn(dataset)


def learn(dataset: Dataset) -> None:
    """One step of a small network on one batch of train: its weights move, its loss is a number."""
    recipe = Recipe(model=Architecture(name="resnet18", options=TINY), batch=4, sizes=(32,), precision="fp32",
                    memory_format="contiguous")
    network = build_network(recipe.model, dataset.tasks, (32, 32), 5)
    state = State.fresh(network, build_optimizer(recipe.optimizer, network))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rows = dataset.rows("train")[:4]
    batch = next(load(Batches(dataset, [(rows, 1)], 5, recipe.augment)))
    assert batch.pixels.shape == (len(rows), 32, 32, 3) and batch.pixels.dtype == torch.uint8
    for group in state.optimizer.param_groups:
        group["lr"] = 1e-2
    job = Job(dataset, dataset.rows("train"), recipe, supervised(dataset.tasks, 0.1), 5, torch.device("cpu"),
              lambda epoch: 1, lambda epoch, figures: {}, lambda state: None, lambda: False, lambda batches, _: batches)
    train_step(job, state, batch, Normalise.named(recipe.model.normalisation), (32, 32))
    assert state.step == 1
    heads = [name for name, tensor in network.state_dict().items()
             if tensor.is_floating_point() and not torch.equal(tensor, before[name])]
    assert heads and all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
