"""From the parts of a loss to the loss of a task's samples: a base, factors, and what is kept of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from components.data.tasks import Task
from components.errors import UserError
from components.losses.case import Case, case_of
from components.losses.densities import Densities
from components.losses.factors import balance_factor, cost_factor, focal_factor, threshold_factor
from components.losses.frequencies import Counts, balanced_weights, log_priors
from components.losses.hardest import hardest_factor
from components.losses.ranks import Ranks
from components.losses.settings import Asymmetric, Cost, Focal, Ohem, Parts, Threshold
from components.losses.tables import matrix
from components.losses.terms import asymmetric_terms, costly_terms, sigmoid_terms, softmax_terms

# (logits [N, C], labels hard or soft, weights of samples [N]) -> loss per sample [N], 0 where unlabelled
Criterion: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
Terms: TypeAlias = Callable[[Case], Tensor]


@dataclass(frozen=True)
class About:
    """The loss of one task and what it needs to know; densities where gradients are harmonised."""

    task: Task
    parts: Parts
    smoothing: float
    counts: Counts
    ranks: Ranks
    densities: Densities | None = None

    @property
    def softmax(self) -> bool:
        """Whether the classes share one probability."""
        return self.task.kind == "single" and self.parts.base == "softmax"


def costs(about: About) -> Terms | None:
    """The factor of costs on binary problems; a softmax has them in its terms."""
    if about.softmax or about.parts.cost == Cost():
        return None
    table = matrix(about.parts.cost, about.task, "cost")
    return lambda case: cost_factor(case, table.to(case.logits))


def thresholds(about: About) -> Terms | None:
    """The factor of thresholds."""
    wish = about.parts.threshold
    if wish == Threshold():
        return None
    low, up = matrix(wish.low, about.task, "threshold.low"), matrix(wish.up, about.task, "threshold.up")
    if (low >= up).any():
        true, said = (about.task.classes[int(place)] for place in (low >= up).nonzero()[0])
        raise UserError(f"loss.threshold of {about.task.name} leaves nothing between low and up where {true} is true "
                        f"and {said} is said", "low is below up everywhere; a cost of 0 leaves a pair out")
    return lambda case: threshold_factor(case, low.to(case.logits), up.to(case.logits))


def focus(about: About) -> Terms | None:
    """The focal factor."""
    wish = about.parts.focal
    return None if wish == Focal() else partial(focal_factor, gamma=wish.gamma, alpha=wish.alpha)


def balance(about: About) -> Terms | None:
    """The factor of class-balanced losses."""
    if about.parts.balance == 0:
        return None
    weights = balanced_weights(about.counts, about.parts.balance)
    return lambda case: balance_factor(case, weights.to(case.logits))


def harmony(about: About) -> Terms | None:
    """The factor of harmonised gradients."""
    return None if about.densities is None else partial(about.densities.factor, ranks=about.ranks)


# What the terms of a loss are multiplied with, by the setting that asks for it; the hardest are chosen after them.
FACTORS: dict[str, Callable[[About], Terms | None]] = {
    "cost": costs, "threshold": thresholds, "focal": focus, "balance": balance, "ghm": harmony,
}


def base_terms(about: About) -> Terms:
    """The base of a loss, costs of a softmax and asymmetric focus included."""
    parts = about.parts
    if not about.softmax:
        wish = parts.asymmetric
        asymmetric = partial(asymmetric_terms, positive=wish.positive, negative=wish.negative, margin=wish.margin)
        return sigmoid_terms if wish == Asymmetric() else asymmetric
    if parts.cost == Cost():
        return softmax_terms
    table = matrix(parts.cost, about.task, "cost")
    if (table.diagonal() <= 0).any():
        raise UserError(f"loss.cost of {about.task.name} has a diagonal that is not above 0",
                        "the diagonal weighs the samples of a class; 1 is the plain loss")
    return lambda case: costly_terms(case, table.to(case.logits))


def build_criterion(about: About) -> Criterion:
    """The loss of a task's samples; UserError where its parts fit neither each other nor the task.

    The terms of a softmax, and of the binary problems that stand for one, are added up, so that both pull the true
    class alike; those of a `multi` task are averaged over its labels.
    """
    refuse_unfit(about)
    terms_of, ranks, ohem = base_terms(about), about.ranks, about.parts.ohem
    factors = [factor for build in FACTORS.values() if (factor := build(about)) is not None]
    priors = about.parts.adjust * log_priors(about.counts)

    def criterion(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        adjusted = logits + priors.to(logits) if about.parts.adjust > 0 else logits
        case = case_of(about.task, about.softmax, (adjusted, labels, weight), about.smoothing)
        terms = terms_of(case)
        for factor in factors:
            terms = terms * factor(case)
        if ohem != Ohem():
            terms = terms * hardest_factor(case, terms, ohem, ranks)
        losses = terms.mean(dim=1) if about.task.kind == "multi" else terms.sum(dim=1)
        return torch.where(case.known, losses, 0.0)

    return criterion


def refuse_unfit(about: About) -> None:
    """UserError for a part that means nothing for the task: nothing that is set is passed over."""
    parts, name = about.parts, about.task.name
    below = f"; for some tasks alone, below loss.tasks, such as loss.tasks.{name}"
    binary = {"asymmetric": parts.asymmetric != Asymmetric(), "focal.alpha": parts.focal.alpha > 0,
              "ohem.unit: problem": parts.ohem.unit == "problem"}
    for setting, given in binary.items():
        if given and about.softmax:
            raise UserError(f"loss.{setting} is about binary problems, but {name} is a softmax of its classes",
                            f"set loss.base: sigmoid, or leave it out{below}")
    if parts.adjust > 0 and not about.softmax:
        raise UserError(f"loss.adjust is about a softmax, but {name} is {len(about.task.classes)} binary problems",
                        f"leave it out, or, for a task with one label, set base: softmax{below}")
    if parts.balance > 0 and about.task.kind == "multi":
        raise UserError(f"loss.balance is about one label a sample, but {name} has several",
                        f"leave it out, or use focal.alpha or asymmetric{below}")


def notes_of(about: About) -> list[str]:
    """What a user should know: settings that act on little or nothing, classes without an image."""
    parts, task, found = about.parts, about.task, []
    empty = [task.classes[place] for place in range(len(task.classes)) if about.counts[place] == 0]
    if empty and (parts.adjust > 0 or parts.balance > 0):
        found.append(f"no training image of {task.name} is {', '.join(empty[:5])}{', ...' if empty[5:] else ''}: "
                     "the loss counts one each")
    wish = parts.threshold
    if about.softmax and about.smoothing == 0 and wish != Threshold():
        low, up = matrix(wish.low, task, "threshold.low"), matrix(wish.up, task, "threshold.up")
        beside = ~torch.eye(len(low), dtype=torch.bool)
        if ((low >= 0) & beside).any() or ((up <= 1) & beside).any():
            found.append(f"loss.threshold beside the diagonal acts on {task.name} only where labels are soft: without "
                         "smoothing a softmax has a term for the true class alone; base: sigmoid has one for each")
    return found
