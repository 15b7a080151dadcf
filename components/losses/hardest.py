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
    return kept(hardness.flatten(), counted.flatten(), wish.ratio, ranks).view_as(hardness)


def kept(hardness: Tensor, counted: Tensor, ratio: float, ranks: Ranks) -> Tensor:
    """n / k for the k hardest of n that are counted, else 0, [M]; k is ratio * n to the nearest, at least 1.

    hardness: [M]; counted: bool [M]. Of equals the first are kept. The mean over all is then the mean over the kept.
    """
    everyone, start = ranks.everyone(hardness.masked_fill(~counted, -torch.inf))
    order = everyone.argsort(descending=True, stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    count = (everyone > -torch.inf).sum()
    share = (count.double() * ratio + 0.5).floor().clamp_min(1)
    factor = torch.where(place < torch.minimum(share, count), count / share, 0.0)
    return factor[start : start + len(hardness)].to(hardness.dtype)
