"""Per-sample losses of every task, masked where a sample is not labelled; reduced once, by the loop."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from components.data.loader import Batch
from components.data.tasks import Task
from components.errors import UserError
from components.models.outputs import Outputs

# (outputs, batch) -> (loss per sample [N], parts by name [N])
Objective: TypeAlias = Callable[[Outputs, Batch], tuple[Tensor, dict[str, Tensor]]]


def hard_loss(task: Task, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the given labels, [N]; 0 where a sample has none.

    logits: [N, C]. labels: int64 [N] with -1 for none, or for `multi` float32 [N, C] with NaN rows for none (then the
    mean over labels of binary cross-entropies). Smoothing moves that share of the target to the uniform distribution.
    """
    if task.kind == "single":
        return cross_entropy(logits, labels, ignore_index=-1, reduction="none", label_smoothing=smoothing)
    known = ~labels.isnan().any(dim=1)
    target = torch.nan_to_num(labels) * (1 - smoothing) + smoothing / 2
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
    return torch.where(known, loss, 0.0)


def task_factors(tasks: tuple[Task, ...], weights: Mapping[str, float]) -> dict[str, float]:
    """The weight of every task's loss, 1 where none is given; UserError for a name that is no task."""
    names = [task.name for task in tasks]
    for name in weights:
        if name not in names:
            raise UserError(f"task_weights names {name}, which is no task", f"expected some of {', '.join(names)}")
    return {name: weights.get(name, 1.0) for name in names}


def weighted_sum(parts: Mapping[str, Tensor], factors: Mapping[str, float]) -> Tensor:
    """The sum over tasks of losses [N] times their task's weight."""
    return torch.stack([factors[name] * part for name, part in parts.items()]).sum(dim=0)


def supervised(tasks: tuple[Task, ...], smoothing: float = 0.0,
               weights: Mapping[str, float] = MappingProxyType({})) -> Objective:
    """The objective of plain training: the weighted sum over tasks of masked cross-entropies."""
    factors = task_factors(tasks, weights)

    def objective(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {task.name: hard_loss(task, outputs.logits[task.name].float(), batch.labels[task.name], smoothing)
                 for task in tasks}
        return weighted_sum(parts, factors), parts

    return objective
