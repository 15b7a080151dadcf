"""Where a model sees pictures: the vector before its heads."""

import numpy as np
import torch

from components.data.dataset import Dataset
from components.models.artifact import Model
from components.probabilities.sayings import Floats, Rows

BATCH = 128


def embeddings(model: Model, dataset: Dataset, rows: Rows) -> Floats:
    """Embeddings of untouched images at length 1, [n, D], so that distance is that of directions."""
    found = []
    device = next(model.network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            pixels = torch.from_numpy(dataset.pixels(rows[start : start + BATCH])).to(device)
            found.append(model.network(model.preprocess(pixels)).embedding.double().cpu().numpy())
    vectors = np.concatenate(found)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
