"""Harmonised gradients: what a bin of gradient lengths holds, remembered over training steps (GHM-C)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from components.losses.case import Case
from components.losses.ranks import Ranks


@dataclass
class Densities:
    """The share of gradients in each of as many bins of equal width, a moving average over the steps of a training.

    shares: the average before its correction for having begun with 0, float64 [bins]. steps: how many went into it,
    float64 []. pending: what the current step has found so far.
    """

    momentum: float
    shares: Tensor
    steps: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    pending: Tensor | None = None

    @classmethod
    def of(cls, bins: int, momentum: float) -> "Densities":
        """Nothing seen yet."""
        return cls(momentum, torch.zeros(bins, dtype=torch.float64))

    def factor(self, case: Case, ranks: Ranks) -> Tensor:
        """What terms are multiplied with, [N, C] or, of a softmax, [N, 1]: 1 / (share of the bin x bins in use).

        Li, Liu and Wang 2019 (https://arxiv.org/abs/1811.05181), section 3, with shares instead of counts: a
        batch given twice weighs the same, and where the average is that of the batch, factors have a mean of 1. The
        average is corrected for its start like Adam's (https://arxiv.org/abs/1412.6980, section 3). Samples count as
        they weigh. Only what is going to be differentiated is remembered, once the step is settled.
        """
        last = len(self.shares) - 1
        places = (case.lengths.double().nan_to_num(1.0) * len(self.shares)).long().clamp_max(last)
        mass = case.weight.double()[:, None].expand_as(places)
        bins = [torch.where(places == place, mass, 0.0).sum() for place in range(len(self.shares))]
        found = ranks.total(torch.stack(bins))
        if case.logits.requires_grad:
            self.pending = found if self.pending is None else self.pending + found
        shares, steps = self._after(found)
        used = found > 0
        density = shares / (1 - self.momentum**steps).clamp_min(1 - self.momentum) * used.sum()
        return torch.where(used, 1 / density.where(used, 1.0), 0.0)[places].to(case.logits.dtype)

    def forget(self) -> None:
        """Begin a training: nothing seen yet."""
        self.shares, self.steps, self.pending = torch.zeros_like(self.shares), torch.zeros_like(self.steps), None

    def settle(self) -> None:
        """Remember what the step has found; a step without a labelled sample changes nothing."""
        if self.pending is not None:
            self.shares, self.steps = self._after(self.pending)
            self.pending = None

    def _after(self, found: Tensor) -> tuple[Tensor, Tensor]:
        everything = found.sum()
        some = everything > 0
        new = self.momentum * self.shares + (1 - self.momentum) * found / everything.where(some, 1.0)
        return torch.where(some, new, self.shares), self.steps + some
