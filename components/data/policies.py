"""Per-sample policies of torchvision, drawn by key: the second tier of augmentation."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from components.data.chance import Words

POLICIES: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "randaugment": lambda: v2.RandAugment(fill=128),
    "trivialaugment": lambda: v2.TrivialAugmentWide(fill=128),
    "autoaugment": lambda: v2.AutoAugment(fill=128),
}


def apply_policy(name: str, pixels: NDArray[np.uint8], keys: Words) -> NDArray[np.uint8]:
    """Apply a policy to images uint8 [N, H, W, 3], each by its own key, and leave torch's own state untouched."""
    policy = POLICIES[name]()
    out = np.empty_like(pixels)
    with torch.random.fork_rng(devices=[]):
        for row, key in enumerate(keys):
            torch.manual_seed(int(key) >> 1)
            image = torch.from_numpy(pixels[row]).permute(2, 0, 1)
            out[row] = policy(image).permute(1, 2, 0).numpy()
    return out
