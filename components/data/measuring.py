"""How light, varied, sharp and busy a picture is, and which of its figures are odd."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.data.check_settings import Thresholds
from components.data.verdicts import Finding

SIDE = 64  # pixels of the square that is measured, whatever the size of the image


class Measures(NamedTuple):
    """Figures of a picture, which do not depend on its resolution.

    brightness, contrast: mean and standard deviation of luma, 0 (black) to 1 (white). sharpness: standard deviation of
    the Laplacian of luma, in contrasts, so that a dark picture is not taken for a blurred one. entropy: of the
    histogram of 256 grey values, in bits.
    """

    brightness: float
    contrast: float
    sharpness: float
    entropy: float


def measure(grey: NDArray[np.uint8]) -> Measures:
    """The figures of a grey picture uint8 [h, w], scaled to a square first.

    The Laplacian is the sum of the four neighbours less four times the pixel (Pech-Pacheco et al. 2000,
    https://doi.org/10.1109/ICPR.2000.903548). The sums are of whole numbers, and so exact in any order.
    """
    square = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX)
    luma = np.asarray(square).astype(np.int16)
    inner = luma[1:-1, 1:-1] * np.int16(-4)
    inner += luma[:-2, 1:-1]
    inner += luma[2:, 1:-1]
    inner += luma[1:-1, :-2]
    inner += luma[1:-1, 2:]
    brightness, contrast = moments(luma)
    sharpness = moments(inner)[1] / contrast if contrast else 0.0
    return Measures(brightness, contrast, sharpness, float(square.entropy()))


def moments(values: NDArray[np.int16]) -> tuple[float, float]:
    """Mean and standard deviation of 8-bit values as shares of 255."""
    flat = values.ravel().astype(np.float64)
    mean = float(flat.sum()) / flat.size
    return mean / 255.0, max(float(flat @ flat) / flat.size - mean * mean, 0.0) ** 0.5 / 255.0


def doubts(size: tuple[int, int], measured: Measures, limits: Thresholds) -> list[Finding]:
    """What is odd about an image of a size (width, height in pixels) with such figures.

    A picture of one colour is neither blurred nor poor in information: it has nothing that could be.
    """
    found = []
    short, long = min(size), max(size)
    if short < limits.short_side:
        found.append(Finding("too_small", f"{size[0]} x {size[1]} pixels"))
    if long > limits.aspect * short:
        found.append(Finding("extreme_aspect", f"{size[0]} x {size[1]} pixels"))
    light, spread = measured.brightness, 2.0 * measured.contrast
    if light + spread < limits.dark:
        found.append(Finding("dark", f"luma is {light:.3f} on average"))
    if light - spread > limits.bright:
        found.append(Finding("bright", f"luma is {light:.3f} on average"))
    if measured.contrast < limits.contrast:
        return [*found, Finding("near_uniform", f"luma varies by {measured.contrast:.4f}")]
    if measured.sharpness < limits.sharpness:
        found.append(Finding("blurred", f"sharpness is {measured.sharpness:.4f}"))
    if measured.entropy < limits.entropy:
        found.append(Finding("low_information", f"{measured.entropy:.2f} bits a pixel"))
    return found
