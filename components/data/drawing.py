"""Drawings of garments: a data set that needs no download, easy to look at and not trivial to learn.

What a garment is (kind, colour, pattern, cut) depends on (seed, garment number), what one picture of it looks like
(pose, light, background, what covers it) on (seed, item number); no draw depends on another item.
"""

import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from components.data.backgrounds import CAMERAS, background, muted
from components.data.chance import generator
from components.data.silhouettes import CATEGORIES, CLOTH, Polygon, silhouette

COLOURS = {
    "black": (38, 38, 42), "white": (232, 230, 226), "grey": (132, 134, 138), "red": (196, 44, 48),
    "yellow": (222, 182, 52), "green": (58, 136, 74), "blue": (52, 88, 176), "purple": (132, 66, 150),
}
PITCHES = {"plain": 1.0, "stripes": 2.3, "checks": 3.2, "dots": 2.1}  # repeats over the half width of a garment
PATTERNS = tuple(PITCHES)
OVERSAMPLING = 2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Garment:
    """One piece of clothing, the same in every picture of it.

    shade, second: RGB of the cloth and of its pattern. pitch: repeats of the pattern over the garment's half width.
    angle: of stripes, in radians. cut: free proportions of the silhouette, each in 0..1.
    """

    category: str
    colour: str
    pattern: str
    shade: tuple[float, ...]
    second: tuple[float, ...]
    pitch: float
    angle: float
    cut: tuple[float, ...]


@dataclass(frozen=True)
class Picture:
    """One encoded image and the camera that took it."""

    content: bytes
    format: Literal["JPEG", "PNG"]
    camera: str


def garment(seed: int, number: int) -> Garment:
    """The garment of a number; kinds take turns, the rest is drawn."""
    draw = generator(seed, "sample.garment", number)
    category = CATEGORIES[number % len(CATEGORIES)]
    colour = str(draw.choice(list(COLOURS)))
    pattern = PATTERNS[int(draw.integers(len(PATTERNS)))]
    shade = np.clip(np.array(COLOURS[colour]) * draw.uniform(0.9, 1.1) + draw.normal(0, 8, 3), 8, 247)
    light = shade.mean() < 128
    second = shade + (draw.uniform(100, 140) if light else -draw.uniform(100, 140)) * draw.uniform(0.85, 1.1, 3)
    pitch, angle = PITCHES[pattern] * draw.uniform(0.85, 1.15), math.pi / 2 + draw.normal(0, 0.06)
    return Garment(category, colour, pattern, tuple(shade), tuple(np.clip(second, 8, 247)), float(pitch), float(angle),
                   tuple(draw.uniform(size=12)))


def picture(seed: int, item: int, number: int, size: int) -> Picture:
    """Picture `item`, of the garment of a number, size x size pixels."""
    draw = generator(seed, "sample.picture", item)
    worn = garment(seed, number)
    camera = str(draw.choice(CAMERAS))
    scene = background(camera, size, draw)
    pose = random_pose(draw)
    polygons = silhouette(worn.category, worn.cut, draw)
    cover, cloth = rendered(worn, polygons, pose, size)
    scene = scene * (1 - shadow(cover, draw)[..., None])
    scene = scene * (1 - cover[..., None]) + cloth
    occlude(scene, draw)
    pixels = photographed(scene, camera, draw)
    return encoded(pixels, camera, draw)


def random_pose(draw: np.random.Generator) -> Floats:
    """An affine map from garment coordinates (-1..1, y down) to picture coordinates (0..1), float [2, 3]."""
    angle = draw.normal(0, 0.1)
    scale = draw.uniform(0.4, 0.47)
    stretch, shear, mirror = draw.uniform(0.92, 1.08), draw.normal(0, 0.05), draw.choice([-1.0, 1.0])
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    linear = scale * turn @ np.array([[mirror * stretch, shear], [0, 1 / stretch]])
    return np.column_stack([linear, draw.uniform(0.46, 0.54, 2)]).astype(np.float32)


