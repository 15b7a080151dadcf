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

    count: images in the batch. size: height and width of the images. Mixup as Zhang et al. 2018
    (https://arxiv.org/abs/1710.09412), CutMix as Yun et al. 2019 (https://arxiv.org/abs/1905.04899), whose rectangles
    are cut off at the border; `kept` counts the pixels that are left.
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
    box, kept = _in_pixels(corners, opacity, size)
    if (kept == 1).all():
        return None
    opacity, box, kept = (np.resize(array, (count, *array.shape[1:])) for array in (opacity, box, kept))
    return Mixture(chance.permutation(count), opacity.astype(np.float32), box, kept)


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
    part of the view, teachers have judged the mixed image, which keeps its row and view.
    """
    if mixture is None:
        return [batch]
    kept = torch.from_numpy(mixture.kept).to(batch.weight.device)
    partners = laid_under(batch, mixture) if batch.partners else batch.taken(mixture.partners)
    return [replace(batch, weight=batch.weight * kept), replace(partners, weight=partners.weight * (1 - kept))]


def laid_under(batch: Batch, mixture: Mixture) -> Batch:
    """The batch with the labels and weights of the partners behind it."""
    assert batch.partners is not None
    index = torch.from_numpy(mixture.partners).to(batch.weight.device)
    both = {name: torch.cat([own, batch.partners.labels[name]]) for name, own in batch.labels.items()}
    weight = torch.cat([batch.weight, batch.partners.weight])[index]
    return replace(batch, labels={name: labels[index.to(labels.device)] for name, labels in both.items()},
                   weight=weight)
