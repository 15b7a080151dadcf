"""One step of the optimiser: the views of a batch, the forward pass, the loss, the backward pass."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.chance import batch_seed
from components.data.dataset import Dataset
from components.data.loader import Batch
from components.data.mixing import Mixture, draw_mixture, mix_images, overlay_mixture, shares
from components.data.scales import size_at
from components.data.views import views_of
from components.losses.objective import Objective, taught_by
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


def train_step(job: Job, state: State, batch: Batch, normalise: Normalise, size: tuple[int, int]) -> None:
    """One step of the optimiser, with every draw about the batch made from (seed, step)."""
    torch.manual_seed(batch_seed(job.seed, "step", state.step))
    size = size_at(job.recipe.scales, size, job.seed, state.step)
    images, mixture = images_of(job, state.step, batch, size)
    images = normalise(images)
    if job.recipe.memory_format == "channels_last":
        images = images.contiguous(memory_format=torch.channels_last)
    parts = shares(on_device(batch, job.device), mixture)
    with arithmetic(job.recipe.precision, job.device):
        outputs: Outputs = (state.forward or state.network)(images, taught(job, parts))
    told = [(job.objective(outputs, part), part.weight) for part in parts]
    weight = total(weights.sum() for _, weights in told).clamp_min(1e-12)  # samples of weight 0 teach nothing: no error
    loss = total((losses * weights).sum() for (losses, _), weights in told) / weight
    state.rate = state.optimizer.param_groups[0]["lr"]
    norm = descend(job, state, loss)
    state.losses.settle()
    state.step += 1
    after_step(job.recipe.averaging, state.average, state.network, state.step)
    add_up(state, [({"loss": losses} | by_name, weights) for (losses, by_name), weights in told], weight)
    if norm is not None:
        add_norm(state, norm)
    state.alarm.recent.append(Taken(state.step, state.rate, batch.rows, loss.detach(), norm))
    if state.step % LOOK_EVERY == 0:
        job.told(state.step, state.alarm.look(job.dataset.ids))


def descend(job: Job, state: State, loss: Tensor) -> Tensor | None:
    """Move the weights against the gradient; its norm where that is known at little cost.

    The scaler, which is for fp16 alone, passes over a step whose gradients are too large for its numbers.
    """
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
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


def images_of(job: Job, step: int, batch: Batch, size: tuple[int, int]) -> tuple[Tensor, Mixture | None]:
    """A batch as the network sees it before normalisation, float32 [N, 3, h, w] in [0, 1], and how it is mixed."""
    images = views_of(job.recipe.augment, job.seed, job.dataset, batch, size, job.device)
    if batch.overlaid is not None:
        return images, overlay_mixture(batch.overlaid, size)
    mixture = draw_mixture(job.recipe.mix, job.seed, step, len(batch.rows), size)
    return images if mixture is None else mix_images(images, mixture), mixture


def size_of(recipe: Recipe, epoch: int, stored: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the images in an epoch: phases of equal length."""
    return sized(recipe.sizes[epoch * len(recipe.sizes) // recipe.epochs], stored)


def sized(entry: int | tuple[int, int], stored: tuple[int, int]) -> tuple[int, int]:
    """Height and width that an entry of `sizes` stands for; of a height alone, the width in the stored proportion."""
    return entry if isinstance(entry, tuple) else (entry, max(round(entry * stored[1] / stored[0]), 1))


def add_up(state: State, told: list[tuple[dict[str, Tensor], Tensor]], weight: Tensor) -> None:
    """Add a step's losses and their weights to the sums of the epoch, on the device and without waiting for it."""
    values = {name: total((parts[name].detach().double() * weights).sum() for parts, weights in told)
              for name in told[0][0]}
    for name, value in (values | {"weight": weight.double()}).items():
        state.sums[name] = state.sums[name].to(value.device) + value if name in state.sums else value


def total(values: Iterable[Tensor]) -> Tensor:
    """The sum of single numbers; of one, itself to the bit."""
    return torch.stack(list(values)).sum()


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Labels and weights on the device, those of partners too; the pixels went there before."""
    labels = {name: tensor.to(device) for name, tensor in batch.labels.items()}
    partners = on_device(batch.partners, device) if batch.partners is not None else None
    return replace(batch, labels=labels, weight=batch.weight.to(device), partners=partners)
