"""Probabilities of which a few classes are told one by one and all others together, and losses against them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


@dataclass(frozen=True)
class Kept:
    """Distributions over `count` classes, N of them.

    classes: those that are told, int64 [N, K]. values: their probabilities, [N, K]. first: whether an entry is the
    first of its class in its row, bool [N, K]; others repeat one and count for nothing. rest: the probability of each
    class that is not told, [N].
    """

    count: int
    classes: Tensor
    values: Tensor
    first: Tensor
    rest: Tensor

    def to(self, device: torch.device) -> "Kept":
        """The same on another device."""
        return replace(self, classes=self.classes.to(device), values=self.values.to(device),
                       first=self.first.to(device), rest=self.rest.to(device))

    def dense(self) -> Tensor:
        """All probabilities, [N, count]."""
        return self.rest[:, None].repeat(1, self.count).scatter_(1, self.classes, self.values)


def softened_kept(classes: Tensor, told: Tensor, residual: Tensor, count: int, temperature: float) -> Kept:
    """Distributions at a temperature from the k likeliest classes at temperature 1.

    classes: int64 [N, k]. told: their log-probabilities, [N, k]. residual: the logarithm of what all others have
    together, [N], taken to be spread evenly, since what is not stored of it is not known. count: of classes.
    """
    others = count - classes.shape[1]
    each = (residual - math.log(max(others, 1))) / temperature
    powers = told / temperature
    top = torch.maximum(powers.amax(dim=1), each)
    values, rest = (powers - top[:, None]).exp(), (each - top).exp()
    total = values.sum(dim=1) + others * rest
    return Kept(count, classes, values / total[:, None], torch.ones_like(classes, dtype=torch.bool), rest / total)


def mean_kept(parts: list[Kept], shares: Sequence[float] = ()) -> Kept:
    """The mean of distributions row by row; what is told in one of them is told in the mean.

    shares: what each part counts, their sum 1; equal where none are given.
    """
    weights = torch.tensor(shares or [1 / len(parts)] * len(parts), dtype=parts[0].rest.dtype)
    classes = torch.cat([part.classes for part in parts], dim=1)
    values = torch.einsum("p,pnm->nm", weights, torch.stack([looked_up(part, classes) for part in parts]))
    rest = weights @ torch.stack([part.rest for part in parts])
    same = classes[:, :, None] == classes[:, None, :]
    return Kept(parts[0].count, classes, values, ~same.tril(-1).any(dim=2), rest)


def looked_up(part: Kept, classes: Tensor) -> Tensor:
    """The probabilities of some classes int64 [N, M], [N, M]."""
    same = classes[:, :, None] == part.classes[:, None, :]
    told = torch.where(same, part.values[:, None, :], 0.0).amax(dim=2)
    return torch.where(same.any(dim=2), told, part.rest[:, None])


def kept_loss(logits: Tensor, target: Kept, temperature: float) -> Tensor:
    """As `soft_loss` of a `single` task, [N], without an array of the target's probabilities of all classes.

    sum_j q_j log s_j is rest * sum_j log s_j over all classes, and (q_j - rest) log s_j over those that are told.
    """
    said = log_softmax(logits / temperature, dim=1)
    above = torch.where(target.first, target.values - target.rest[:, None], 0.0)
    cross = -(above * said.gather(1, target.classes)).sum(dim=1) - target.rest * said.sum(dim=1)
    others = target.count - target.first.sum(dim=1)
    told = torch.where(target.first, torch.special.entr(target.values), 0.0).sum(dim=1)
    divergence: Tensor = temperature**2 * (cross - told - others * torch.special.entr(target.rest))
    return divergence
