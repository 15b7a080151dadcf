"""Biases of heads that say, before anything is learnt, how frequent each class is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.models.network import Network, head_of

LEAST = 0.5  # samples that a class without any is counted as, and one that has all lacks


@dataclass(frozen=True)
class Frequencies:
    """Of a task: labelled samples of every class, int64 [C], and how many are labelled in all.

    binary: whether each class is a binary problem, not a part of one softmax.
    """

    counts: NDArray[np.int64]
    labelled: int
    binary: bool


def prior_bias(frequencies: Frequencies) -> Tensor:
    """Logits, float32 [C], whose probabilities are the shares of the classes.

    log(positive / negative) of a binary problem, log(share) in a softmax. Classes without a sample, or without one of
    another class, are counted as half a sample off.
    """
    positive = np.maximum(frequencies.counts, LEAST)
    if not frequencies.binary:
        return torch.from_numpy(np.log(positive / positive.sum())).float()
    negative = np.maximum(frequencies.labelled - frequencies.counts, LEAST)
    return torch.from_numpy(np.log(positive / negative)).float()


@torch.no_grad()
def set_priors(network: Network, frequencies: Mapping[str, Frequencies]) -> None:
    """Set the bias of every head's last layer to the prior of its task."""
    for task, found in frequencies.items():
        head_of(network, task).last.bias.copy_(prior_bias(found))


def empty_classes(frequencies: Frequencies, classes: Iterable[str]) -> list[str]:
    """The classes that no labelled sample has."""
    return [name for name, count in zip(classes, frequencies.counts, strict=True) if count == 0]
