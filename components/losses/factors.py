"""What terms of a loss are multiplied with: functions of a case, [N, C] or [N, 1]."""

from torch import Tensor

from components.losses.case import Case
from components.losses.terms import powered


def cost_factor(case: Case, costs: Tensor) -> Tensor:
    """The cost of saying each class of each sample; costs: [C, C], row = true class."""
    return looked_up(case, costs)


def threshold_factor(case: Case, low: Tensor, up: Tensor) -> Tensor:
    """1 where a class's probability is between its bounds, else 0; low, up: [C, C], row = true class."""
    said = case.probabilities.detach()
    return ((said > looked_up(case, low)) & (said < looked_up(case, up))).to(said.dtype)


def looked_up(case: Case, table: Tensor) -> Tensor:
    """The entries of a table [C, C] for each class (column) of each sample, by what is true (row), [N, C].

    Of a `single` task the row of the true class, or the mean of rows by a soft label. Of a `multi` task the diagonal
    for labels that are true; for another the mean of its column over the labels that are, or over all where none is.
    """
    if case.task.kind == "single":
        return case.truth @ table
    beside = table - table.diag().diag()
    others = case.truth.sum(dim=1, keepdim=True) - case.truth
    mean = beside.sum(dim=0) / max(len(table) - 1, 1)
    false = (case.truth @ beside / others.clamp_min(1e-6)).where(others > 1e-6, mean)
    return case.truth * table.diag() + (1 - case.truth) * false


def focal_factor(case: Case, gamma: float, alpha: float) -> Tensor:
    """The missing probability to a power; alpha (if above 0) weighs true labels, 1 - alpha the others.

    Lin et al. 2017 (https://arxiv.org/abs/1708.02002), equation 5; gradients pass through the factor, as there. Of a
    softmax each class's term is weighed by what its own probability lacks.
    """
    said, target = case.probabilities, case.target
    if case.softmax:
        return powered(1 - said, gamma)
    factor = powered(said * (1 - target) + (1 - said) * target, gamma)
    return factor * (alpha * target + (1 - alpha) * (1 - target)) if alpha > 0 else factor


def balance_factor(case: Case, weights: Tensor) -> Tensor:
    """The weight of a sample's class, or the mean of weights by a soft label, [N, 1]; weights: [C]."""
    return (case.truth @ weights)[:, None]
