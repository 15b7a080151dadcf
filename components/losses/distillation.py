"""Learning from what teachers said: soft targets at a temperature beside the hard label."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from components.data.loader import Batch
from components.data.tasks import Task
from components.losses.objective import Objective, hard_loss
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


def distilled(tasks: tuple[Task, ...], targets: Callable[[str, Batch], Tensor], temperature: float, weight: float,
              smoothing: float = 0.0) -> Objective:
    """The objective of distillation: `weight` on the teachers, the rest on the hard label where there is one."""

    def objective(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts: dict[str, Tensor] = {}
        for task in tasks:
            logits = outputs.logits[task.name].float()
            soft = soft_loss(task, logits, targets(task.name, batch).to(logits.device), temperature)
            hard = hard_loss(task, logits, batch.labels[task.name], smoothing)
            parts[task.name] = weight * soft + (1 - weight) * hard
        return torch.stack(list(parts.values())).sum(dim=0), parts

    return objective
