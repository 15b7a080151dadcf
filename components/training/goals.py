"""What is to be trained, and all that is made and checked of it before the first step."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.scales import sizes_near
from components.data.tasks import Task
from components.errors import UserError
from components.evaluation.calibration import labelled
from components.losses.frequencies import class_counts
from components.losses.objective import Losses, Objective, Wish, build_losses, memory_of
from components.losses.ranks import ALONE, Ranks
from components.models.backbones import embedding_width
from components.models.network import Network
from components.training.beginning import begin
from components.training.devices import compiled, place
from components.training.optimizers import build_optimizer
from components.training.settings import Recipe
from components.training.sharing import synchronise
from components.training.slimming import norms_of
from components.training.staging import refuse_stages
from components.training.state import State
from components.training.step import size_of, sized, width

STRETCH = 0.05  # the logarithm of a change of proportions that is worth a word


@dataclass(frozen=True)
class Goal:
    """What is trained: a name, a recipe, an objective, which view an epoch looks at, and factors on samples' weights.

    view_of and factor are those of a Job. rows: those that are trained on; None for the labelled ones of train.
    """

    name: str
    recipe: Recipe
    objective: Objective
    seed: int
    view_of: Callable[[int], int] = lambda epoch: epoch + 1
    factor: Callable[[int], NDArray[np.float32]] | None = None
    rows: NDArray[np.int64] | None = None


def fresh_state(goal: Goal, dataset: Dataset, rows: NDArray[np.int64], device: torch.device,
                ranks: Ranks = ALONE) -> tuple[State, list[str]]:
    """The state before the first step, and what a user should know of how its network came to be.

    rows: the training samples. UserError where the network and the recipe do not fit.
    """
    size = size_of(goal.recipe, goal.recipe.epochs - 1, dataset.size)
    network, notes = begin(goal.recipe, dataset, rows, size, goal.seed)
    refuse_sizes(goal, network, dataset.size)
    refuse_slimming(goal, network)
    refuse_stages(goal.recipe, network)
    place(network.to(width(goal.recipe)), device, goal.recipe.memory_format)
    synchronise(network, goal.recipe, ranks, device)
    state = State.fresh(network, build_optimizer(goal.recipe.optimizer, network))
    state.losses = memory_of(goal.objective).to(device)
    state.losses.forget()
    for weight in state.losses.parameters():
        weight.data = weight.data.to(width(goal.recipe))
    if learnt := state.losses.parameters():
        state.optimizer.add_param_group({"params": learnt, "weight_decay": 0.0})
    state.scaler = torch.amp.GradScaler(device.type, enabled=goal.recipe.precision == "fp16")
    state.forward = compiled(network, goal.recipe.compile)
    return state, notes


def refuse_sizes(goal: Goal, network: Network, stored: tuple[int, int]) -> None:
    """UserError where a later phase or scale is a size that the network cannot look at."""
    phases = [sized(entry, stored) for entry in goal.recipe.sizes]
    for size in dict.fromkeys(one for phase in phases for one in sizes_near(goal.recipe.scales, phase)):
        embedding_width(network.backbone, 3, size)


def refuse_slimming(goal: Goal, network: Network) -> None:
    """UserError where a network is to be slimmed that has nothing to slim."""
    factor, model = goal.recipe.slimming, goal.recipe.model.name
    if factor > 0 and not any(norms_of(network)):
        raise UserError(f"slimming of {goal.name} is {factor:g}, yet {model} has no batch norm",
                        "set slimming: 0, or choose a network with batch norms, such as resnet18")


def warn_of_sizes(goal: Goal, stored: tuple[int, int]) -> None:
    """Warn of more pixels than are stored, and of an input that stretches the stored image."""
    have = f"{stored[0]} x {stored[1]}"
    for entry in dict.fromkeys(goal.recipe.sizes):
        height, width = sized(entry, stored)
        looks = f"warning: {goal.name} looks at {height} x {width} pixels"
        if height > stored[0] or width > stored[1]:
            print(f"{looks}, but {have} are stored; raise index.size to see more", file=sys.stderr)
        if isinstance(entry, tuple) and abs(math.log(width * stored[0] / (height * stored[1]))) > STRETCH:
            print(f"{looks} and stretches the {have} that are stored; give sizes the proportions of index.size",
                  file=sys.stderr)


def losses_of(recipe: Recipe, dataset: Dataset, name: str, ranks: Ranks = ALONE) -> Losses:
    """The losses of a recipe on a Dataset's training split; what a user should know of them is said.

    UserError where they do not fit its tasks.
    """
    wish = Wish(recipe.loss, recipe.smoothing, recipe.task_weights)
    losses = build_losses(dataset.tasks, wish, class_counts(dataset, dataset.rows("train")), ranks)
    for note in (*losses.notes, *twice_balanced(recipe, dataset)):
        print(f"warning: {name}: {note}", file=sys.stderr)
    return losses


def twice_balanced(recipe: Recipe, dataset: Dataset) -> list[str]:
    """What a user should know where both the sampler and the loss make up for how many images a class has."""
    if recipe.sampler.name not in ("balanced", "adaptive"):
        return []
    parts = {task.name: recipe.loss.of(task.name) for task in dataset.tasks}
    named = [name for name, one in parts.items() if one.adjust > 0 or one.balance > 0]
    told = f"the sampler {recipe.sampler.name} and loss.adjust or loss.balance both make up for class frequencies of"
    return [f"{told} {', '.join(named)}; the loss counts images, not how often they are drawn"] if named else []


def labelled_rows(dataset: Dataset, split: str, tasks: Sequence[Task] | None = None) -> NDArray[np.int64]:
    """Rows of a split that have a label for at least one of some tasks, of all where None."""
    rows = dataset.rows(split)
    known = np.zeros(len(rows), bool)
    for task in dataset.tasks if tasks is None else tasks:
        known |= labelled(dataset.labels(task)[rows])
    return rows[known]
