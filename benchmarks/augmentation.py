"""Images a second of augmentation on one thread: views in batches, and each per-sample policy, against torchvision's
transforms.v2 image by image (random resized crop, mirror, brightness, contrast and saturation, erasing). Cases in turn.

    python benchmarks/augmentation.py [--size 128] [--input 96] [--count 256] [--rounds 7]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment, Policy
from components.data.batch_settings import Mix
from components.data.chance import sample_keys
from components.data.mixing import draw_mixture, mix_images
from components.data.policies import apply_policy

Case = Callable[[], object]


def peer(pixels: Tensor, size: int) -> Case:
    """The same changes by transforms.v2, image by image, as a loader's worker would make them."""
    transform = v2.Compose([
        v2.RandomResizedCrop(size, scale=(0.35, 1.0), ratio=(0.75, 1.333), antialias=True), v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.3, 0.3, 0.3), v2.ToDtype(torch.float32, scale=True),
        v2.RandomErasing(0.25, scale=(0.02, 0.2), ratio=(0.4, 2.5), value=0.5)])
    images = pixels.permute(0, 3, 1, 2).contiguous()
    return lambda: torch.stack([transform(image) for image in images])


def cases(size: int, wanted: int, count: int) -> dict[str, Case]:
    """What is timed, by name; the peer first."""
    chance = np.random.default_rng(0)
    ids = chance.integers(0, 256, (count, 32), dtype=np.uint8)
    coarse = torch.from_numpy(chance.random((count, 3, 12, 12), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).mul(255).to(torch.uint8)
    pixels = smooth.permute(0, 2, 3, 1).contiguous()
    array, keys = pixels.numpy(), sample_keys(0, "policy", ids, 1)

    def views(settings: Augment) -> Tensor:
        return torch.cat([render(pixels[at : at + 64], draw_views(settings, 0, ids[at : at + 64], 1), (wanted, wanted))
                          for at in range(0, count, 64)])

    images, wish = views(Augment()), Mix(mixup=0.5, cutmix=0.5, each="sample")

    def mixed() -> None:
        for step, part in enumerate(images.split(64)):
            mixture = draw_mixture(wish, 0, step, len(part), (wanted, wanted))
            if mixture is not None:
                mix_images(part, mixture)

    found: dict[str, Case] = {
        "transforms.v2, image by image": peer(pixels, wanted), "views in batches": lambda: views(Augment()),
        "views, turned and on grey": lambda: views(Augment(rotate=15, zoom=(0.9, 1.1), background="grey")),
        "mixing alone": mixed}
    for policy in get_args(Policy)[1:]:
        found[f"policy {policy}"] = lambda policy=policy: apply_policy(Augment(policy=policy), array, keys)
    return found


def main() -> None:
    """Print images a second and the ratio to the peer, medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("size", 128), ("input", 96), ("count", 256), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    timed = cases(options.size, options.input, options.count)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(options.rounds + 1):  # the first is a warm-up
        for name, case in timed.items():
            start = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - start)
    first = seconds[next(iter(timed))][1:]
    print(f"{options.count} images of {options.size} x {options.size} -> {options.input} x {options.input}, one thread")
    for name, all_of_it in seconds.items():
        ratio = statistics.median(peer / own for peer, own in zip(first, all_of_it[1:], strict=True))
        speed = options.count / statistics.median(all_of_it[1:])
        print(f"{name:<32}{speed:>9,.0f} images/s {ratio:>8.2f} x the peer")


if __name__ == "__main__":
    main()
