"""What imitating a teacher can mean: per-sample losses between a student's logits and soft targets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from components.data.tasks import Task
from components.losses.imitation_settings import Decoupled, Imitated, Relations
from components.losses.kept import Kept, kept_loss
from components.losses.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Said:
    """N samples of a task of C classes: what the student and its teachers say, and the labels.

    logits: [N, C]. target: probabilities at the temperature, [N, C], or those of a few classes. labels: int64 [N] with
    -1 for none, or floats [N, C] with NaN in the rows of none. weight: of the samples, [N].
    """

    task: Task
    logits: Tensor
    target: Tensor | Kept
    labels: Tensor
    weight: Tensor
    temperature: float

    @property
    def dense(self) -> Tensor:
        """The target of all classes, [N, C]."""
        return self.target.dense() if isinstance(self.target, Kept) else self.target


Imitation: TypeAlias = Callable[[Said], Tensor]  # loss per sample [N]


@dataclass(frozen=True)
class Manner:
    """What the losses need to know besides: their own weights, and how ranks share a batch."""

    dkd: Decoupled = field(default_factory=Decoupled)
    dist: Relations = field(default_factory=Relations)
    ranks: Ranks = ALONE


def soft_loss(task: Task, logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from student to target at a temperature, times its square, [N].

    logits, target: [N, C]; the square keeps the gradient's size (Hinton et al. 2015, https://arxiv.org/abs/1503.02531,
    section 2). For `multi` tasks the mean over labels of the binary divergences.
    """
    if task.kind == "single":
        cross = -(target * log_softmax(logits / temperature, dim=1)).sum(dim=1)
        divergence: Tensor = temperature**2 * (cross - torch.special.entr(target).sum(dim=1))
        return divergence
    cross = binary_cross_entropy_with_logits(logits / temperature, target, reduction="none")
    entropy = torch.special.entr(target) + torch.special.entr(1 - target)
    divergence = temperature**2 * (cross - entropy).mean(dim=1)
    return divergence


def divergence(said: Said) -> Tensor:
    """The plain soft loss, of few classes as of all."""
    if isinstance(said.target, Kept):
        return kept_loss(said.logits, said.target, said.temperature)
    return soft_loss(said.task, said.logits, said.target, said.temperature)


def decoupled(said: Said, wish: Decoupled) -> Tensor:
    """Decoupled knowledge distillation, [N]: the two halves of the divergence with weights of their own.

    Zhao et al. 2022 (https://arxiv.org/abs/2203.08679), equation 7, times the squared temperature. Where a sample has
    no label, the class that the teachers find likeliest stands for it. A binary problem has one other class alone, so
    that for `multi` tasks there is nothing to share, and only `target` counts.
    """
    if said.task.kind == "multi":
        return wish.target * divergence(said)
    target, others = halves(said.logits / said.temperature, said.dense, own_class(said))
    return said.temperature**2 * (wish.target * target + wish.others * others)


def own_class(said: Said) -> Tensor:
    """The class of each sample, int64 [N]: its label's, else the teachers' likeliest."""
    return torch.where(said.labels >= 0, said.labels, said.dense.argmax(dim=1))


def halves(logits: Tensor, target: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Divergences of (own class, all others) and, among the others, of their shares, each [N].

    logits, target: [N, C]. own: int64 [N]. The divergence of all classes is the first plus the second times the
    target's probability of the others; of a target that leaves nothing to the others, the second is 0.
    """
    student = log_softmax(logits, dim=1)
    here = torch.zeros_like(target, dtype=torch.bool).scatter_(1, own[:, None], True)
    log_others = student.masked_fill(here, -torch.inf).logsumexp(dim=1)
    right, left = target.gather(1, own[:, None])[:, 0], target.masked_fill(here, 0.0).sum(dim=1)
    sure = -torch.special.entr(right) - torch.special.entr(left)
    sure = sure - right * student.gather(1, own[:, None])[:, 0] - left * torch.where(left > 0, log_others, 0.0)
    shares = target.masked_fill(here, 0.0) / left.clamp_min(torch.finfo(target.dtype).tiny)[:, None]
    told = (student - log_others[:, None]).masked_fill(here, 0.0)
    return sure, -(shares * told + torch.special.entr(shares)).sum(dim=1)


def related(said: Said, wish: Relations, ranks: Ranks) -> Tensor:
    """1 less correlations instead of divergences, [N], times the squared temperature (DIST).

    Huang et al. 2022 (https://arxiv.org/abs/2205.10536), equations 8 to 10: of the classes of a sample, and of the
    samples of the whole batch, class by class, where samples count as they weigh; this part is the same for all.
    """
    logits = said.logits.double() / said.temperature
    student = logits.softmax(dim=1) if said.task.kind == "single" else logits.sigmoid()
    terms, weight = moments(student, said.dense.double()), said.weight[:, None].double()
    across = correlation(torch.stack([term.sum(dim=1) for term in terms]))
    down = torch.stack([(weight * term).sum(dim=0) for term in terms])
    along = correlation(over_ranks(down, weight.sum(), ranks)).mean()
    losses = said.temperature**2 * (wish.classes * (1 - across) + wish.samples * (1 - along))
    return losses.to(said.logits.dtype)


def moments(student: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """What correlations are made of, once summed up."""
    one = torch.ones_like(student)
    return one, student, target, student * student, target * target, student * target


def correlation(sums: Tensor) -> Tensor:
    """Pearson's coefficient from the sums of `moments`, float64 [6, M] -> [M]; 0 where one side does not vary."""
    count, student, target, squares, theirs, products = sums
    count = count.clamp_min(1e-12)
    covariance = products / count - student * target / count**2
    spread = (squares / count - (student / count) ** 2) * (theirs / count - (target / count) ** 2)
    found: Tensor = covariance / spread.clamp_min(1e-20).sqrt()
    return found


def over_ranks(sums: Tensor, weight: Tensor, ranks: Ranks) -> Tensor:
    """The sums of all ranks, with the gradient that makes the loss of the whole batch be counted once.

    Each rank counts the loss for its own share of the weight only, and has the gradient of its own terms alone.
    """
    whole = ranks.total(weight.detach()) / weight.detach().clamp_min(1e-12)
    return ranks.total(sums.detach()) + (sums - sums.detach()) * whole


# The losses of imitation by the setting that asks for them. meal: no label, temperature 1 (Shen and Savvides 2020,
# https://arxiv.org/abs/2009.08453); the loss itself is the divergence.
IMITATIONS: dict[Imitated, Callable[[Manner], Imitation]] = {
    "kd": lambda manner: divergence,
    "meal": lambda manner: divergence,
    "dkd": lambda manner: lambda said: decoupled(said, manner.dkd),
    "dist": lambda manner: lambda said: related(said, manner.dist, manner.ranks),
}
