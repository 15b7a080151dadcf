"""Per-sample policies, drawn by key: the second tier of augmentation."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import AutoAugmentPolicy, v2

from components.data.augment_settings import Augment, Policy
from components.data.chance import Words
from components.data.my_augment import my_augment

FILL = 128  # the grey that surrounds stored images

Transform: TypeAlias = Callable[[Tensor], Tensor]

# Policies of torchvision by name; `myaugment` is the project's own.
TORCHVISION: dict[Policy, Callable[[Augment], Transform]] = {
    "randaugment": lambda wish: v2.RandAugment(wish.operations, wish.magnitude, fill=FILL),
    "trivialaugment": lambda wish: v2.TrivialAugmentWide(fill=FILL),
    "autoaugment_imagenet": lambda wish: v2.AutoAugment(AutoAugmentPolicy.IMAGENET, fill=FILL),
    "autoaugment_cifar10": lambda wish: v2.AutoAugment(AutoAugmentPolicy.CIFAR10, fill=FILL),
    "autoaugment_svhn": lambda wish: v2.AutoAugment(AutoAugmentPolicy.SVHN, fill=FILL),
    "augmix": lambda wish: v2.AugMix(fill=FILL),
}


def apply_policy(settings: Augment, pixels: NDArray[np.uint8], keys: Words) -> NDArray[np.uint8]:
    """Apply the settings' policy to images uint8 [N, H, W, 3], each by its own key; `none` returns them as they are."""
    if settings.policy == "none":
        return pixels
    if settings.policy == "myaugment":
        return my_augment(pixels, keys)
    return _by_torchvision(TORCHVISION[settings.policy](settings), pixels, keys)


def _by_torchvision(transform: Transform, pixels: NDArray[np.uint8], keys: Words) -> NDArray[np.uint8]:
    out = np.empty_like(pixels)
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own state, which belongs to the network
        for row, key in enumerate(keys):
            torch.manual_seed(int(key) >> 1)
            image = torch.from_numpy(pixels[row]).permute(2, 0, 1)
            out[row] = transform(image).permute(1, 2, 0).numpy()
    return out
