"""From rows of a Dataset to batches, the same for any number of worker processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from components.data.augment_settings import Augment
from components.data.chance import generator, sample_keys
from components.data.dataset import Dataset
from components.data.policies import apply_policy

Item: TypeAlias = tuple[NDArray[np.int64], int, NDArray[np.uint8]]  # rows, view, pixels


@dataclass(frozen=True)
class Batch:
    """N samples of one view: pixels uint8 [N, H, W, 3], row numbers int64 [N], labels by task, weight float32 [N].

    Labels are int64 [N] with -1 for none, or for `multi` tasks float32 [N, C] with rows of NaN for none.
    """

    rows: NDArray[np.int64]
    view: int
    pixels: Tensor
    labels: dict[str, Tensor]
    weight: Tensor


class Batches(TorchDataset[Item]):
    """A list of (rows, view); item k holds the pixels of the k-th, with the per-sample policy applied."""

    def __init__(self, dataset: Dataset, plan: Sequence[tuple[NDArray[np.int64], int]], seed: int,
                 augment: Augment | None) -> None:
        self.dataset, self.plan, self.seed, self.augment = dataset, plan, seed, augment

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, item: int) -> Item:
        rows, view = self.plan[item]
        pixels = self.dataset.pixels(rows)
        if self.augment is not None and self.augment.policy != "none" and view > 0:
            keys = sample_keys(self.seed, "policy", self.dataset.ids[rows], view)
            pixels = apply_policy(self.augment, pixels, keys)
        return rows, view, pixels


def load(batches: Batches, workers: int = 0) -> Iterator[Batch]:
    """Yield the batches in order; with workers they are prepared in child processes."""
    dataset = batches.dataset
    labels = {task.name: torch.from_numpy(dataset.labels(task)) for task in dataset.tasks}
    weights = torch.from_numpy(dataset.weights)
    rng = torch.Generator()  # the loader must not draw from the global state, which belongs to the network
    items = DataLoader(batches, batch_size=None, num_workers=workers, generator=rng, collate_fn=_as_is)
    for rows, view, pixels in items:
        index = torch.from_numpy(rows)
        yield Batch(rows, view, torch.from_numpy(pixels), {n: t[index] for n, t in labels.items()}, weights[index])


def epoch_batches(rows: NDArray[np.int64], size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Rows of an epoch in an order drawn from (seed, epoch), cut into full batches.

    What does not fill a batch is left to other epochs, unless the whole set is smaller than a batch.
    """
    order = generator(seed, "order", epoch).permutation(rows)
    whole = max(len(order) // size, 1)
    return [order[i * size : (i + 1) * size] for i in range(whole)]


def _as_is(item: Any) -> Any:
    return item
