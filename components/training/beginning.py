"""The network that a training begins with: drawn, then given priors, pretrained weights or those of a Model."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.data.chance import batch_seed
from components.data.dataset import Dataset
from components.errors import UserError
from components.evaluation.calibration import labelled
from components.losses.frequencies import class_counts
from components.models.network import Network, build_network
from components.models.pretrained import load_pretrained
from components.models.priors import Frequencies, empty_classes, set_priors
from components.models.settings import Architecture
from components.models.starting import start_from
from components.storage.receipts import verify
from components.training.settings import Recipe


def begin(recipe: Recipe, dataset: Dataset, rows: NDArray[np.int64], size: tuple[int, int],
          seed: int) -> tuple[Network, list[str]]:
    """The network before its first step, and what a user should know of how it came to be.

    rows: the training samples, from which priors are taken.
    """
    model = recipe.model
    refuse_lone_pins(model)
    network = build_network(model, dataset.tasks, size, seed)
    notes: list[str] = []
    if model.bias_init == "prior":
        found = frequencies(recipe, dataset, rows)
        set_priors(network, found)
        notes += prior_notes(recipe, dataset, found)
    if model.pretrained.given:
        notes += load_pretrained(network.backbone, model, batch_seed(seed, "channels"))
    if model.start.model:
        notes += start_from(network, model, dataset.tasks, Path(model.start.model))
    return network, notes


def refuse_lone_pins(model: Architecture) -> None:
    """UserError where weights are pinned that nothing names."""
    if model.pretrained.sha256 and not model.pretrained.given:
        raise UserError("model.pretrained.sha256 is set, but no weights are named",
                        "set model.pretrained.file or model.pretrained.cache, or leave both out")
    if model.start.digest and not model.start.model:
        raise UserError("model.start.digest is set, but no Model is named", "set model.start.model, or leave both out")


def frequencies(recipe: Recipe, dataset: Dataset, rows: NDArray[np.int64]) -> dict[str, Frequencies]:
    """How often each class is among some rows, by task."""
    counts, found = class_counts(dataset, rows), {}
    for task in dataset.tasks:
        binary = task.kind == "multi" or recipe.loss.of(task.name).base == "sigmoid"
        found[task.name] = Frequencies(counts[task.name], int(labelled(dataset.labels(task)[rows]).sum()), binary)
    return found


def prior_notes(recipe: Recipe, dataset: Dataset, found: Mapping[str, Frequencies]) -> list[str]:
    """Priors that are counted twice, and classes that have none."""
    notes = []
    for task in dataset.tasks:
        if recipe.loss.of(task.name).adjust > 0:
            notes.append(f"model.bias_init: prior beside loss.adjust counts the frequencies of {task.name} twice")
        if empty := empty_classes(found[task.name], task.classes):
            notes.append(f"no training image of {task.name} is {', '.join(empty[:5])}{', ...' if empty[5:] else ''}: "
                         "their priors are those of half an image")
    return notes


def pinned(recipe: Recipe) -> Recipe:
    """A recipe that names the digest of the Model it starts from, which decides the result, beside its path.

    UserError where that Model is damaged or another one than the settings name.
    """
    start = recipe.model.start
    if not start.model:
        return recipe
    digest = verify(Path(start.model))
    start.refuse_other(digest)
    started = start.model_copy(update={"digest": digest})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"start": started})})
