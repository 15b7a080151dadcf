"""The Model artifact: weights as safetensors, everything else as JSON; no code, no pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from components.data.dataset import Dataset
from components.data.tasks import Task, read_tasks
from components.errors import UserError
from components.models.network import Network, build_network
from components.models.preprocessing import Normalise, Preprocess
from components.models.settings import Architecture

SCHEMA = 1


@dataclass(frozen=True)
class Model:
    """A sealed model, ready to be asked: network in evaluation mode, and what turns stored pixels into its input."""

    name: str
    network: Network
    preprocess: Preprocess
    tasks: tuple[Task, ...]
    temperatures: dict[str, float]
    head: dict[str, Any]

    def parameter_count(self) -> int:
        """The number of trainable numbers."""
        return count_parameters(self.network)


def count_parameters(network: nn.Module) -> int:
    """The number of trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def save_model(folder: Path, head: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write `model.json` and `model.safetensors` into a new folder."""
    folder.mkdir(parents=True)
    save_weights(folder / "model.safetensors", weights)
    whole = {"schema": SCHEMA, "kind": "model", **head}
    text = json.dumps(whole, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors by name, wherever they are and however they lie in memory."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, path)


def load_model(folder: Path) -> Model:
    """Open a sealed Model; UserError where the head or the weights do not fit."""
    head = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if head.get("schema") != SCHEMA:
        raise UserError(f"{folder} has schema {head.get('schema')}; this version reads {SCHEMA}",
                        "train it again: dvc repro")
    tasks, geometry = read_tasks(head["tasks"]), head["geometry"]
    stored, size = _pair(geometry["stored"]), _pair(geometry["input"])
    architecture = Architecture.model_validate_json(json.dumps(head["architecture"]))
    network = build_network(architecture, tasks, size, seed=0)
    load_weights(network, folder / "model.safetensors")
    preprocess = Preprocess(stored, size, Normalise(tuple(geometry["mean"]), tuple(geometry["std"])))
    temperatures = {task.name: float(head["calibration"][task.name]["temperature"]) for task in tasks}
    return Model(head["name"], network.eval(), preprocess.eval(), tasks, temperatures, head)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network from a file whose names, shapes and types must be exactly its own."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}", "make the model again: dvc repro") from None
    own = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    given = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    for name in sorted(own.keys() | given.keys()):
        if own.get(name) != given.get(name):
            raise UserError(f"{path}: {name} is {given.get(name, 'missing')}; the network has {own.get(name, 'none')}",
                            "the weights belong to another architecture; make the model again: dvc repro")
    network.load_state_dict(tensors)


def refuse_misfit(name: str, head: Mapping[str, Any], dataset: Dataset) -> None:
    """UserError, naming model and field, where a model has another name or was made for other tasks or geometry."""
    stored = dataset.head["geometry"]
    theirs = {"name": head["name"]} | _fields(head["tasks"], head["geometry"]["stored"], head["geometry"]["pad"])
    ours = {"name": name} | _fields([task.to_json() for task in dataset.tasks], stored["size"], stored["pad"])
    for field in sorted(theirs.keys() | ours.keys(), key=lambda key: (key != "tasks", key)):
        if theirs.get(field) != ours.get(field):
            raise UserError(f"model {name}: {field} is {theirs.get(field)}; expected {ours.get(field)}",
                            "the model was made for something else than this Dataset; train it again: dvc repro")


def _fields(tasks: list[dict[str, Any]], stored: list[int], pad: int) -> dict[str, Any]:
    each = {f"tasks.{task['name']}.{field}": task[field] for task in tasks for field in ("kind", "classes")}
    return {"tasks": [task["name"] for task in tasks], "geometry.stored": stored, "geometry.pad": pad} | each


def _pair(values: list[int]) -> tuple[int, int]:
    height, width = values
    return height, width
