"""What training does to whole batches: the `mix` and `scales` parts of a training section."""

from typing import Literal

from pydantic import Field

from components.data.augment_settings import Overlay
from components.settings import Settings


class Mix(Overlay):
    """Images laid over one another; the loss is shared between their labels, or their teachers' words, alike."""

    each: Literal["batch", "sample"] = Field("batch", description="draw once a batch, or for every sample")


class Scales(Settings):
    """Input sizes that change during training, the same on every rank; evaluation keeps the size itself."""

    share: float = Field(0.0, ge=0, lt=1, description="largest relative change of the height; 0 changes nothing")
    every: int = Field(10, ge=1, description="steps between changes")
    grid: int = Field(32, ge=1, description="heights and widths are multiples of this, in pixels")

    def heights(self, height: int) -> list[int]:
        """The heights to choose from, ascending: multiples of the grid within the share, else the nearest multiple."""
        low, high = height * (1 - self.share), height * (1 + self.share)
        found = [size for size in range(self.grid, int(high) + 1, self.grid) if size >= low]
        return found or [nearest(height, self.grid)]


def nearest(length: float, grid: int) -> int:
    """The multiple of a grid, at least one, that is nearest to a length; of two the larger.

    >>> nearest(70, 32), nearest(80, 32), nearest(3, 32)
    (64, 96, 32)
    """
    return max(int(length / grid + 0.5), 1) * grid
