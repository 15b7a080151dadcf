"""From settings and a network to an optimiser: torch's where it has one, else timm's, else our own."""

from collections.abc import Callable
from typing import Any, TypeAlias

import timm.optim
import torch
from torch import nn
from torch.optim import Optimizer

from components.models.depth import depth_of
from components.training.optimizer_settings import Name
from components.training.optimizer_settings import Optimizer as Wish
from components.training.ralamb import Ralamb

# Parameters that are treated alike: `params`, `weight_decay`, `scale` (factor on the rate), `use_fallback` (of Muon).
Group: TypeAlias = dict[str, Any]


def build_optimizer(wish: Wish, network: nn.Module) -> Optimizer:
    """The optimiser of a network, under lookahead where that is asked for.

    The slow weights of timm's Lookahead begin where its first round ends (https://arxiv.org/abs/1907.08610).
    """
    base = MAKERS[wish.name](wish, parameter_groups(wish, network))
    if not wish.slow.every:
        return base
    wrapped: Optimizer = timm.optim.Lookahead(base, alpha=wish.slow.share, k=wish.slow.every)
    return wrapped


def parameter_groups(wish: Wish, network: nn.Module) -> list[Group]:
    """Weights first, then biases and norms, which are not decayed; each by the factor on the rate, the deepest first.

    With a layer decay of g the factor of a parameter at depth d is g ** (1 - d), so that heads have 1.
    """
    depths = depth_of(network) if wish.layer_decay < 1 or wish.name == "muon" else {}
    found: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            depth = depths.get(name, 1.0)
            key = (parameter.ndim <= 1, -wish.layer_decay ** (1 - depth), wish.name == "muon" and depth == 1)
            found.setdefault(key, []).append(parameter)
    return [{"params": found[plain, scale, head], "weight_decay": 0.0 if plain else wish.weight_decay, "scale": -scale}
            | ({"use_fallback": True} if head else {}) for plain, scale, head in sorted(found)]


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every group: the rate of the heads, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def _adamw(wish: Wish, groups: list[Group]) -> Optimizer:
    return torch.optim.AdamW(groups, lr=wish.lr, betas=(wish.momentum, wish.second), eps=wish.eps)


def _sgd(wish: Wish, groups: list[Group]) -> Optimizer:
    ahead = wish.nesterov and wish.momentum > 0
    return torch.optim.SGD(groups, lr=wish.lr, momentum=wish.momentum, nesterov=ahead)


def _adam(wish: Wish, groups: list[Group]) -> Optimizer:
    return torch.optim.Adam(groups, lr=wish.lr, betas=(wish.momentum, wish.second), eps=wish.eps)


def _amsgrad(wish: Wish, groups: list[Group]) -> Optimizer:
    return torch.optim.AdamW(groups, lr=wish.lr, betas=(wish.momentum, wish.second), eps=wish.eps, amsgrad=True)


def _radam(wish: Wish, groups: list[Group]) -> Optimizer:
    betas = (wish.momentum, wish.second)
    return torch.optim.RAdam(groups, lr=wish.lr, betas=betas, eps=wish.eps, decoupled_weight_decay=True)


def _lamb(wish: Wish, groups: list[Group]) -> Optimizer:
    betas = (wish.momentum, wish.second)  # the setting `clip` bounds gradients, not this
    found: Optimizer = timm.optim.Lamb(groups, lr=wish.lr, betas=betas, eps=wish.eps, max_grad_norm=None)
    return found


def _ralamb(wish: Wish, groups: list[Group]) -> Optimizer:
    return Ralamb(groups, wish.lr, (wish.momentum, wish.second), wish.eps)


def _novograd(wish: Wish, groups: list[Group]) -> Optimizer:
    found: Optimizer = timm.optim.NvNovoGrad(groups, lr=wish.lr, betas=(wish.momentum, wish.second), eps=wish.eps)
    return found


def _rmsprop(wish: Wish, groups: list[Group]) -> Optimizer:
    return torch.optim.RMSprop(groups, lr=wish.lr, alpha=wish.second, eps=wish.eps, momentum=wish.momentum)


def _lion(wish: Wish, groups: list[Group]) -> Optimizer:
    found: Optimizer = timm.optim.Lion(groups, lr=wish.lr, betas=(wish.momentum, wish.second))
    return found


def _muon(wish: Wish, groups: list[Group]) -> Optimizer:
    """Steps as long as AdamW's, so that one rate serves both (https://arxiv.org/abs/2502.16982).

    torch's own takes no kernels.
    """
    found: Optimizer = timm.optim.Muon(groups, lr=wish.lr, momentum=wish.momentum, nesterov=True,
                                       betas=(0.9, wish.second), adjust_lr_fn="match_rms_adamw", eps=wish.eps)
    return found


MAKERS: dict[Name, Callable[[Wish, list[Group]], Optimizer]] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "adam": _adam,
    "amsgrad": _amsgrad,
    "radam": _radam,
    "ranger": _radam,
    "lamb": _lamb,
    "ralamb": _ralamb,
    "novograd": _novograd,
    "rmsprop": _rmsprop,
    "lion": _lion,
    "muon": _muon,
}
