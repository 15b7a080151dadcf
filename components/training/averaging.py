"""Averages of weights over a training: by steps, or by ends of epochs."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from components.models.heads import LEAST, LabelledNorm
from components.models.network import Network
from components.training.averaging_settings import Averaging

# Images, and which of them teach each task, bool [N]; None where no head asks.
Seen: TypeAlias = tuple[Tensor, Mapping[str, Tensor] | None]


def after_step(wish: Averaging, average: nn.Module, network: nn.Module, step: int) -> None:
    """Take a step into an average of steps; step: how many there are, this one counted."""
    if wish.name == "ema":
        follow(average, network, wish.decay, step)


@torch.no_grad()
def after_epoch(wish: Averaging, average: nn.Module, network: nn.Module, epoch: int, epochs: int) -> bool:
    """Take the end of an epoch into an average of epochs; whether its batch norms have to be estimated anew.

    Izmailov et al. 2018, https://arxiv.org/abs/1803.05407. Before it begins the average is the network. How many ends
    it holds follows from the epoch, so that a resumed run needs to remember nothing.
    """
    if wish.name == "ema":
        return False
    held = epoch - wish.first(epochs)  # ends that the average holds already
    if wish.name == "none" or held < 0:
        average.load_state_dict(network.state_dict())
        return False
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 / (held + 1))
    for buffer, latest in zip(average.buffers(), network.buffers(), strict=True):
        buffer.copy_(latest)
    return True


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the weights; early on it forgets faster, so that it is not ruled by the start."""
    decay = min(decay, (1 + step) / (10 + step))
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point() and decay > 0:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def estimate_norms(average: Network, network: nn.Module, batches: Iterable[Seen]) -> None:
    """Statistics of batch norms as means over batches of images, float32 [N, C, h, w], of equal size.

    network: the one in training. Where it keeps a norm in evaluation mode, that norm is frozen, here as well.
    """
    pairs = zip(average.named_modules(), network.modules(), strict=True)
    norms = {name: kept for (name, kept), live in pairs
             if isinstance(kept, _BatchNorm | LabelledNorm) and live.training}
    momenta = {name: norm.momentum for name, norm in norms.items()}
    for norm in norms.values():
        norm.train()
        if isinstance(norm, _BatchNorm):
            norm.reset_running_stats()
            norm.momentum = None  # of torch: the plain mean
    of_heads = {task: found for task in average.heads
                if isinstance(found := norms.get(f"heads.{task}.norm"), LabelledNorm)}
    counts = dict.fromkeys(of_heads, 0)
    for images, known in batches if norms else ():
        for task, found in of_heads.items():
            found.momentum = 1 / (counts[task] + 1)
            counts[task] += bool(known is None or known[task].sum() >= LEAST)
        average(images, known)
    for name, norm in norms.items():
        norm.momentum = momenta[name]
        norm.eval()
