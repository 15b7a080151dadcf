"""The terms of a loss, [N, C], by its base: what remains is to weigh them and to add them up."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid

from components.losses.case import Case

TINY = 1e-12  # below any probability that could matter: keeps powers and logarithms differentiable


def softmax_terms(case: Case) -> Tensor:
    """Cross-entropy with the target, class by class."""
    return -case.target * case.log_probabilities


def costly_terms(case: Case, costs: Tensor) -> Tensor:
    """Cross-entropy in which a wrong class counts as much as it costs; costs: [C, C], row = true class.

    For a true class k: M[k, k] (log sum_j R[k, j] exp(z_j) - z_k) with R[k, j] = M[k, j] / M[k, k]; that is the softmax
    margin of the costs' logarithms (Gimpel and Smith 2010, https://aclanthology.org/N10-1112). As log sum_j R[k, j] p_j
    is the logarithm of the expected cost, it is the cross-entropy plus that. Linear in the target; a row of ones is
    plain cross-entropy, a row of twos twice that, and a 0 beside the diagonal is an error that is free.
    """
    own = costs.diagonal()
    exact = log_softmax(case.logits.double(), dim=1)
    expected = exact.exp() @ (costs / own[:, None]).double().T
    terms = -exact + expected.clamp_min(torch.finfo(torch.float64).tiny).log()
    return case.target * own * terms.to(case.logits.dtype)


def sigmoid_terms(case: Case) -> Tensor:
    """Binary cross-entropy of each class with its target."""
    return binary_cross_entropy_with_logits(case.logits, case.target, reduction="none")


def asymmetric_terms(case: Case, positive: float, negative: float, margin: float) -> Tensor:
    """Binary terms focussed apart for true and other labels; these count from a probability of `margin` on.

    Ridnik et al. 2021 (https://arxiv.org/abs/2009.14119), section 2, linear in the target.
    """
    right, wrong = torch.sigmoid(case.logits), torch.sigmoid(-case.logits)
    log_wrong = (wrong + margin).clamp_max(1).log() if margin > 0 else logsigmoid(-case.logits)
    true = powered(wrong, positive) * logsigmoid(case.logits)
    other = powered((right - margin).clamp_min(0), negative) * log_wrong
    return -case.target * true - (1 - case.target) * other


def powered(share: Tensor, power: float) -> Tensor:
    """A share in [0, 1] to a power of at least 0, differentiable at 0 as well."""
    return share.clamp_min(TINY) ** power if power > 0 else torch.ones_like(share)
