"""How many images each class has, and what losses make of it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.dataset import Dataset

Counts = NDArray[np.int64]


def class_counts(dataset: Dataset, rows: NDArray[np.int64]) -> dict[str, Counts]:
    """Labelled samples of every class among some rows of a Dataset, by task, int64 [C]."""
    found: dict[str, Counts] = {}
    for task in dataset.tasks:
        labels = dataset.labels(task)[rows]
        if task.kind == "single":
            found[task.name] = np.bincount(labels[labels >= 0].astype(np.int64), minlength=len(task.classes))
        else:
            found[task.name] = np.nansum(labels, axis=0).astype(np.int64)
    return found


def log_priors(counts: Counts) -> Tensor:
    """Logarithms of class frequencies, float32 [C]; a class without an image counts as one of a single image.

    Added to logits in training alone, they leave the network to learn what is independent of frequencies (Menon et al.
    2021, https://arxiv.org/abs/2007.07314, equation 10).
    """
    filled = np.maximum(counts, 1)
    return torch.from_numpy(np.log(filled / filled.sum())).float()


def balanced_weights(counts: Counts, beta: float) -> Tensor:
    """Weights of classes by the inverse of their effective number of images, of mean 1, float32 [C].

    The effective number of n is (1 - beta**n) / (1 - beta) (Cui et al. 2019, https://arxiv.org/abs/1901.05555, section
    4). A class without an image counts as one of a single image.
    """
    inverse = (1 - beta) / -np.expm1(np.maximum(counts, 1) * np.log(beta)) if beta > 0 else np.ones(len(counts))
    return torch.from_numpy(inverse / inverse.mean()).float()
