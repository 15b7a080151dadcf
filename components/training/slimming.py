"""Network slimming: scales of batch norms that are pushed to zero, and what of a network could then be pruned."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

THRESHOLDS = (1e-4, 1e-3, 1e-2, 0.05, 0.1)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BINS = 40


def norms_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The batch norms of feature maps that have a scale, with their names."""
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and module.affine:
            yield name, module


@torch.no_grad()
def push_scales(network: nn.Module, factor: float) -> None:
    """Add the gradient of factor x the sum of |scale| to what the backward pass left; frozen scales stay.

    Liu et al. 2017, https://arxiv.org/abs/1708.06519. As a part of the gradient it meets clipping, momentum and the
    rate as the loss does.
    """
    if factor > 0:
        for _, norm in norms_of(network):
            scale = norm.get_parameter("weight")
            if scale.grad is not None:
                scale.grad.add_(scale.sign(), alpha=factor)


def prunable(network: nn.Module) -> dict[str, Any]:
    """How small the scales are, layer by layer, and what is left of the layers if the smallest of all are pruned.

    layers: by name `channels`, and `below`: share of scales under a threshold. pruned: by share of all scales, the
    `threshold` that takes them away, and the layers that it would leave without a channel (`emptied`): there keep some,
    or prune less. histogram: `edges`, one more than `counts`.
    """
    scales = {name: norm.get_parameter("weight").detach().abs().double().cpu().numpy()
              for name, norm in norms_of(network)}
    if not scales:
        return {}
    every = np.concatenate(list(scales.values()))
    counts, edges = np.histogram(every, BINS, (0.0, float(every.max()) or 1.0))
    layers = {name: {"channels": len(values), "below": _below(values)} for name, values in scales.items()}
    return {"channels": len(every), "below": _below(every), "layers": layers,
            "pruned": {f"{share:g}": _pruned(scales, every, share) for share in SHARES},
            "histogram": {"counts": counts.tolist(), "edges": edges.tolist()}}


def _below(values: NDArray[np.float64]) -> dict[str, float]:
    return {f"{threshold:g}": float((values < threshold).mean()) for threshold in THRESHOLDS}


def _pruned(scales: dict[str, NDArray[np.float64]], every: NDArray[np.float64], share: float) -> dict[str, Any]:
    threshold = float(np.quantile(every, share))
    return {"threshold": threshold, "emptied": [name for name, values in scales.items() if (values < threshold).all()]}
