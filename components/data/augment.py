"""Views of images: what is drawn for a sample and a view, and how a batch of pixels is turned into it.

A view is described without reference to resolution, so networks of different input size can look at the same view.
View 0 is the untouched image.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from components.data.augment_settings import Augment
from components.data.chance import sample_keys, uniforms

DRAWS = 20  # new ones are appended, so that the old keep their places and mean the same pixels
GREY = 128 / 255  # what stands around stored images
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Views:
    """What was drawn for N samples.

    affine: maps [N, 2, 3]. colour: maps [N, 3, 4]. box: erased rectangles [N, 4] (x0, y0, x1, y1), shares of the image.
    background: what stands outside the image, `reflect` or `grey`.
    """

    affine: Tensor
    colour: Tensor
    box: Tensor
    background: str = "reflect"

    def to(self, device: torch.device) -> "Views":
        """The same views on another device."""
        return Views(self.affine.to(device), self.colour.to(device), self.box.to(device), self.background)


def draw_views(settings: Augment, seed: int, ids: NDArray[np.uint8], view: int | NDArray[np.int64],
               aspect: float = 1.0) -> Views:
    """Draw a view for every sample: a pure function of (settings, seed, id, view).

    ids: uint8 [N, 32]. view: one for all, or int64 [N]. aspect: width to height of the stored image.
    """
    draws = uniforms(sample_keys(seed, "augment", ids, view), DRAWS)
    geometry, colour, erase, more = np.split(draws, [7, 11, 16], axis=1)
    affine = _moved(settings, more, _affine(settings, geometry, aspect))
    arrays = (affine, _colour(settings, colour), _boxes(settings, erase))
    maps, colours, boxes = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
    return Views(maps, colours, boxes, settings.background)


def render(pixels: Tensor, views: Views, size: tuple[int, int]) -> Tensor:
    """Turn stored pixels uint8 [N, H, W, 3] into views float32 [N, 3, h, w] in [0, 1]."""
    images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)
    images = _sampled(images, _grid(views.affine, size), views.background)
    images = torch.einsum("nij,njhw->nihw", views.colour[:, :, :3], images) + views.colour[:, :, 3, None, None]
    return images.clamp_(0.0, 1.0).masked_fill_(_erased(views.box, size), 0.5)


def _grid(affine: Tensor, size: tuple[int, int]) -> Tensor:
    """Where the pixels of views look, [N, h, w, 2]: as affine_grid has it, but summed from rows and columns."""
    y, x = (centres(side, affine.device) * 2 - 1 for side in size)
    across, down = affine[:, :, 0, None] * x, affine[:, :, 1, None] * y + affine[:, :, 2, None]
    grid = affine.new_empty(len(affine), *size, 2)
    for axis in (0, 1):
        torch.add(down[:, axis, :, None], across[:, axis, None, :], out=grid[..., axis])
    return grid


def _sampled(images: Tensor, grid: Tensor, background: str) -> Tensor:
    if background == "grey":  # as nought, which is all that grid_sample fills with
        return grid_sample(images - GREY, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + GREY
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _affine(settings: Augment, draws: NDArray[np.float64], aspect: float) -> NDArray[np.float64]:
    area = _between(settings.crop, draws[:, 0])
    ratio = np.exp(_between((math.log(settings.ratio[0]), math.log(settings.ratio[1])), draws[:, 1]))
    width, height = np.minimum(np.sqrt(area * ratio), 1.0), np.minimum(np.sqrt(area / ratio), 1.0)
    centre_x, centre_y = (2 * draws[:, 2] - 1) * (1 - width), (2 * draws[:, 3] - 1) * (1 - height)
    mirror = np.where(draws[:, 4] < settings.flip, -1.0, 1.0)
    angle = np.radians((2 * draws[:, 5] - 1) * settings.rotate)
    shear = np.tan(np.radians((2 * draws[:, 6] - 1) * settings.shear))
    cosine, sine = np.cos(angle), np.sin(angle)
    # In pixels of equal size: rotate after shearing; then back to each axis' own unit of half an image.
    rows = [[cosine, (shear * cosine - sine) / aspect], [sine * aspect, shear * sine + cosine]]
    return np.stack([
        np.stack([rows[0][0] * width * mirror, rows[0][1] * height, centre_x], axis=1),
        np.stack([rows[1][0] * width * mirror, rows[1][1] * height, centre_y], axis=1),
    ], axis=1)


def _moved(settings: Augment, draws: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maps turned upside down, enlarged (they reach 1 / zoom as far) and shifted."""
    upside = np.where(draws[:, 0] < settings.vertical_flip, -1.0, 1.0)
    shift = (2 * draws[:, 1:3] - 1) * (2 * settings.translate)  # coordinates run over 2 from side to side
    zoom = _between(settings.zoom, draws[:, 3])
    columns = np.stack([1 / zoom, upside / zoom], axis=1)
    return np.concatenate([affine[:, :, :2] * columns[:, None, :], affine[:, :, 2:] - shift[:, :, None]], axis=2)


def _colour(settings: Augment, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = 2 * draws - 1
    brightness, contrast = 1 + spread[:, 0] * settings.brightness, 1 + spread[:, 1] * settings.contrast
    saturation, hue = 1 + spread[:, 2] * settings.saturation, np.radians(spread[:, 3] * settings.hue)
    luma = np.array(LUMA)
    grey = np.tile(luma, (3, 1))
    # Hue turns about the grey axis (Rodrigues' formula), saturation scales the distance from grey.
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = (np.cos(hue)[:, None, None] * (np.eye(3) - axis) + np.sin(hue)[:, None, None] * cross) + axis
    scale = saturation[:, None, None] * (np.eye(3) - grey) + grey
    matrix = (brightness * contrast)[:, None, None] * (scale @ turn)
    offset = (0.5 * (1 - contrast) * brightness)[:, None, None] * np.ones((1, 3, 1))
    return np.concatenate([matrix, offset], axis=2)


def _boxes(settings: Augment, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    area = _between(settings.erase_area, draws[:, 1])
    ratio = np.exp(_between((math.log(0.4), math.log(2.5)), draws[:, 2]))
    width, height = np.minimum(np.sqrt(area * ratio), 1.0), np.minimum(np.sqrt(area / ratio), 1.0)
    left, top = draws[:, 3] * (1 - width), draws[:, 4] * (1 - height)
    box = np.stack([left, top, left + width, top + height], axis=1)
    return np.where((draws[:, 0] < settings.erase)[:, None], box, 0.0)


def _erased(box: Tensor, size: tuple[int, int]) -> Tensor:
    y, x = (centres(side, box.device) for side in size)
    across = (x >= box[:, 0, None]) & (x < box[:, 2, None])
    down = (y >= box[:, 1, None]) & (y < box[:, 3, None])
    return (down[:, :, None] & across[:, None, :])[:, None]


def centres(side: int, device: torch.device) -> Tensor:
    """Where the centres of so many pixels in a row lie, shares of the whole, [side]."""
    return (torch.arange(side, device=device) + 0.5) / side


def _between(limits: tuple[float, float], draws: NDArray[np.float64]) -> NDArray[np.float64]:
    return limits[0] + (limits[1] - limits[0]) * draws
