"""Going on from an earlier Model: classes and tasks that are new begin anew, all others where they were."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from components.data.tasks import Task, read_tasks
from components.errors import UserError
from components.models.heads import LinearHead
from components.models.network import Network, head_of
from components.models.settings import Architecture

WHOLE = ("name", "options", "head")  # what two architectures must have in common to share weights


def start_from(network: Network, architecture: Architecture, tasks: tuple[Task, ...], folder: Path) -> list[str]:
    """Fill a fresh network from a sealed Model; what was kept and what is new, task by task.

    UserError where the architectures differ, or a task of the same name is of another kind.
    """
    head = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    refuse_other(architecture, head, folder)
    tensors = load_file(folder / "model.safetensors")
    own = network.state_dict()
    shared = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    lost = [name for name in own if name.startswith("backbone.") and name not in shared]
    if lost:
        raise UserError(f"{folder}: {lost[0]} is missing or of another shape; {len(lost)} such weights",
                        "a network with a weight for each position starts from one of the same size: check sizes")
    lasts = {last_layer(network, task.name) for task in tasks}
    network.load_state_dict({name: tensor for name, tensor in shared.items() if name.rpartition(".")[0] not in lasts},
                            strict=False)
    before = {task.name: task for task in read_tasks(head["tasks"])}
    return [take_over(network, task, before.get(task.name), tensors) for task in tasks] + gone(tasks, before)


def refuse_other(architecture: Architecture, head: dict[str, Any], folder: Path) -> None:
    """UserError, naming the field, where a Model has another architecture."""
    theirs = Architecture.model_validate_json(json.dumps(head["architecture"])).model_dump(mode="json")
    ours = architecture.model_dump(mode="json")
    for field in WHOLE:
        if ours[field] != theirs[field]:
            raise UserError(f"model.start: {folder} has {field} {theirs[field]}; here it is {ours[field]}",
                            "set the same model, or leave out model.start")


def last_layer(network: Network, task: str) -> str:
    """The path of the layer whose rows are a task's classes."""
    return f"heads.{task}" if isinstance(head_of(network, task), LinearHead) else f"heads.{task}.last"


@torch.no_grad()
def take_over(network: Network, task: Task, before: Task | None, tensors: dict[str, Tensor]) -> str:
    """Copy the rows of the classes that there were before; a sentence about what is new."""
    if before is None:
        return f"{task.name} is a new task; its head begins anew"
    if before.kind != task.kind:
        raise UserError(f"model.start: {task.name} was {before.kind} and is {task.kind} now",
                        "rename the task, or leave out model.start")
    last, prefix = head_of(network, task.name).last, last_layer(network, task.name)
    kept = [name for name in task.classes if name in before.classes]
    for name, rows in (("weight", last.weight), ("bias", last.bias)):
        old = tensors[f"{prefix}.{name}"]
        for one in kept:
            rows[task.classes.index(one)] = old[before.classes.index(one)]
    return f"{task.name} keeps {len(kept)} of {len(before.classes)} classes" + changes(task, before)


def changes(task: Task, before: Task) -> str:
    """The classes that are new and those that are gone, as the end of a sentence."""
    new = [name for name in task.classes if name not in before.classes]
    lost = [name for name in before.classes if name not in task.classes]
    return "".join(f"; {word}: {', '.join(names[:5])}{', ...' if names[5:] else ''}"
                   for word, names in (("new", new), ("gone", lost)) if names)


def gone(tasks: tuple[Task, ...], before: dict[str, Task]) -> list[str]:
    """A note for each task that is no more."""
    names = {task.name for task in tasks}
    return [f"{name} is no task any more; its head is left out" for name in before if name not in names]
