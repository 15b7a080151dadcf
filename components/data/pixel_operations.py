"""Operations on one image, uint8 [H, W, 3] in and out: pure functions of the pixels and of plain numbers."""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from components.data.chance import mix, uniforms

Pixels: TypeAlias = NDArray[np.uint8]

MIDDLE = 127.0  # the grey that contrast turns about
LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601
BORDERS = ("constant", "edge", "symmetric", "reflect", "wrap")  # what a turned image shows at its corners


def flip(pixels: Pixels) -> Pixels:
    """The mirror image."""
    return np.ascontiguousarray(pixels[:, ::-1])


def crop(pixels: Pixels, top: float, right: float, bottom: float, left: float) -> Pixels:
    """Cut shares of the sides off and enlarge what is left to the old size."""
    height, width = pixels.shape[:2]
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box))


def rotate(pixels: Pixels, degrees: float, border: float, grey: float) -> Pixels:
    """Turn anticlockwise about the middle. border: an index into BORDERS; grey: of the constant one, 0 to 255."""
    height, width = pixels.shape[:2]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    reach = math.ceil(abs(sine) * max(height, width) / 2) + 2
    mode, around = BORDERS[int(border)], ((reach, reach), (reach, reach), (0, 0))
    if mode == "constant":
        wide = np.pad(pixels, around, constant_values=round(grey))
    else:
        wide = np.pad(pixels, around, mode=mode)  # type: ignore[call-overload]
    x, y = width / 2, height / 2
    places = (cosine, -sine, x + reach - cosine * x + sine * y, sine, cosine, y + reach - sine * x - cosine * y)
    source = Image.fromarray(wide)
    return np.asarray(source.transform((width, height), Image.Transform.AFFINE, places, Image.Resampling.BILINEAR))


def gaussian_blur(pixels: Pixels, sigma: float) -> Pixels:
    """Blur by a Gaussian, sigma in pixels (Pillow's three box filters that come near it)."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def average_blur(pixels: Pixels, side: float) -> Pixels:
    """The mean over a square, its side in pixels."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.BoxBlur((side - 1) / 2)))


def motion_blur(pixels: Pixels, length: float, degrees: float) -> Pixels:
    """The mean over pixels on a line through each, its length in pixels and odd."""
    reach = int(length) // 2
    steps = np.arange(-reach, reach + 1)
    down = np.rint(-steps * math.sin(math.radians(degrees))).astype(int)
    across = np.rint(steps * math.cos(math.radians(degrees))).astype(int)
    wide, total = _widened(pixels, reach), np.zeros(pixels.shape, np.uint16)
    for y, x in zip(down, across, strict=True):
        total += _shifted(wide, reach, y, x)
    return ((total + len(steps) // 2) // len(steps)).astype(np.uint8)


def bilateral(pixels: Pixels, side: float, spread: float) -> Pixels:
    """The mean over a square weighted by likeness of colour: exp(-d^2 / (2 spread^2)), d over the three channels.

    side: odd, in pixels; spread: in grey levels. Nearness is weighed likewise with a third of the side (Tomasi and
    Manduchi 1998, https://doi.org/10.1109/ICCV.1998.710815).
    """
    reach = int(side) // 2
    wide, own = _widened(pixels, reach).astype(np.float32), pixels.astype(np.float32)
    total, weights = np.zeros_like(own), np.zeros(own.shape[:2], np.float32)
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            other = _shifted(wide, reach, y, x)
            apart = np.square(other - own) @ np.full(3, -1 / (2 * spread**2), np.float32)
            weight = np.exp(apart - np.float32((x * x + y * y) / (2 * (side / 3) ** 2)))
            total += weight[:, :, None] * other
            weights += weight
    return _bytes(total / weights[:, :, None])


def salt_and_pepper(pixels: Pixels, share: float, draw: float) -> Pixels:
    """Turn a share of the pixels white or black. draw: from [0, 1), decides which."""
    height, width = pixels.shape[:2]
    field = _field(draw, height * width).reshape(height, width, 1)
    return np.where(field < share, np.where(field < share / 2, np.uint8(0), np.uint8(255)), pixels)


def gaussian_noise(pixels: Pixels, sigma: float, coloured: float, draw: float) -> Pixels:
    """Add normal noise, sigma in grey levels, to each channel alone or to all alike; by Box and Muller's transform."""
    shape = (*pixels.shape[:2], 3 if coloured else 1)
    field = _field(draw, 2 * math.prod(shape)).reshape(2, *shape)
    normal = np.sqrt(-2 * np.log(1 - field[0])) * np.cos(2 * np.pi * field[1])
    return _bytes(pixels + sigma * normal)


def contrast(pixels: Pixels, factor: float) -> Pixels:
    """Stretch about the middle grey."""
    return _bytes(MIDDLE + np.float32(factor) * (pixels.astype(np.float32) - MIDDLE))


def sharpen(pixels: Pixels, share: float, lightness: float) -> Pixels:
    """Blend with the image under the kernel of -1 around 8 + lightness."""
    own = pixels.astype(np.float32)
    wide, around = _widened(pixels, 1), np.zeros(pixels.shape, np.uint16)
    for place in range(9):
        around += _shifted(wide, 1, place // 3 - 1, place % 3 - 1)
    return _bytes(np.float32(1 + (8 + lightness) * share) * own - np.float32(share) * around)


def brightness(pixels: Pixels, factor: float, offset: float) -> Pixels:
    """Multiply the luma, then add to it, in grey levels; colour differences stay."""
    own = pixels.astype(np.float32)
    luma = (own @ LUMA)[:, :, None]
    return _bytes(own + ((factor - 1) * luma + offset))


def saturation(pixels: Pixels, factor: float, offset: float) -> Pixels:
    """Multiply the saturation of the HSV cone, then add to it, on a scale of 255."""
    return _in_hsv(pixels, 1, np.clip(np.rint(np.arange(256) * factor + offset), 0, 255))


def hue(pixels: Pixels, factor: float, offset: float) -> Pixels:
    """Multiply the hue of the HSV cone, then turn it; 256 is a whole turn."""
    return _in_hsv(pixels, 0, np.rint(np.arange(256) * factor + offset) % 256)


def _in_hsv(pixels: Pixels, channel: int, table: NDArray[np.float64]) -> Pixels:
    cone = np.array(Image.fromarray(pixels).convert("HSV"))
    cone[:, :, channel] = table.astype(np.uint8)[cone[:, :, channel]]
    return np.asarray(Image.fromarray(cone, "HSV").convert("RGB"))


def _widened(pixels: Pixels, reach: int) -> Pixels:
    return np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")


def _shifted(wide: NDArray[Any], reach: int, down: int, across: int) -> NDArray[Any]:
    height, width = wide.shape[0] - 2 * reach, wide.shape[1] - 2 * reach
    return wide[reach + down : reach + down + height, reach + across : reach + across + width]


def _field(draw: float, count: int) -> NDArray[np.float64]:
    key = mix(np.array([int(draw * 2**53)], np.uint64))
    field: NDArray[np.float64] = uniforms(key, count)[0]
    return field


def _bytes(values: NDArray[np.floating]) -> Pixels:
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
