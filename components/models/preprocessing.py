"""From stored pixels to what a network reads, as plain linear algebra: the same in training, evaluation and graphs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.models.settings import Normalisation

# Mean and spread that are taken off by channel. advprop: Xie et al. 2020, https://arxiv.org/abs/1911.09665.
NORMALISATIONS: dict[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "advprop": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def resize_matrix(source: int, target: int) -> NDArray[np.float32]:
    """The antialiased bilinear resize of one axis as a matrix, float32 [target, source].

    A triangle filter as wide as a target pixel (Pillow's BILINEAR, torch's antialias=True).
    """
    if source == target:
        return np.eye(source, dtype=np.float32)
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None, :] + 0.5 - centres[:, None]) / reach
    weights = np.maximum(1.0 - distance, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


class Normalise(nn.Module):
    """Images float32 [N, 3, h, w] in [0, 1] -> a mean taken off and a spread divided out, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    @classmethod
    def named(cls, name: Normalisation) -> "Normalise":
        """One of NORMALISATIONS."""
        return cls(*NORMALISATIONS[name])

    def forward(self, images: Tensor) -> Tensor:
        """Subtract and divide, channel by channel."""
        return (images - self.mean) / self.std


class Preprocess(nn.Module):
    """Stored pixels uint8 [N, H, W, 3] -> float32 [N, 3, h, w], resized and normalised."""

    rows: Tensor
    columns: Tensor

    def __init__(self, stored: tuple[int, int], size: tuple[int, int], normalise: Normalise | None = None) -> None:
        super().__init__()
        self.same = stored == size
        self.register_buffer("rows", torch.from_numpy(resize_matrix(stored[0], size[0])), persistent=False)
        columns = torch.from_numpy(resize_matrix(stored[1], size[1])).T.contiguous()
        self.register_buffer("columns", columns, persistent=False)
        self.normalise = normalise or Normalise.named("imagenet")

    def forward(self, pixels: Tensor) -> Tensor:
        """Resize by two matrix products, then normalise."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        if not self.same:
            images = torch.matmul(torch.matmul(self.rows, images), self.columns)
        normalised: Tensor = self.normalise(images)
        return normalised


def geometry_head(stored: tuple[int, int], size: tuple[int, int], pad: int,
                  normalisation: Normalisation = "imagenet") -> dict[str, Any]:
    """What a model's head says of its input: the whole stored image, resized to the input, then normalised."""
    mean, std = NORMALISATIONS[normalisation]
    return {"stored": list(stored), "input": list(size), "pad": pad, "mean": list(mean), "std": list(std)}
