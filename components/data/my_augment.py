"""The policy `myaugment`: mirror, crop and turn, and up to three of eight changes, in random order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.data import pixel_operations as pixels
from components.data.chance import Words, uniforms
from components.data.pixel_operations import BORDERS, Pixels

DRAWS = 48
MOST = 3
FIRES = 0.8


@dataclass(frozen=True)
class Operation:
    """A function of `pixel_operations`, and its arguments after the pixels."""

    function: Callable[..., Pixels]
    values: tuple[float, ...] = ()


class Chance:
    """Draws from [0, 1), handed out one after the other."""

    def __init__(self, draws: NDArray[np.float64]) -> None:
        self._draws = iter(draws.tolist())

    def draw(self) -> float:
        """The next one."""
        return float(next(self._draws))

    def between(self, low: float, high: float) -> float:
        """A number from an interval."""
        return low + (high - low) * self.draw()

    def pick(self, count: int) -> int:
        """One of 0, ..., count - 1."""
        return int(self.draw() * count)

    def happens(self, probability: float) -> bool:
        """Whether something happens."""
        return self.draw() < probability

    def order(self, count: int) -> list[int]:
        """The numbers 0, ..., count - 1 in random order."""
        draws = [self.draw() for _ in range(count)]
        return sorted(range(count), key=lambda place: draws[place])


def my_augment(images: NDArray[np.uint8], keys: Words) -> NDArray[np.uint8]:
    """Apply the policy to images uint8 [N, H, W, 3], each by its own key."""
    out = np.empty_like(images)
    for row, draws in enumerate(uniforms(keys, DRAWS)):
        out[row] = apply(images[row], plan(Chance(draws)))
    return out


def apply(image: Pixels, operations: list[Operation]) -> Pixels:
    """Apply operations to one image, uint8 [H, W, 3], one after the other."""
    for operation in operations:
        image = operation.function(image, *operation.values)
    return image


def plan(chance: Chance) -> list[Operation]:
    """What is done to an image, in order."""
    stages = [_mirror(chance), _crop(chance), _turn(chance), _some(chance)]
    return [operation for place in chance.order(len(stages)) for operation in stages[place]]


def _mirror(chance: Chance) -> list[Operation]:
    return [Operation(pixels.flip)] if chance.happens(0.5) else []


def _crop(chance: Chance) -> list[Operation]:
    shares = tuple(chance.between(0.0, 0.1) for _ in range(4))
    return [Operation(pixels.crop, shares)] if chance.happens(0.5) else []


def _turn(chance: Chance) -> list[Operation]:
    values = (chance.between(-20, 20), float(chance.pick(len(BORDERS))), chance.between(0, 255))
    return [Operation(pixels.rotate, values)] if chance.happens(0.5) else []


def _some(chance: Chance) -> list[Operation]:
    chosen = chance.order(len(CHANGES))[: chance.pick(MOST + 1)]
    return [operation for place in chosen for operation in [CHANGES[place](chance)] if chance.happens(FIRES)]


def _blur(chance: Chance) -> Operation:
    if chance.happens(0.5):
        return Operation(pixels.gaussian_blur, (chance.between(0, 2),))
    return Operation(pixels.average_blur, (1.0 + chance.pick(5),))


def _smear(chance: Chance) -> Operation:
    if chance.happens(0.5):
        return Operation(pixels.motion_blur, (3.0 + 2 * chance.pick(5), chance.between(0, 180)))
    return Operation(pixels.bilateral, (3.0 + 2 * chance.pick(3), chance.between(10, 250)))


def _noise(chance: Chance) -> Operation:
    if chance.happens(0.5):
        return Operation(pixels.salt_and_pepper, (chance.between(0, 0.03), chance.draw()))
    return Operation(pixels.gaussian_noise, (chance.between(0, 0.05 * 255), float(chance.pick(2)), chance.draw()))


def _contrast(chance: Chance) -> Operation:
    return Operation(pixels.contrast, (chance.between(0.6, 1.4),))


def _sharpen(chance: Chance) -> Operation:
    return Operation(pixels.sharpen, (chance.between(0, 1), chance.between(0.75, 1.5)))


def _brightness(chance: Chance) -> Operation:
    factor, offset, kind = chance.between(0.5, 1.5), chance.between(-30, 30), chance.pick(3)
    return Operation(pixels.brightness, (1.0 if kind == 0 else factor, 0.0 if kind == 1 else offset))


def _saturation(chance: Chance) -> Operation:
    values = (1.0, chance.between(-75, 75)) if chance.happens(0.5) else (chance.between(0, 3), 0.0)
    return Operation(pixels.saturation, values)


def _hue(chance: Chance) -> Operation:
    values = (1.0, chance.between(-255, 255)) if chance.happens(0.5) else (chance.between(-3, 3), 0.0)
    return Operation(pixels.hue, values)


CHANGES: tuple[Callable[[Chance], Operation], ...] = (
    _blur, _smear, _noise, _contrast, _sharpen, _brightness, _saturation, _hue)
