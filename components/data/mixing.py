"""Mixup and CutMix: images of a batch laid over partners, from the same batch or as their own views say.

What an image is worth to its own label and to its partner's is carried as sample weights, so that any objective, the
teachers' words included, is the mixture of two ordinary ones. Cross-entropies are linear in their target: the gradient
is that of a mixed target, and no other way of mixing targets is offered.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.batch_settings import Mix
from components.data.chance import generator
from components.data.loader import Batch
from components.data.overlays import Overlaid
from components.data.parts import Part, Rows, located, with_partners


@dataclass(frozen=True)
class Mixture:
    """How N images are mixed.

    partners: places in the batch, or in the batch and the partners behind it, int64 [N]. opacity: of an image over its
    partner, float32 [N]. box: what shows the partner alone (top, left, bottom, right), int64 [N, 4] in pixels. kept:
    share of each image that is its own, float32 [N].
    """

    partners: NDArray[np.int64]
    opacity: NDArray[np.float32]
    box: NDArray[np.int64]
    kept: NDArray[np.float32]


def draw_mixture(settings: Mix, seed: int, step: int, count: int, size: tuple[int, int]) -> Mixture | None:
    """What a step mixes, drawn from (seed, step) alone; None where nothing is mixed.

    count: images in the batch. size: height and width of the images.
    """
    drawn = draw_plan(settings, seed, step, count)
    if drawn is None:
        return None
    box, kept = _in_pixels(drawn.corners, drawn.opacity, size)
    if (kept == 1).all():
        return None
    opacity, box, kept = (np.resize(array, (count, *array.shape[1:])) for array in (drawn.opacity, box, kept))
    return Mixture(drawn.partners, opacity.astype(np.float32), box, kept)


@dataclass(frozen=True)
class Plan:
    """A mixture of N images before their size is known: what is drawn once, or for each.

    partners: places in the batch, int64 [N]. opacity: float64 [1] or [N]. corners: of the rectangle, as shares of
    height and width, float64 [1, 4] or [N, 4].
    """

    partners: Rows
    opacity: NDArray[np.float64]
    corners: NDArray[np.float64]


def draw_plan(settings: Mix, seed: int, step: int, count: int) -> Plan | None:
    """What a step mixes, whatever the size of the images; None where it mixes nothing.

    Mixup as Zhang et al. 2018 (https://arxiv.org/abs/1710.09412), CutMix as Yun et al. 2019
    (https://arxiv.org/abs/1905.04899), whose rectangles are cut off at the border; `kept` of the mixture counts the
    pixels that are left.
    """
    if not settings.on:
        return None
    chance = generator(seed, "mix", step)
    draws = 1 if settings.each == "batch" else count
    kind, centre = chance.random((draws, 1)), chance.random((draws, 2))
    opacity = np.where(kind[:, 0] < settings.mixup, chance.beta(settings.alpha, settings.alpha, draws), 1.0)
    half = np.sqrt(1 - chance.beta(settings.cutmix_alpha, settings.cutmix_alpha, (draws, 1))) / 2
    cut = (kind >= settings.mixup) & (kind < settings.mixup + settings.cutmix)
    corners = np.concatenate([centre - half, centre + half], axis=1) * cut
    if (opacity == 1).all() and not cut.any():
        return None
    return Plan(chance.permutation(count), opacity, corners.clip(0, 1))


def overlay_mixture(overlaid: Overlaid, size: tuple[int, int]) -> Mixture:
    """How views that are mixtures are mixed at a height and width; partners stand behind the batch."""
    box, kept = _in_pixels(overlaid.corners, overlaid.opacity.astype(np.float64), size)
    own = np.arange(len(overlaid.place))
    return Mixture(np.where(overlaid.mixed, len(own) + overlaid.place, own), overlaid.opacity, box, kept)


def _in_pixels(corners: NDArray[np.float64], opacity: NDArray[np.float64],
               size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    box = np.rint(corners.clip(0, 1) * np.array([*size, *size])).astype(np.int64)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / (size[0] * size[1])
    return box, (opacity * (1 - area)).astype(np.float32)


def mix_images(images: Tensor, mixture: Mixture) -> Tensor:
    """Lay the first N of images float32 [N or more, C, h, w] over their partners."""
    height, width = images.shape[2:]
    top, left, bottom, right = torch.from_numpy(mixture.box).to(images.device)[:, :, None, None].unbind(1)
    y = torch.arange(height, device=images.device)[:, None]
    x = torch.arange(width, device=images.device)[None, :]
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    opacity = torch.from_numpy(mixture.opacity).to(images.device)[:, None, None]
    own = torch.where(inside, 0.0, opacity)[:, None]
    over = images[: len(mixture.partners)]
    return torch.lerp(images[torch.from_numpy(mixture.partners).to(images.device)], over, own)


def shares(batch: Batch, mixture: Mixture | None) -> list[Batch]:
    """The batches that a mixed one stands for: its samples, and their partners with their own labels and weights.

    A partner from the batch also brings its own row and view, and so what teachers said of it; where the mixture is
    part of the view, teachers have judged the mixed image, which keeps its row and view. Samples of the batch that are
    partners alone stand behind those that are mixed.
    """
    if mixture is None:
        return [batch]
    kept, count = torch.from_numpy(mixture.kept).to(batch.weight.device), len(mixture.partners)
    own = batch if len(batch.rows) == count else batch.taken(np.arange(count))
    partners = laid_under(batch, mixture) if batch.partners else batch.taken(mixture.partners)
    return [replace(own, weight=own.weight * kept), replace(partners, weight=partners.weight * (1 - kept))]


def laid_under(batch: Batch, mixture: Mixture) -> Batch:
    """The batch with the labels and weights of the partners behind it."""
    assert batch.partners is not None
    index = torch.from_numpy(mixture.partners).to(batch.weight.device)
    both = {name: torch.cat([own, batch.partners.labels[name]]) for name, own in batch.labels.items()}
    weight = torch.cat([batch.weight, batch.partners.weight])[index]
    return replace(batch, labels={name: labels[index.to(labels.device)] for name, labels in both.items()},
                   weight=weight)


def cut_out(batch: Batch, part: Part, mixture: Mixture | None) -> tuple[Batch, Mixture | None]:
    """The samples of a part and how they are mixed; behind them are partners that are none of it.

    batch: a whole one, or the share of a rank. mixture: of the whole batch.
    """
    held = np.arange(len(batch.rows)) if batch.share is None else batch.share.places
    wanted = part.own if mixture is None else with_partners(part.own, mixture.partners)
    found = batch if np.array_equal(wanted, held) else pruned(batch.taken(located(wanted, held)))
    if not part.counts:
        found = weightless(found)
    if mixture is None:
        return found, None
    own = part.own
    return found, Mixture(located(mixture.partners[own], wanted), mixture.opacity[own], mixture.box[own],
                          mixture.kept[own])


def weightless(batch: Batch) -> Batch:
    """The batch with weights of 0, its partners too."""
    partners = weightless(batch.partners) if batch.partners is not None else None
    return replace(batch, weight=torch.zeros_like(batch.weight), partners=partners)


def pruned(batch: Batch) -> Batch:
    """The batch with no more partners than its samples have."""
    if batch.overlaid is None or batch.partners is None:
        return batch
    mixed, place = batch.overlaid.mixed, batch.overlaid.place
    if not mixed.any():
        return replace(batch, partners=None, overlaid=None)
    laid = replace(batch.overlaid, rows=batch.overlaid.rows[place[mixed]],
                   place=np.where(mixed, np.cumsum(mixed) - 1, -1))
    return replace(batch, partners=batch.partners.taken(place[mixed]), overlaid=laid)


def unmixed(count: int) -> Mixture:
    """A mixture of images that are left as they are."""
    return Mixture(np.arange(count), np.ones(count, np.float32), np.zeros((count, 4), np.int64),
                   np.ones(count, np.float32))
