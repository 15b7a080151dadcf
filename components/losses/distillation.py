"""Learning from what teachers said: soft targets at a temperature beside the hard label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from components.data.loader import Batch
from components.data.tasks import Task
from components.losses.case import wide
from components.losses.objective import Losses, Objective, Remembering, plain_losses, total
from components.models.outputs import Outputs

# (task, batch) -> what the teachers say of its samples, [N, C]
Teaching: TypeAlias = Callable[[str, Batch], Tensor]


def soft_loss(task: Task, logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from student to target at a temperature, times its square, [N].

    logits, target: [N, C]; the square keeps the gradient's size (Hinton et al. 2015, https://arxiv.org/abs/1503.02531,
    section 2). For `multi` tasks the mean over labels of the binary divergences.
    """
    if task.kind == "single":
        cross = -(target * log_softmax(logits / temperature, dim=1)).sum(dim=1)
        divergence: Tensor = temperature**2 * (cross - torch.special.entr(target).sum(dim=1))
        return divergence
    cross = binary_cross_entropy_with_logits(logits / temperature, target, reduction="none")
    entropy = torch.special.entr(target) + torch.special.entr(1 - target)
    divergence = temperature**2 * (cross - entropy).mean(dim=1)
    return divergence


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


def blended(losses: Losses, targets: Teaching, how: tuple[float, float]) -> Objective:
    """The objective of distillation with any losses of the labels; how: temperature, and weight of the teachers' part.

    In a batch that is about one task, the loss of every other task is 0.
    """
    temperature, weight = how

    def objective(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts, judged = {}, {}
        for task in losses.tasks:
            logits = wide(outputs.logits[task.name])
            soft = soft_loss(task, logits, targets(task.name, batch).to(logits.device), temperature)
            hard = losses.of[task.name](logits, batch.labels[task.name], batch.weight)
            both = weight * soft + (1 - weight) * hard
            about = batch.task in (None, task.name)
            parts[task.name] = both if about else torch.zeros_like(both)
            judged[task.name] = torch.full_like(both, about, dtype=torch.bool)
        return total(losses, parts, judged)

    return Remembering(objective, losses.memory)
