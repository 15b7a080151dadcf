"""Per-sample losses of every task, masked where a sample is not labelled; reduced once, by the loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from components.data.loader import Batch
from components.data.tasks import Task
from components.errors import UserError, near
from components.losses.case import wide
from components.losses.criterion import About, Criterion, build_criterion, notes_of
from components.losses.densities import Densities
from components.losses.frequencies import Counts
from components.losses.memory import Memory
from components.losses.ranks import ALONE, Ranks
from components.losses.settings import Loss, Parts
from components.models.outputs import Outputs

# (outputs, batch) -> (loss per sample [N], parts by name [N])
Objective: TypeAlias = Callable[[Outputs, Batch], tuple[Tensor, dict[str, Tensor]]]


def labelled(labels: Tensor) -> Tensor:
    """Which samples have a label, bool [N]."""
    return ~labels.isnan().any(dim=1) if labels.is_floating_point() else labels >= 0


def with_labels(batch: Batch) -> dict[str, Tensor]:
    """Which samples have a label, bool [N] by task."""
    return {name: labelled(labels) for name, labels in batch.labels.items()}


@dataclass(frozen=True)
class Remembering:
    """An objective that keeps something from step to step; taught: which samples teach each task, bool [N]."""

    judge: Objective
    memory: Memory
    taught: Callable[[Batch], dict[str, Tensor]] = with_labels

    def __call__(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """As the objective itself."""
        return self.judge(outputs, batch)


def memory_of(objective: Objective) -> Memory:
    """What an objective keeps; nothing, of a plain function."""
    return objective.memory if isinstance(objective, Remembering) else Memory()


def taught_by(objective: Objective, batch: Batch) -> dict[str, Tensor]:
    """Which samples of a batch teach each task, bool [N]; of a plain function, those with a label."""
    return objective.taught(batch) if isinstance(objective, Remembering) else with_labels(batch)


@dataclass(frozen=True)
class Losses:
    """The loss of every task on its labels, how much each task weighs, and what is kept between steps.

    notes: what a user should know.
    """

    tasks: tuple[Task, ...]
    of: Mapping[str, Criterion]
    factors: Mapping[str, float]
    memory: Memory = field(default_factory=Memory)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What is asked for: the parts of losses, label smoothing, weights of tasks where not 1."""

    loss: Loss
    smoothing: float = 0.0
    task_weights: Mapping[str, float] = field(default_factory=dict)


def hard_loss(task: Task, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the given labels, [N]; 0 where a sample has none.

    logits: [N, C]. labels: int64 [N] with -1 for none, or for `multi` float32 [N, C] with NaN rows for none (then the
    mean over labels of binary cross-entropies), or for others soft labels of the same form. Smoothing moves that share
    of the target to the uniform distribution.
    """
    if not labels.is_floating_point():
        return cross_entropy(logits, labels, ignore_index=-1, reduction="none", label_smoothing=smoothing)
    given = torch.nan_to_num(labels).to(logits.dtype)
    if task.kind == "single":
        loss = cross_entropy(logits, given, reduction="none", label_smoothing=smoothing)
    else:
        target = given * (1 - smoothing) + smoothing / 2
        loss = binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
    return torch.where(labelled(labels), loss, 0.0)


def task_factors(tasks: tuple[Task, ...], weights: Mapping[str, float]) -> dict[str, float]:
    """The weight of every task's loss, 1 where none is given; UserError for a name that is no task."""
    refuse_strangers(tasks, weights, "task_weights")
    return {task.name: weights.get(task.name, 1.0) for task in tasks}


def refuse_strangers(tasks: tuple[Task, ...], named: Mapping[str, object], setting: str) -> None:
    """UserError where a setting names what is no task."""
    names = [task.name for task in tasks]
    for name in named:
        if name not in names:
            raise UserError(f"{setting} names {name}, which is no task",
                            f"expected some of {', '.join(names)}.{near(name, names)}")


def plain_losses(tasks: tuple[Task, ...], smoothing: float = 0.0,
                 weights: Mapping[str, float] = MappingProxyType({})) -> Losses:
    """Cross-entropies of all tasks."""
    return Losses(tasks, {task.name: _plain(task, smoothing) for task in tasks}, task_factors(tasks, weights))


def build_losses(tasks: tuple[Task, ...], wish: Wish, counts: Mapping[str, Counts], ranks: Ranks = ALONE) -> Losses:
    """The losses that are asked for; UserError where they do not fit the tasks. counts: samples of classes, by task."""
    refuse_strangers(tasks, wish.loss.tasks, "loss.tasks")
    densities = {task.name: Densities.of(ghm.bins, ghm.momentum) for task in tasks
                 if (ghm := wish.loss.of(task.name).ghm).bins}
    learnt = wish.loss.task_weighting == "learnt"
    variances = {task.name: nn.Parameter(torch.zeros(())) for task in tasks} if learnt else {}
    found, notes = {}, []
    for task in tasks:
        about = About(task, wish.loss.of(task.name), wish.smoothing, counts[task.name], ranks, densities.get(task.name))
        plain = about.parts in (Parts(), Parts(base="sigmoid")) and (task.kind == "multi" or about.softmax)
        found[task.name] = _plain(task, wish.smoothing) if plain else build_criterion(about)
        notes += notes_of(about)
    return Losses(tasks, found, task_factors(tasks, wish.task_weights), Memory(densities, variances), tuple(notes))


def _plain(task: Task, smoothing: float) -> Criterion:
    return lambda logits, labels, weight: hard_loss(task, logits, labels, smoothing)


def weighted_sum(parts: Mapping[str, Tensor], factors: Mapping[str, float]) -> Tensor:
    """The sum over tasks of losses [N] times their task's weight."""
    return torch.stack([factors[name] * part for name, part in parts.items()]).sum(dim=0)


def total(losses: Losses, parts: dict[str, Tensor], judged: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of samples over all tasks, and its parts by name.

    judged: which samples a task's loss is about, bool [N]. Where tasks weigh by their uncertainty, a loss L is counted
    as exp(-s) L + s / 2 with s learnt (Kendall, Gal and Cipolla 2018, https://arxiv.org/abs/1705.07115, section 3), and
    exp(-s) is shown as TASK/weight.
    """
    if not losses.memory.variances:
        return weighted_sum(parts, losses.factors), parts
    weighed, shown = {}, {}
    for name, part in parts.items():
        variance = losses.memory.variances[name]
        weighed[name] = torch.where(judged[name], torch.exp(-variance) * part + variance / 2, 0.0)
        shown[f"{name}/weight"] = torch.exp(-variance).detach().expand_as(part)
    return weighted_sum(weighed, losses.factors), parts | shown


def trained(losses: Losses) -> Objective:
    """The objective of training on labels: the weighted sum over tasks of their losses."""

    def objective(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {task.name: losses.of[task.name](wide(outputs.logits[task.name]), batch.labels[task.name], batch.weight)
                 for task in losses.tasks}
        return total(losses, parts, with_labels(batch))

    return Remembering(objective, losses.memory)


def supervised(tasks: tuple[Task, ...], smoothing: float = 0.0,
               weights: Mapping[str, float] = MappingProxyType({})) -> Objective:
    """The objective of plain training: the weighted sum over tasks of masked cross-entropies."""
    return trained(plain_losses(tasks, smoothing, weights))
