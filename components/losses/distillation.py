"""Learning from what teachers said: soft targets at a temperature beside the hard label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from components.data.loader import Batch
from components.data.tasks import Task
from components.losses.objective import Objective, hard_loss, task_factors, weighted_sum
from components.models.outputs import Outputs


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


def distilled(tasks: tuple[Task, ...], targets: Callable[[str, Batch], Tensor], blend: Blend) -> Objective:
    """The objective of distillation: soft targets for every sample, the hard label where there is one.

    In a batch that is about one task, the loss of every other task is 0.
    """
    factors = task_factors(tasks, blend.tasks)

    def objective(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts: dict[str, Tensor] = {}
        for task in tasks:
            logits = outputs.logits[task.name].float()
            soft = soft_loss(task, logits, targets(task.name, batch).to(logits.device), blend.temperature)
            hard = hard_loss(task, logits, batch.labels[task.name], blend.smoothing)
            both = blend.weight * soft + (1 - blend.weight) * hard
            parts[task.name] = both if batch.task in (None, task.name) else torch.zeros_like(both)
        return weighted_sum(parts, factors), parts

    return objective
