"""Online hard example mining: only the hardest share of a batch teaches (Shrivastava et al. 2016, 1604.03540)."""

import torch
from torch import Tensor

from components.losses.case import Case
from components.losses.ranks import Ranks
from components.losses.settings import Ohem


def hardest_factor(case: Case, terms: Tensor, wish: Ohem, ranks: Ranks) -> Tensor:
    """What terms [N, C] are multiplied with so that only the hardest count, [N, 1] or, of single problems, [N, C].

    Hard is a large loss, all other factors included, or a probability far from its target. Samples without a label or
    of weight 0 are not counted. With several ranks the hardest of all of them are meant.
    """
    found = terms.detach() if wish.by == "loss" else case.lengths
    hardness = found if wish.unit == "problem" else found.sum(dim=1, keepdim=True)
    counted = (case.weight > 0)[:, None].expand_as(hardness)
    weight = case.weight[:, None].expand_as(hardness).masked_fill(~counted, 0.0)
    return kept(hardness.flatten(), weight.flatten(), wish.ratio, ranks).view_as(hardness)


def kept(hardness: Tensor, weight: Tensor, ratio: float, ranks: Ranks) -> Tensor:
    """A factor for the k hardest of the n that have a weight, else 0, [M]; k is ratio * n to the nearest, at least 1.

    hardness, weight: [M]. Of equals the first are kept. The factor is all weight over the weight that is kept, n / k
    where weights are alike, so that the weighted mean over all is that over the kept.
    """
    everyone, start = ranks.everyone(hardness.masked_fill(weight <= 0, -torch.inf))
    weights, _ = ranks.everyone(weight.double())
    order = everyone.argsort(descending=True, stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    count = (weights > 0).sum()
    taken = (place < (count.double() * ratio + 0.5).floor().clamp_min(1)) & (weights > 0)
    factor = torch.where(taken, weights.sum() / weights.where(taken, 0.0).sum(), 0.0)
    return factor[start : start + len(hardness)].to(hardness.dtype)
