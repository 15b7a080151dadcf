"""Two models and what each says of the same samples, brought to one list of classes by name."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.evaluation.metrics import Floats
from components.evaluation.scoring import Judged, judge
from components.models.artifact import load_model
from components.models.refitting import refitted

UNKNOWN = math.log(1e-6)  # log-probability of a class that a model does not know: its log-loss stays finite


@dataclass(frozen=True)
class Side:
    """One of the two models: its tasks, and what it says of the judged samples in its own classes."""

    name: str
    tasks: dict[str, Task]
    judged: Judged
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Both models on the labelled samples of a task that both know.

    task: with the classes of the Dataset, then those that a model alone knows, C in all. rows: the Dataset's, [n].
    places: those of the rows among all that were judged. labels: int64 [n], or float32 [n, C] for kind `multi`.
    champion, challenger: log-probabilities [n, C]. known: whether the champion knows all classes of a sample, bool [n].
    new: classes of the Dataset that the champion does not know. gone: those that the champion alone knows.
    """

    task: Task
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    labels: NDArray[Any]
    champion: Floats
    challenger: Floats
    known: NDArray[np.bool_]
    new: tuple[str, ...]
    gone: tuple[str, ...]


def asked(name: str, folder: Path, dataset: Dataset, rows: NDArray[np.int64], device: torch.device) -> Side:
    """A sealed model, whatever it was made for, asked about samples of a Dataset.

    Raises UserError where the model cannot be read or says what is no number.
    """
    model = refitted(load_model(folder), dataset.size)
    model.network.to(device)
    model.preprocess.to(device)
    own = Dataset(dataset.path, dataset.head | {"tasks": [task.to_json() for task in model.tasks]})
    judged = judge(name, model, folder / "model.safetensors", own, rows)
    return Side(name, {task.name: task for task in model.tasks}, judged,
                tuple(differences(name, model.head["geometry"], dataset)))


def differences(name: str, geometry: dict[str, Any], dataset: Dataset) -> Iterator[str]:
    """What a model was made for and does not get here."""
    if tuple(geometry["stored"]) != dataset.size:
        shapes = [" x ".join(map(str, size)) for size in (geometry["stored"], dataset.size)]
        yield f"the {name} was made for images stored as {shapes[0]}; it is shown those of {shapes[1]}, resized"
    if geometry["pad"] != dataset.form.pad:
        yield f"the {name} was made for a frame of grey {geometry['pad']}; it is shown {dataset.form.pad}"


def pairs(dataset: Dataset, rows: NDArray[np.int64], champion: Side, challenger: Side) -> list[Pair]:
    """A pair for every task of the Dataset that both models know and that a sample has a label of."""
    found = [pair(dataset, rows, task, champion, challenger) for task in dataset.tasks
             if all(same_kind(task, side) for side in (champion, challenger))]
    return [one for one in found if len(one.rows)]


def same_kind(task: Task, side: Side) -> bool:
    """Whether a model knows a task, and as one of the same kind."""
    return task.name in side.tasks and side.tasks[task.name].kind == task.kind


def pair(dataset: Dataset, rows: NDArray[np.int64], task: Task, champion: Side, challenger: Side) -> Pair:
    """Both models on one task."""
    own = [side.tasks[task.name].classes for side in (champion, challenger)]
    classes = tuple(dict.fromkeys([*task.classes, *own[1], *own[0]]))
    labels = dataset.labels(task)[rows]
    places = np.flatnonzero(labelled(labels))
    labels = widened(labels[places], len(classes))
    said = [aligned(side.judged.said[task.name][places], names, classes)
            for side, names in zip((champion, challenger), own, strict=True)]
    strange = np.array([name not in own[0] for name in classes])
    unknown = strange[labels] if labels.ndim == 1 else (labels[:, strange] > 0.5).any(axis=1)
    return Pair(replace(task, classes=classes), rows[places], places, labels, said[0], said[1], np.logical_not(unknown),
                tuple(name for name in task.classes if name not in own[0]),
                tuple(name for name in own[0] if name not in task.classes))


def widened(labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """Labels of a `multi` task with a column for each class that only a model knows, absent from every sample."""
    if labels.ndim == 1:
        return labels
    return np.pad(labels, ((0, 0), (0, classes - labels.shape[1])))


def aligned(said: Floats, own: tuple[str, ...], classes: tuple[str, ...]) -> Floats:
    """Log-probabilities [n, len(own)] as columns of other classes; those that a model lacks are all but impossible."""
    table = np.full((len(said), len(classes)), UNKNOWN)
    table[:, [classes.index(name) for name in own]] = said
    return table


def units(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What is resampled, uint8 [n, 32]: the group or identity of a sample where it has one, else the sample."""
    found = dataset.ids[rows].copy()
    for name in ("identity", "group"):
        if name in dataset.columns:
            for place, value in enumerate(dataset.column(name).iloc[rows]):
                if isinstance(value, str) or value == value:  # not missing
                    found[place] = np.frombuffer(hashlib.sha256(f"{name}/{value}".encode()).digest(), np.uint8)
    return found
