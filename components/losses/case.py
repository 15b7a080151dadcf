"""What a loss judges: samples of one task, their labels as targets, and what a network says of them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from components.data.tasks import Task


@dataclass(frozen=True)
class Case:
    """N samples of a task of C classes.

    logits, truth and target are floats [N, C]: truth is the labels as given, rows of 0 where a sample has none; target
    is the truth, smoothed. known: which samples are labelled, bool [N]. weight: of the samples, [N], 0 where not
    labelled. softmax: the classes share one probability; else each is a binary problem.
    """

    task: Task
    softmax: bool
    logits: Tensor
    truth: Tensor
    target: Tensor
    known: Tensor
    weight: Tensor

    @cached_property
    def log_probabilities(self) -> Tensor:
        """Of a softmax, [N, C]."""
        return log_softmax(self.logits, dim=1)

    @cached_property
    def probabilities(self) -> Tensor:
        """Of the classes, [N, C]; gradients pass."""
        return self.log_probabilities.exp() if self.softmax else torch.sigmoid(self.logits)

    @cached_property
    def lengths(self) -> Tensor:
        """How far probabilities are from their targets, from 0 to 1: the length of the loss's gradient.

        [N, C] for binary problems; for a softmax half the sum over classes, [N, 1], which is 1 - p for a hard label.
        No gradient passes.
        """
        distance = (self.probabilities - self.target).detach().abs()
        return distance.sum(dim=1, keepdim=True) / 2 if self.softmax else distance


def case_of(task: Task, softmax: bool, said: tuple[Tensor, Tensor, Tensor], smoothing: float) -> Case:
    """The case of logits [N, C], labels and weights [N] (`said`), with labels hard or soft.

    Labels: int64 [N] with -1 for none, or floats [N, C] with NaN in the rows of none. Smoothing moves that share of the
    target to the uniform distribution over classes, or for `multi` tasks to 1/2.
    """
    logits, labels, weight = said
    if labels.is_floating_point():
        known = ~labels.isnan().any(dim=1)
        truth = torch.where(known[:, None], labels, 0.0).to(logits.dtype)
    else:
        known = labels >= 0
        truth = one_hot(labels.clamp_min(0), logits.shape[1]).to(logits.dtype) * known[:, None]
    even = 1 / logits.shape[1] if task.kind == "single" else 0.5
    target = (truth * (1 - smoothing) + smoothing * even) * known[:, None]
    return Case(task, softmax, logits, truth, target, known, torch.where(known, weight, 0.0))


def wide(logits: Tensor) -> Tensor:
    """Logits in at least single precision, whatever arithmetic the network has."""
    return logits if logits.dtype == torch.float64 else logits.float()
