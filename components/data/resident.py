"""Pixels that stay on the training device: read once, so that a step waits for no memory but its own."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.augment_settings import Augment
from components.data.dataset import Dataset
from components.errors import UserError

CHUNK = 1024  # images that are read at once
SPARED = 0.2  # share of the free memory that is left to network and views


@dataclass(frozen=True)
class Resident:
    """Pixels of some rows of a Dataset, uint8 [n, H, W, 3] on a device; rows: int64 [n], ascending."""

    rows: NDArray[np.int64]
    pixels: Tensor

    @classmethod
    def load(cls, dataset: Dataset, rows: NDArray[np.int64], device: torch.device) -> "Resident":
        """Read all rows and put them on a device."""
        rows = np.sort(rows)
        pixels = torch.empty((len(rows), *dataset.size, 3), dtype=torch.uint8, device=device)
        for start in range(0, len(rows), CHUNK):
            part = dataset.pixels(rows[start : start + CHUNK])
            pixels[start : start + len(part)].copy_(torch.from_numpy(part))
        return cls(rows, pixels)

    def of(self, rows: NDArray[np.int64]) -> Tensor:
        """The pixels of some of the rows, in their order, uint8 [N, H, W, 3]."""
        places = np.searchsorted(self.rows, rows)
        return self.pixels[torch.from_numpy(places).to(self.pixels.device)]


def keep_pixels(augment: Augment, dataset: Dataset, rows: NDArray[np.int64], device: torch.device) -> Resident | None:
    """The pixels that are to stay on the device, None where they are not; UserError where they cannot."""
    if augment.device == "cpu":
        return None
    refuse_without_gpu(augment, device)
    height, width = dataset.size
    need, (free, _) = len(rows) * height * width * 3, torch.cuda.mem_get_info(device)
    if need > (1 - SPARED) * free:
        raise UserError(f"augment.device is gpu, yet {len(rows)} images of {height} x {width} pixels take "
                        f"{need / 2**30:.1f} GiB, and the GPU has {free / 2**30:.1f} GiB free, of which the network "
                        f"needs a part", "set augment.device: cpu, or lower index.size")
    return Resident.load(dataset, rows, device)


def refuse_without_gpu(augment: Augment, device: torch.device) -> None:
    """UserError where views are to be made on a GPU and there is none."""
    if augment.device == "gpu" and device.type != "cuda":
        raise UserError("augment.device is gpu, yet networks run on the CPU here",
                        "set augment.device: cpu (a store judged on a GPU must then be made anew), or use a GPU")
