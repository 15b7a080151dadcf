"""Optimisers and the schedule of their rate: pure functions of the step."""

import math

import torch
from torch import nn

from components.training.settings import Optimizer


def build_optimizer(settings: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a network, with biases and norms in a group that is not decayed."""
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999))


def cosine_factor(step: int, total: int, warmup: float) -> float:
    """The share of the peak rate at a step: a linear rise, then half a cosine to zero; continuous at the seam.

    >>> [round(cosine_factor(step, 10, 0.2), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 0.962, 0.309, 0.0]
    """
    rise = round(total * warmup)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / max(total - rise, 1)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