def rendered(worn: Garment, polygons: list[Polygon], pose: Floats, size: int) -> tuple[Floats, Floats]:
    """How much of each pixel the garment covers [S, S], and its colour times that [S, S, 3], free of jagged edges."""
    fine = size * OVERSAMPLING
    canvas = Image.new("L", (fine, fine))  # 0: none; else the tone of the part
    pen = ImageDraw.Draw(canvas)
    for polygon in polygons:
        points = (polygon.points @ pose[:, :2].T + pose[:, 2]) * fine
        pen.polygon([(float(x), float(y)) for x, y in points], fill=polygon.tone)
    tone = np.asarray(canvas, np.float32)
    figure = pattern_mask(worn, *garment_coordinates(pose, fine))
    u, v = garment_coordinates(pose, size)
    folds = 1 + 0.09 * np.sin(5 * u + 9 * worn.cut[-1] + 2 * v) * np.cos(3 * v + 9 * worn.cut[-2])
    whole, second = halved(tone) * folds / CLOTH, halved(tone * figure) * folds / CLOTH
    shades = np.array([worn.shade, worn.second], np.float32)
    colour: Floats = (whole - second)[..., None] * shades[0] + second[..., None] * shades[1]
    return halved((tone > 0).astype(np.float32)), colour


def garment_coordinates(pose: Floats, size: int) -> tuple[Floats, Floats]:
    """Where the middle of every pixel lies on the garment: u and v, each [size, size]."""
    inverse = np.linalg.inv(pose[:, :2])
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = axis[None, :] - pose[0, 2], axis[:, None] - pose[1, 2]
    return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y


def pattern_mask(worn: Garment, u: Floats, v: Floats) -> Floats:
    """Where the second colour shows: 1 or 0 at garment coordinates u, v."""
    across = worn.pitch * (math.cos(worn.angle) * u + math.sin(worn.angle) * v)
    along = worn.pitch * (math.cos(worn.angle) * v - math.sin(worn.angle) * u)
    if worn.pattern == "stripes":
        figure = across % 1.0 < 0.5
    elif worn.pattern == "checks":
        figure = (across % 1.0 < 0.25) | (along % 1.0 < 0.25)
    elif worn.pattern == "dots":
        figure = (across % 1.0 - 0.5) ** 2 + (along % 1.0 - 0.5) ** 2 < 0.09
    else:
        figure = np.zeros(np.broadcast_shapes(u.shape, v.shape), bool)
    return figure.astype(np.float32)


def halved(values: Floats) -> Floats:
    """Means of 2 x 2 blocks: [2S, 2S, ...] -> [S, S, ...]."""
    total = values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]
    return total * np.float32(0.25)


def shadow(cover: Floats, draw: np.random.Generator) -> Floats:
    """Share of light that the garment takes from the ground beside it, [S, S]."""
    down, right = (int(step) for step in draw.integers(1, max(2, len(cover) // 24), 2))
    return np.float32(0.35 * draw.uniform()) * np.roll(cover, (down, right), (0, 1))


def occlude(scene: Floats, draw: np.random.Generator) -> None:
    """Lay up to two bars or patches over the picture, in place."""
    size = len(scene)
    for _ in range(int(draw.choice([0, 1, 2], p=[0.75, 0.2, 0.05]))):
        long, thin = draw.uniform(0.2, 0.45) * size, draw.uniform(0.06, 0.16) * size
        height, width = (long, thin) if draw.uniform() < 0.5 else (thin, long)
        top, left = draw.uniform(0, size - height), draw.uniform(0, size - width)
        scene[int(top) : int(top + height), int(left) : int(left + width)] = muted(draw, 30, 230)


def photographed(scene: Floats, camera: str, draw: np.random.Generator) -> NDArray[np.uint8]:
    """The scene under uneven light of some colour, with noise: uint8 [S, S, 3]."""
    size = len(scene)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope = draw.normal(0, 0.1, 2).astype(np.float32)
    light = 1 + slope[0] * axis[None, :] + slope[1] * axis[:, None]
    gain = draw.uniform(0.84, 1.14) * (1 + draw.normal(0, 0.03, 3))
    noise = draw.normal(0, draw.uniform(1, 6), scene.shape)
    pixels: NDArray[np.uint8] = np.clip(scene * light[..., None] * gain + noise, 0, 255).astype(np.uint8)
    return pixels


def encoded(pixels: NDArray[np.uint8], camera: str, draw: np.random.Generator) -> Picture:
    """The picture as a file: every fifth a PNG, the others JPEG."""
    kind: Literal["JPEG", "PNG"] = "PNG" if draw.uniform() < 0.2 else "JPEG"
    stream = io.BytesIO()
    quality = int(draw.integers(78, 95))
    Image.fromarray(pixels).save(stream, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return Picture(stream.getvalue(), kind, camera)
