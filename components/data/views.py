"""What a batch looks like: the views of its samples, as a network, a teacher and a preview see them alike."""

import numpy as np
import torch
from torch import Tensor

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment
from components.data.dataset import Dataset
from components.data.loader import Batch
from components.data.mixing import mix_images, overlay_mixture


def views_of(augment: Augment, seed: int, dataset: Dataset, batch: Batch, size: tuple[int, int],
             device: torch.device) -> Tensor:
    """The batch's views before normalisation, float32 [N, 3, h, w] in [0, 1], laid over their partners."""
    if batch.partners is None or batch.overlaid is None:
        return alone(augment, seed, dataset, batch, size, device)
    partners = alone(augment, seed, dataset, batch.partners, size, device)
    images = torch.cat([alone(augment, seed, dataset, batch, size, device), partners])
    return mix_images(images, overlay_mixture(batch.overlaid, size))


def alone(augment: Augment, seed: int, dataset: Dataset, batch: Batch, size: tuple[int, int],
          device: torch.device) -> Tensor:
    """The same without partners."""
    height, width = dataset.size
    views = draw_views(augment, seed, dataset.ids[np.asarray(batch.rows)], batch.view, width / height)
    return render(batch.pixels.to(device, non_blocking=True), views.to(device), size)
