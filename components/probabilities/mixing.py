"""From stored log-probabilities to the distribution that a student is asked to imitate."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST = -1e-4  # a stored log-probability of a label, below 0 so that its complement has a logarithm


def logarithm_of_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithm of the mean over views of probabilities, [N, views, C] -> [N, C]."""
    top = values.max(axis=1, keepdims=True)
    mean: NDArray[np.float32] = np.log(np.exp(values - top).mean(axis=1)) + top[:, 0]
    return mean


def softened(values: Tensor, temperature: float, kind: str) -> Tensor:
    """Probabilities [..., C] at a temperature, from log-probabilities at temperature 1.

    Softmax cancels the constant between logits and log-probabilities (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531); for `multi` the logit of a label is recovered as log p - log(1 - p).
    """
    if kind == "single":
        return torch.softmax(values / temperature, dim=-1)
    values = values.clamp(max=LARGEST)
    logits = values - torch.log(-torch.expm1(values))
    return torch.sigmoid(logits / temperature)


def mixed(by_source: list[Tensor], temperature: float, kind: str) -> Tensor:
    """The mean over sources of their softened probabilities, each [..., C]."""
    return torch.stack([softened(values, temperature, kind) for values in by_source]).mean(dim=0)
