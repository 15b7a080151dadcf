"""RAdam with layer-wise steps: what neither torch nor timm has."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Ralamb(Optimizer):
    """RAdam's direction (https://arxiv.org/abs/1908.03265), as long as LAMB has it (https://arxiv.org/abs/1904.00962).

    Decay is added to the direction; as in LAMB, the step of what is decayed is then as long as its weights times the
    rate. What is not decayed, biases and norms, keeps the direction's own length.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    ahead = direction(self.state[parameter], parameter.grad, group["betas"], group["eps"])
                    if group["weight_decay"] > 0:
                        ahead.add_(parameter, alpha=group["weight_decay"])
                        ahead.mul_(stretch(parameter, ahead))
                    parameter.add_(ahead, alpha=-group["lr"])


def direction(slots: dict[str, Any], gradient: Tensor, betas: tuple[float, float], eps: float) -> Tensor:
    """Where a parameter is to go, after its averages took the gradient in; rectified while they are young."""
    if not slots:
        slots |= {"step": 0, "first": torch.zeros_like(gradient), "second": torch.zeros_like(gradient)}
    slots["step"] += 1
    (first, second), age = betas, slots["step"]
    slots["first"].lerp_(gradient, 1 - first)
    slots["second"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
    mean: Tensor = slots["first"] / (1 - first**age)
    most = 2 / (1 - second) - 1
    trust = most - 2 * age * second**age / (1 - second**age)
    if trust <= 5:
        return mean
    rectified = math.sqrt((trust - 4) * (trust - 2) * most / ((most - 4) * (most - 2) * trust))
    length = (slots["second"] / (1 - second**age)).sqrt_().add_(eps)
    return mean.mul_(rectified).div_(length)


def stretch(parameter: Tensor, ahead: Tensor) -> Tensor:
    """The length of a parameter over that of its direction, 1 where either has none."""
    ours, theirs = parameter.norm(), ahead.norm()
    return torch.where((ours > 0) & (theirs > 0), ours / theirs.clamp_min(torch.finfo(theirs.dtype).tiny), 1.0)
