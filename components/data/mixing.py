"""Mixup and CutMix: images of a batch laid over partners from the same batch.

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


@dataclass(frozen=True)
class Mixture:
    """How N images are mixed.

    partners: places in the batch, int64 [N]. opacity: of an image over its partner, float32 [N]. box: what shows the
    partner alone (top, left, bottom, right), int64 [N, 4] in pixels. kept: share of each image that is its own, float32
    [N].
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
    box = np.rint(corners.clip(0, 1) * np.array([*size, *size])).astype(np.int64)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / (size[0] * size[1])
    kept = (opacity * (1 - area)).astype(np.float32)
    if (kept == 1).all():
        return None
    opacity, box, kept = (np.resize(array, (count, *array.shape[1:])) for array in (opacity, box, kept))
    return Mixture(chance.permutation(count), opacity.astype(np.float32), box, kept)


def mix_images(images: Tensor, mixture: Mixture) -> Tensor:
    """Lay images float32 [N, C, h, w] over their partners."""
    height, width = images.shape[2:]
    top, left, bottom, right = torch.from_numpy(mixture.box).to(images.device)[:, :, None, None].unbind(1)
    y = torch.arange(height, device=images.device)[:, None]
    x = torch.arange(width, device=images.device)[None, :]
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    opacity = torch.from_numpy(mixture.opacity).to(images.device)[:, None, None]
    own = torch.where(inside, 0.0, opacity)[:, None]
    return torch.lerp(images[torch.from_numpy(mixture.partners).to(images.device)], images, own)


def shares(batch: Batch, mixture: Mixture | None) -> list[Batch]:
    """The batches that a mixed one stands for: its samples, and their partners with their own views and weights."""
    if mixture is None:
        return [batch]
    kept = torch.from_numpy(mixture.kept).to(batch.weight.device)
    partners = batch.taken(mixture.partners)
    return [replace(batch, weight=batch.weight * kept), replace(partners, weight=partners.weight * (1 - kept))]
