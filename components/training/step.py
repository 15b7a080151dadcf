"""One step of the optimiser: the views of a batch, the forward pass, the loss, the backward pass."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.chance import batch_seed
from components.data.dataset import Dataset
from components.data.loader import Batch
from components.data.mixing import Mixture, cut_out, draw_mixture, mix_images, overlay_mixture, shares, unmixed
from components.data.parts import Division
from components.data.resident import Resident
from components.data.scales import size_at
from components.data.views import views_of
from components.losses.objective import Objective, taught_by
from components.losses.ranks import ALONE, Forward, Ranks
from components.models.outputs import Outputs
from components.models.preprocessing import Normalise
from components.training.averaging import after_step
from components.training.devices import arithmetic
from components.training.divergence import LOOK_EVERY, Taken
from components.training.settings import Recipe
from components.training.slimming import push_scales
from components.training.state import State

NORM_EVERY = 10  # steps between looks at the gradient's norm where nothing is clipped by it

# (epoch, training figures of the epoch) -> figures to add; it may keep the weights as the best.
AfterEpoch: TypeAlias = Callable[[int, dict[str, float]], dict[str, float]]

# What an objective said of some samples, and their weights: ({name: [n]}, [n]), without gradients.
Told: TypeAlias = tuple[dict[str, Tensor], Tensor]

# (place in the epoch, number of steps of the epoch, batch)
Moment: TypeAlias = tuple[int, int, Batch]


def quiet(step: int, figures: dict[str, float]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Job:
    """What is trained on what: rows of a Dataset under an objective.

    view_of: epoch -> view to look at; larger numbers ask for views of a sample's further visits in an epoch. save:
    write a checkpoint. stop: whether to end at the next step. show: wraps the batches to show progress. recalls: of
    classes on the validation split after the latest epoch, by task, [C], NaN where it lacks one. factor: epoch ->
    factors on the weights of all samples, float32 [len(dataset)]. told: step and figures of a look at the loss.
    ranks: those that share each batch. kept: pixels that stay on the device.
    """

    dataset: Dataset
    rows: NDArray[np.int64]
    recipe: Recipe
    objective: Objective
    seed: int
    device: torch.device
    view_of: Callable[[int], int]
    after_epoch: AfterEpoch
    save: Callable[[State], None]
    stop: Callable[[], bool]
    show: Callable[[Iterator[Moment], int], Iterator[Moment]]
    workers: int = 0
    save_seconds: float = 30.0
    recalls: Callable[[], dict[str, NDArray[np.float64]]] = dict
    factor: Callable[[int], NDArray[np.float32]] | None = None
    told: Callable[[int, dict[str, float]], None] = quiet
    ranks: Ranks = ALONE
    kept: Resident | None = None

    @property
    def division(self) -> Division:
        """How this rank takes its share of a batch."""
        return Division(self.ranks.rank, self.ranks.size, self.recipe.accumulate, self.recipe.sampler.together)


@dataclass(frozen=True)
class Piece:
    """What goes through the network at once: samples, how they are laid over one another, and what they stand for.

    batch: the samples, and behind them others that are partners alone. size: height and width that they are looked
    at in. place: of the piece among those of its rank. shares: labels and weights, on the device.
    """

    batch: Batch
    mixture: Mixture | None
    size: tuple[int, int]
    place: int
    shares: list[Batch]


def train_step(job: Job, state: State, batch: Batch, normalise: Normalise, size: tuple[int, int]) -> None:
    """One step of the optimiser, with every draw about the batch made from (seed, step).

    What the network itself draws (dropout, stochastic depth) also depends on the rank and on the number of parts.
    """
    torch.manual_seed(batch_seed(job.seed, "step", state.step, *([job.ranks.rank] if job.ranks.rank else [])))
    pieces = cut(job, state.step, batch, size_at(job.recipe.scales, size, job.seed, state.step))
    weight = job.ranks.total(total(share.weight.sum() for piece in pieces for share in piece.shares))
    weight = weight.clamp_min(1e-12)  # samples of weight 0 teach nothing: no error
    state.rate = state.optimizer.param_groups[0]["lr"]
    told = [learn(job, state, piece, weight, normalise) for piece in pieces]
    norm = descend(job, state)
    state.losses.settle()
    state.step += 1
    job.ranks.even(state.network)
    after_step(job.recipe.averaging, state.average, state.network, state.step)
    loss = add_up(job, state, told, weight)
    if norm is not None:
        add_norm(state, norm)
    state.alarm.recent.append(Taken(state.step, state.rate, batch.whole, loss, norm))
    if state.step % LOOK_EVERY == 0:
        job.told(state.step, state.alarm.look(job.dataset.ids))


def cut(job: Job, step: int, batch: Batch, size: tuple[int, int]) -> list[Piece]:
    """What this rank computes of a batch, in as many pieces as the recipe accumulates; size: of its images."""
    count = len(batch.whole)
    mixture = draw_mixture(job.recipe.mix, job.seed, step, count, size)
    found = [cut_out(batch, part, mixture) for part in job.division.parts(count)]
    return [Piece(held, mixed, size, place, worth)
            for place, ((held, mixed), worth) in enumerate(zip(found, worths(job, found, size), strict=True))]


def worths(job: Job, found: list[tuple[Batch, Mixture | None]], size: tuple[int, int]) -> list[list[Batch]]:
    """The shares of pieces; where views are mixtures and one piece of the batch has any, so are those of all.

    So every rank asks its objective as often as the others.
    """
    mixtures = [mixed if held.overlaid is None else overlay_mixture(held.overlaid, size) for held, mixed in found]
    if job.recipe.augment.mix.on and job.ranks.any(any(mixed is not None for mixed in mixtures)):
        mixtures = [mixed or unmixed(len(held.rows)) for mixed, (held, _) in zip(mixtures, found, strict=True)]
    return [shares(on_device(held, job), mixed) for mixed, (held, _) in zip(mixtures, found, strict=True)]


def learn(job: Job, state: State, piece: Piece, weight: Tensor, normalise: Normalise) -> tuple[Tensor, list[Told]]:
    """Add the gradients of a piece to those of the pieces before; its part of the loss, and what made it up.

    weight: of the whole batch, so that gradients add up to those of its weighted mean; times the number of ranks, of
    which a joined network takes the mean.
    """
    images = views_of(job.recipe.augment, job.seed, job.dataset, piece.batch, piece.size, job.device)
    images = normalise(images if piece.mixture is None else mix_images(images, piece.mixture)).to(width(job.recipe))
    if job.recipe.memory_format == "channels_last":
        images = images.contiguous(memory_format=torch.channels_last)
    if piece.place == 0:
        state.optimizer.zero_grad(set_to_none=True)
    network: Forward = job.ranks.joined(state.network if state.forward is None else state.forward)
    with nullcontext() if piece.place + 1 == job.recipe.accumulate else job.ranks.apart(network):
        with arithmetic(job.recipe.precision, job.device):
            outputs: Outputs = network(images, taught(job, piece.shares))
        told = [(job.objective(outputs, share), share.weight) for share in piece.shares]
        loss = total((losses * weights).sum() for (losses, _), weights in told) / (weight / job.ranks.size)
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    return loss.detach(), [({name: part.detach() for name, part in ({"loss": losses} | parts).items()}, weights)
                           for (losses, parts), weights in told]


def descend(job: Job, state: State) -> Tensor | None:
    """Move the weights against the gradient; its norm where that is known at little cost.

    The scaler, which is for fp16 alone, passes over a step whose gradients are too large for its numbers.
    """
    for learnt in state.losses.parameters():  # no part of the network, whose gradients are joined
        assert learnt.grad is not None
        learnt.grad = job.ranks.total(learnt.grad) / job.ranks.size
    state.scaler.unscale_(state.optimizer)
    push_scales(state.network, job.recipe.slimming)
    norm = gradient_norm(state, job.recipe.clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return norm


def gradient_norm(state: State, clip: float) -> Tensor | None:
    """The norm of the network's gradient before it is clipped; where it need not be, of every tenth step alone."""
    if clip > 0:
        return torch.nn.utils.clip_grad_norm_(state.network.parameters(), clip)
    if state.step % NORM_EVERY:
        return None
    return torch.nn.utils.get_total_norm([p.grad for p in state.network.parameters() if p.grad is not None])


