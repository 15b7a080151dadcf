"""Learning from what teachers said: soft targets at a temperature beside the hard label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from components.data.loader import Batch
from components.data.tasks import Task
from components.losses.case import wide
from components.losses.imitation import Imitation, Said, divergence
from components.losses.imitation import soft_loss as soft_loss
from components.losses.kept import Kept
from components.losses.objective import Losses, Objective, Remembering, plain_losses, total
from components.models.outputs import Outputs

# (task, batch) -> what the teachers say of its samples at the temperature, [N, C]; rows of NaN where they say nothing
Teaching: TypeAlias = Callable[[str, Batch], Tensor | Kept]


@dataclass(frozen=True)
class Blend:
    """How teachers and labels share the loss: `weight` is the teachers' part; `tasks` weighs each task's loss."""

    temperature: float
    weight: float
    smoothing: float = 0.0
    tasks: Mapping[str, float] = field(default_factory=dict)


def distilled(tasks: tuple[Task, ...], targets: Teaching, blend: Blend) -> Objective:
    """The objective of distillation: soft targets for every sample, cross-entropy with the label where there is one."""
    return blended(plain_losses(tasks, blend.smoothing, blend.tasks), targets, (blend.temperature, blend.weight))


def blended(losses: Losses, targets: Teaching, how: tuple[float, float],
            imitation: Imitation = divergence) -> Objective:
    """The objective of distillation with any losses of the labels; how: temperature, and weight of the teachers' part.

    In a batch that is about one task, the loss of every other task is 0. Where teachers say nothing, the label alone
    counts, and wholly.
    """
    temperature, weight = how

    def objective(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts, judged = {}, {}
        for task in losses.tasks:
            logits, labels = wide(outputs.logits[task.name]), batch.labels[task.name]
            target = targets(task.name, batch).to(logits.device)
            spoken, target = filled(target)
            soft = imitation(Said(task, logits, target, labels, batch.weight * spoken, temperature))
            hard = losses.of[task.name](logits, labels, batch.weight)
            both = torch.where(spoken, weight * soft + (1 - weight) * hard, hard)
            about = batch.task in (None, task.name)
            judged[task.name] = torch.full_like(both, about, dtype=torch.bool)
            parts[task.name] = torch.where(judged[task.name], both, 0.0)  # so that every head has a gradient
        return total(losses, parts, judged)

    return Remembering(objective, losses.memory, about_tasks)


def about_tasks(batch: Batch) -> dict[str, Tensor]:
    """Which samples a batch teaches each task: all, or none where it is about another."""
    return {name: torch.full_like(batch.weight, batch.task in (None, name), dtype=torch.bool) for name in batch.labels}


def filled(target: Tensor | Kept) -> tuple[Tensor, Tensor | Kept]:
    """For which samples teachers speak, bool [N], and targets that are numbers for the others as well."""
    if isinstance(target, Kept):
        spoken = ~target.rest.isnan()
        values = torch.where(spoken[:, None], target.values, 1 / target.count)
        return spoken, replace(target, values=values, rest=torch.where(spoken, target.rest, 1 / target.count))
    spoken = ~target[:, 0].isnan()
    return spoken, torch.where(spoken[:, None], target, 1 / target.shape[1])
