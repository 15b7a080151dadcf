"""From stored log-probabilities to the distribution that a student is asked to imitate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.probabilities.ensemble_settings import Mean

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
    return torch.sigmoid(recovered(values, kind) / temperature)


def recovered(values: Tensor, kind: str) -> Tensor:
    """Logits from log-probabilities, [..., C]; of a `single` task up to a constant that no softmax sees."""
    if kind == "single":
        return values
    values = values.clamp(max=LARGEST)
    return values - torch.log(-torch.expm1(values))


@dataclass(frozen=True)
class Voice:
    """A source that is heard about a task: its share of the mean, and the temperature that calibrates it."""

    source: str
    weight: float
    temperature: float = 1.0


def pooled(said: Sequence[Tensor], voices: Sequence[Voice], temperature: float, kind: str, mean: Mean) -> Tensor:
    """The weighted mean of calibrated words at a temperature, probabilities [..., C].

    said: of each voice, log-probabilities [..., C] at temperature 1. The mean of logits is the normalised geometric
    mean of probabilities (the logarithmic pool; Genest and Zidek 1986, https://doi.org/10.1214/ss/1177013825).
    """
    heard = list(zip(said, voices, strict=True))
    if mean == "probabilities":
        parts = [voice.weight * softened(values, temperature * voice.temperature, kind) for values, voice in heard]
        return torch.stack(parts).sum(dim=0)
    logits = torch.stack([voice.weight / voice.temperature * recovered(values, kind) for values, voice in heard])
    scaled = logits.sum(dim=0) / temperature
    return torch.softmax(scaled, dim=-1) if kind == "single" else torch.sigmoid(scaled)


def mixed(by_source: list[Tensor], temperature: float, kind: str) -> Tensor:
    """The mean over sources of their softened probabilities, each [..., C]."""
    return torch.stack([softened(values, temperature, kind) for values in by_source]).mean(dim=0)
