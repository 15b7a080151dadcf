"""What lies behind a garment: one style a camera, none of them the same twice."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Style = Callable[[int, np.random.Generator], Floats]


def background(camera: str, size: int, draw: np.random.Generator) -> Floats:
    """The ground that a camera stands before, float [S, S, 3] in 0..255."""
    return np.clip(STYLES[camera](size, draw), 0, 255).astype(np.float32)


def muted(draw: np.random.Generator, low: float, high: float) -> Floats:
    """A colour of a room: one brightness, a little hue, float [3]."""
    colour: Floats = np.clip(draw.uniform(low, high) + draw.normal(0, 11, 3), 10, 245).astype(np.float32)
    return colour


def studio(size: int, draw: np.random.Generator) -> Floats:
    """Light paper, falling off towards one side."""
    axis = np.linspace(0, 1, size)
    fall = draw.uniform(10, 70) * (axis[:, None] * draw.uniform(-1, 1) + axis[None, :] * draw.uniform(-1, 1))
    return (draw.uniform(165, 235) + draw.normal(0, 6, 3) + fall[..., None]).astype(np.float32)


def planks(size: int, draw: np.random.Generator) -> Floats:
    """Wooden boards with their joints and grain."""
    wood = np.array([draw.uniform(110, 190), draw.uniform(80, 140), draw.uniform(45, 100)])
    place = np.arange(size) / size * draw.uniform(3, 7) + draw.uniform()
    tone = draw.normal(0, 9, 16)[place.astype(int)] - 30 * (place % 1 < 0.08)
    grain = np.repeat(draw.normal(0, 4, (size, size // 8 + 1)), 8, axis=1)[:, :size]
    ground: Floats = (wood + tone[:, None, None] + grain[..., None]).astype(np.float32)
    return ground if draw.uniform() < 0.5 else ground.transpose(1, 0, 2)


def carpet(size: int, draw: np.random.Generator) -> Floats:
    """Coarse and fine blotches of one colour."""
    ground = muted(draw, 90, 200) + np.zeros((size, size, 3))
    for block, strength in ((max(1, size // 8), 7), (max(1, size // 24), 7), (1, 6)):
        cells = -(-size // block)
        blotches = draw.normal(0, strength, (cells, cells))
        ground += np.kron(blotches, np.ones((block, block)))[:size, :size, None]
    return ground.astype(np.float32)


def tiles(size: int, draw: np.random.Generator) -> Floats:
    """Square tiles of two tones with grout between them."""
    count, shift = draw.uniform(2.5, 6), draw.uniform(0, 1, 2)
    x, y = (np.arange(size) / size * count + shift[0])[None, :], (np.arange(size) / size * count + shift[1])[:, None]
    first = muted(draw, 110, 215)
    second = np.clip(first + draw.normal(0, 9) + draw.normal(0, 4, 3), 0, 255)
    odd = ((x.astype(int) + y.astype(int)) % 2)[..., None]
    grout = ((x % 1 < 0.06) | (y % 1 < 0.06))[..., None]
    return np.where(grout, first * 0.8, first * (1 - odd) + second * odd).astype(np.float32)


def wall(size: int, draw: np.random.Generator) -> Floats:
    """Two colours that meet at a skirting line, as between a wall and a floor."""
    upper, lower = muted(draw, 120, 225), muted(draw, 90, 200)
    axis = np.linspace(0, 1, size)
    line = draw.uniform(0.45, 0.85) + draw.normal(0, 0.12) * axis
    below = (axis[:, None] > line[None, :])[..., None]
    return (np.where(below, lower, upper) + draw.normal(0, 5, (size, size, 1))).astype(np.float32)


STYLES: dict[str, Style] = {"studio": studio, "planks": planks, "carpet": carpet, "tiles": tiles, "wall": wall}
CAMERAS = tuple(STYLES)
