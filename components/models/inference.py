"""What a model says of samples, independent of batch size and order up to the rounding of one forward pass."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.models.artifact import Model
from components.models.network import Network
from components.models.preprocessing import Preprocess


class Stopped(Exception):
    """An evaluation was asked to end before its time."""


def logits_of(model: Model, dataset: Dataset, rows: NDArray[np.int64],
              batch: int = 256) -> dict[str, NDArray[np.float32]]:
    """Uncalibrated logits of untouched images, float32 [n, C] by task."""
    return network_logits(model.network, model.preprocess, dataset, rows, batch)


def network_logits(network: Network, preprocess: Preprocess, dataset: Dataset, rows: NDArray[np.int64],
                   batch: int = 256, stop: Callable[[], bool] = bool) -> dict[str, NDArray[np.float32]]:
    """Uncalibrated logits of untouched images by a network in evaluation mode, float32 [n, C] by task.

    stop: whether to end before the next batch; Stopped is raised then.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {task.name: [] for task in dataset.tasks}
    weights = next(network.parameters())
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            if stop():
                raise Stopped
            pixels = torch.from_numpy(dataset.pixels(rows[start : start + batch])).to(weights.device)
            for name, logits in network(preprocess(pixels).to(weights.dtype)).logits.items():
                parts[name].append(logits.float().cpu().numpy())
    classes = {task.name: len(task.classes) for task in dataset.tasks}
    return {name: np.concatenate([np.zeros((0, classes[name]), np.float32), *found]) for name, found in parts.items()}
