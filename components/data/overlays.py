"""Mixup and CutMix as part of a view: partner, share and rectangle follow from its key, whatever the batch holds.

So a teacher can judge the very mixture that a student will see, and what it says can be stored under the view.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv  # type: ignore[import-untyped]

from components.data.augment_settings import Overlay
from components.data.chance import sample_keys, uniforms

Rows: TypeAlias = NDArray[np.int64]

DRAWS = 6  # new ones are appended, so that the old keep their places and mean the same pixels


@dataclass(frozen=True)
class Overlaid:
    """How N images are laid over M partners.

    rows: those of the partners, int64 [M]. place: of each image's partner among them, int64 [N], -1 for none. opacity:
    of an image over its partner, float32 [N]. corners: of what shows the partner alone (top, left, bottom, right),
    float64 [N, 4], shares of height and width.
    """

    rows: Rows
    place: Rows
    opacity: NDArray[np.float32]
    corners: NDArray[np.float64]

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """Which images have a partner, bool [N]."""
        return self.place >= 0

    def taken(self, order: Rows) -> "Overlaid":
        """Of the images at some places, over the same partners."""
        return Overlaid(self.rows, self.place[order], self.opacity[order], self.corners[order])


def draw_overlays(settings: Overlay, seed: int, ids: NDArray[np.uint8], samples: tuple[Rows, Rows],
                  population: Rows) -> Overlaid:
    """What views are laid over, a pure function of (settings, seed, id, view, population).

    ids: of the whole Dataset, uint8 [len(dataset), 32]. samples: rows and the view of each, int64 [N]. population: rows
    that are laid over one another, ascending; others, and views 0, stay as they are. A partner is seen in its own view
    of the same number. Distributions are those of `draw_mixture`; Beta by its inverse distribution function.
    """
    rows, view = samples
    draws = uniforms(sample_keys(seed, "overlay", ids[rows], view), DRAWS)
    free = (view > 0) & np.isin(rows, population)
    blended = free & (draws[:, 0] < settings.mixup)
    cut = free & ~blended & (draws[:, 0] < settings.mixup + settings.cutmix)
    opacity = np.where(blended, betaincinv(settings.alpha, settings.alpha, draws[:, 4]), 1.0)
    half = np.sqrt(1 - betaincinv(settings.cutmix_alpha, settings.cutmix_alpha, draws[:, 5:])) / 2
    centre = draws[:, 2:4]
    corners = np.concatenate([centre - half, centre + half], axis=1).clip(0, 1) * cut[:, None]
    mixed = blended | cut
    partners = population[(draws[mixed, 1] * len(population)).astype(np.int64)]
    place = np.where(mixed, np.cumsum(mixed) - 1, -1)
    return Overlaid(partners, place, opacity.astype(np.float32), corners)
