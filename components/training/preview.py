"""What a training will show its network: samples by views, made by the same calls as its steps make."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.chance import generator
from components.data.dataset import Dataset
from components.data.loader import Batch, Batches, load
from components.data.mixing import Mixture, draw_mixture, mix_images, overlay_mixture
from components.data.tasks import Task
from components.data.views import views_of
from components.errors import UserError
from components.models.preprocessing import Normalise, Preprocess
from components.training.goals import labelled_rows
from components.training.settings import Recipe
from components.training.step import size_of

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cell:
    """A picture, uint8 [h, w, 3], and what stands below it."""

    pixels: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Line:
    """A sample: its path, its labels, its pictures."""

    path: str
    labels: str
    cells: list[Cell]


@dataclass(frozen=True)
class Sheet:
    """size: height and width of the pictures. facts: what holds for all of them. mixed: lines of mixed batches."""

    name: str
    size: tuple[int, int]
    facts: list[str]
    lines: list[Line]
    mixed: list[Line]


def sheet(name: str, recipe: Recipe, seed: int, dataset: Dataset, wanted: tuple[int, int]) -> Sheet:
    """Samples of the training split, the same for a seed, each untouched and in as many views.

    wanted: samples and views. The size is that of the last phase. UserError where the split is empty.
    """
    count, views = wanted
    rows = generator(seed, "preview").permutation(dataset.rows("train"))[:count]
    if not len(rows):
        raise UserError(f"{dataset.path} has no sample in its train split", "check the findings of validate")
    size = size_of(recipe, recipe.epochs - 1, dataset.size)
    batches = list(load(Batches(dataset, [(rows, view) for view in range(views + 1)], seed, recipe.augment,
                                labelled_rows(dataset, "train"))))
    shown = [_untouched(dataset, batches[0], size)]
    shown += [views_of(recipe.augment, seed, dataset, batch, size, CPU) for batch in batches[1:]]
    said = labels_of(dataset, rows)
    columns = [[Cell(picture, title) for picture, title in zip(pictures(images), titles(batch, size), strict=True)]
               for batch, images in zip(batches, shown, strict=True)]
    mixed = [_mixed(recipe, seed, images, step, said) for step, images in enumerate(shown[1:])] if recipe.mix.on else []
    return Sheet(name, size, facts(recipe, dataset, size), _lines(dataset, rows, said, columns),
                 _lines(dataset, rows, said, mixed) if mixed else [])


def titles(batch: Batch, size: tuple[int, int]) -> list[str]:
    """The view of each picture in words, and how much of it is its own where it is laid over another image."""
    words = [f"view {view}" if view else "untouched" for view in batch.view]
    if batch.overlaid is None:
        return words
    kept = overlay_mixture(batch.overlaid, size).kept
    return [f"{word}, {share:.2f} own" if share < 1 else word for word, share in zip(words, kept, strict=True)]


def labels_of(dataset: Dataset, rows: NDArray[np.int64]) -> list[str]:
    """The labels of samples in words, task after task; a dash where one has none."""
    said = [[_worded(task, label) for label in dataset.labels(task)[rows]] for task in dataset.tasks]
    return [", ".join(words) for words in zip(*said, strict=True)]


def _worded(task: Task, label: Any) -> str:
    if task.kind == "single":
        return task.classes[int(label)] if label >= 0 else "-"
    if np.isnan(label).any():
        return "-"
    return " + ".join(task.classes[place] for place in np.flatnonzero(label)) or "none"


def facts(recipe: Recipe, dataset: Dataset, size: tuple[int, int]) -> list[str]:
    """What the pictures are made with, in words."""
    stored = f"{dataset.size[0]} x {dataset.size[1]}"
    told = [f"input {size[0]} x {size[1]} of {stored} stored (height x width)", f"policy {recipe.augment.policy}"]
    if recipe.scales.share:
        heights = ", ".join(map(str, recipe.scales.heights(size[0])))
        told.append(f"heights {heights} in turn, every {recipe.scales.every} steps")
    if (within := recipe.augment.mix).on:
        told.append(f"views mixed with probability {within.mixup:g}, by rectangles {within.cutmix:g}")
    if recipe.mix.on:
        told.append(f"mixup with probability {recipe.mix.mixup:g}, CutMix {recipe.mix.cutmix:g}, by {recipe.mix.each}")
    return told


def pictures(images: Tensor) -> list[NDArray[np.uint8]]:
    """Images float32 [N, 3, h, w] in [0, 1] as N pictures, uint8 [h, w, 3]."""
    array: NDArray[np.uint8] = images.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return list(array)


def _untouched(dataset: Dataset, batch: Batch, size: tuple[int, int]) -> Tensor:
    images: Tensor = Preprocess(dataset.size, size, Normalise.named("unit"))(batch.pixels)
    return images


def _mixed(recipe: Recipe, seed: int, images: Tensor, step: int, said: list[str]) -> list[Cell]:
    """A view of the samples, mixed among themselves as in a step."""
    count, (height, width) = len(images), images.shape[2:]
    mixture = draw_mixture(recipe.mix, seed, step, count, (height, width))
    shown = pictures(images if mixture is None else mix_images(images, mixture))
    return [Cell(picture, share_text(mixture, row, said)) for row, picture in enumerate(shown)]


def share_text(mixture: Mixture | None, row: int, said: list[str]) -> str:
    """How much of whose labels a mixed image has."""
    if mixture is None or mixture.kept[row] == 1:
        return "not mixed"
    return f"{mixture.kept[row]:.2f} own, {1 - mixture.kept[row]:.2f} {said[mixture.partners[row]]}"


def _lines(dataset: Dataset, rows: NDArray[np.int64], said: list[str], columns: list[list[Cell]]) -> list[Line]:
    paths = dataset.column("path").iloc[rows]
    return [Line(str(path), labels, [column[place] for column in columns])
            for place, (path, labels) in enumerate(zip(paths, said, strict=True))]