def add_norm(state: State, norm: Tensor) -> None:
    """Add a gradient's norm to the sums of the epoch; one that is no number, which fp16 passes over, is left out."""
    known = torch.isfinite(norm)
    for name, value in {"norm": torch.where(known, norm, 0.0).double(), "norms": known.double()}.items():
        state.sums[name] = state.sums[name].to(value.device) + value if name in state.sums else value


def taught(job: Job, parts: list[Batch]) -> dict[str, Tensor] | None:
    """Which images teach each task, alone or as a part of a mixture, bool [N]; None where no head has a norm."""
    if job.recipe.model.head.kind == "linear":
        return None
    known = [(taught_by(job.objective, part), part.weight > 0) for part in parts]
    return {name: torch.stack([by_task[name] & counts for by_task, counts in known]).any(dim=0) for name in known[0][0]}


def size_of(recipe: Recipe, epoch: int, stored: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the images in an epoch: phases of equal length."""
    return sized(recipe.sizes[epoch * len(recipe.sizes) // recipe.epochs], stored)


def sized(entry: int | tuple[int, int], stored: tuple[int, int]) -> tuple[int, int]:
    """Height and width that an entry of `sizes` stands for; of a height alone, the width in the stored proportion."""
    return entry if isinstance(entry, tuple) else (entry, max(round(entry * stored[1] / stored[0]), 1))


def add_up(job: Job, state: State, told: list[tuple[Tensor, list[Told]]], weight: Tensor) -> Tensor:
    """Add a step's losses and their weights to the sums of the epoch, on the device and without waiting for it.

    The loss of the step is returned, float64.
    """
    every, names = [one for _, found in told for one in found], list(told[0][1][0][0])
    sums = [total((parts[name].double() * weights).sum() for parts, weights in every) for name in names]
    mean = total(loss.double() for loss, _ in told) / job.ranks.size
    summed = job.ranks.total(torch.stack([*sums, mean]))
    for name, value in zip([*names, "weight"], [*summed[:-1], weight.double()], strict=True):
        state.sums[name] = state.sums[name].to(value.device) + value if name in state.sums else value
    return summed[-1]


def total(values: Iterable[Tensor]) -> Tensor:
    """The sum of single numbers; of one, itself to the bit."""
    return torch.stack(list(values)).sum()


def on_device(batch: Batch, job: Job) -> Batch:
    """Labels and weights on the device, those of partners too; the pixels go there by themselves."""
    labels = {name: tensor.to(job.device) for name, tensor in batch.labels.items()}
    partners = on_device(batch.partners, job) if batch.partners is not None else None
    return replace(batch, labels=labels, weight=batch.weight.to(job.device, width(job.recipe)), partners=partners)


def width(recipe: Recipe) -> torch.dtype:
    """What images and weights of samples are computed in; autocast takes care of what is narrower."""
    return torch.float64 if recipe.precision == "fp64" else torch.float32
