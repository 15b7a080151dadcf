"""From rows of a Dataset to batches, the same for any number of worker processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from components.data.augment_settings import Augment
from components.data.chance import sample_keys
from components.data.dataset import Dataset
from components.data.overlays import Overlaid, draw_overlays
from components.data.parts import Share
from components.data.policies import apply_policy
from components.data.resident import Resident

Rows: TypeAlias = NDArray[np.int64]
# Rows, the view of each, pixels; where images are laid over partners, these follow, and how they are laid.
Item: TypeAlias = tuple[Rows, Rows, NDArray[np.uint8] | Tensor, Overlaid | None]


@dataclass(frozen=True)
class Batch:
    """N samples: row number and view of each int64 [N], pixels uint8 [N, H, W, 3], labels by task, weight float32 [N].

    Labels are int64 [N] with -1 for none, or for `multi` tasks float32 [N, C] with rows of NaN for none. task: the only
    one that the batch is about, if it is about one; then the others have no labels. overlaid: how images are laid over
    partners, which are `partners`. share: which samples of a larger batch these are; None where they are all of it.
    """

    rows: Rows
    view: Rows
    pixels: Tensor
    labels: dict[str, Tensor]
    weight: Tensor
    task: str | None = None
    partners: "Batch | None" = None
    overlaid: Overlaid | None = None
    share: Share | None = None

    @property
    def whole(self) -> Rows:
        """The rows of the whole batch, also where these are a share of it."""
        return self.rows if self.share is None else self.share.whole

    def taken(self, order: Rows) -> "Batch":
        """The samples at some places, in their order, each with its own view, labels and weight."""
        index = torch.from_numpy(order)
        labels = {name: tensor[index.to(tensor.device)] for name, tensor in self.labels.items()}
        weight = self.weight[index.to(self.weight.device)]
        return Batch(self.rows[order], self.view[order], self.pixels[index.to(self.pixels.device)], labels, weight,
                     self.task, self.partners, self.overlaid.taken(order) if self.overlaid else None)


class Batches(TorchDataset[Item]):
    """A list of (rows, view for all or of each); item k holds the pixels of the k-th, its per-sample policy applied.

    population: rows that may be laid over one another, ascending; without it none is. kept: where pixels are that need
    not be read.
    """

    def __init__(self, dataset: Dataset, plan: Sequence[tuple[Rows, int | Rows]], seed: int,
                 augment: Augment | None, population: Rows | None = None, kept: Resident | None = None) -> None:
        self.dataset, self.plan, self.seed, self.augment = dataset, plan, seed, augment
        self.population, self.kept = population, kept

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, item: int) -> Item:
        rows, given = self.plan[item]
        view = np.broadcast_to(np.asarray(given, np.int64), rows.shape)
        overlaid = None
        if self.augment is not None and self.augment.mix.on and self.population is not None:
            overlaid = draw_overlays(self.augment.mix, self.seed, self.dataset.ids, (rows, view), self.population)
            rows, view = np.concatenate([rows, overlaid.rows]), np.concatenate([view, view[overlaid.mixed]])
        if self.kept is not None:
            return rows, view, self.kept.of(rows), overlaid
        pixels = self.dataset.pixels(rows)
        changed = np.flatnonzero(view > 0)
        if self.augment is not None and self.augment.policy != "none" and len(changed):
            keys = sample_keys(self.seed, "policy", self.dataset.ids[rows[changed]], view[changed])
            pixels[changed] = apply_policy(self.augment, pixels[changed], keys)
        return rows, view, pixels, overlaid


def load(batches: Batches, workers: int = 0, tasks: Sequence[str | None] = (),
         weights: NDArray[np.float32] | None = None) -> Iterator[Batch]:
    """Yield the batches in order; with workers they are prepared in child processes.

    tasks: what each batch is about, if not about everything. weights: of every sample, float32 [len(dataset)], where
    those of the Dataset do not hold.
    """
    dataset = batches.dataset
    labels = {task.name: torch.from_numpy(dataset.labels(task)) for task in dataset.tasks}
    weight = torch.from_numpy(dataset.weights if weights is None else weights)
    rng = torch.Generator()  # the loader must not draw from the global state, which belongs to the network
    processes = 0 if batches.kept is not None else workers
    items = DataLoader(batches, batch_size=None, num_workers=processes, generator=rng, collate_fn=_as_is)
    for item, task in zip(items, tasks or [None] * len(batches), strict=True):
        index = torch.from_numpy(item[0])
        found = {name: only_of(task, name, table[index]) for name, table in labels.items()}
        yield as_batch(item, found, weight[index], task)


def as_batch(item: Item, labels: dict[str, Tensor], weight: Tensor, task: str | None = None) -> Batch:
    """A batch of what was loaded; labels and weights are those of all its rows, of partners too."""
    rows, view, pixels, overlaid = item
    whole = Batch(rows, view, torch.as_tensor(pixels), labels, weight, task)
    if overlaid is None or not len(overlaid.rows):
        return whole
    own, others = np.split(np.arange(len(rows)), [len(overlaid.place)])
    return replace(whole.taken(own), partners=whole.taken(others), overlaid=overlaid)


def without_labels(item: Item) -> Batch:
    """A batch of what was loaded, to be looked at alone."""
    return as_batch(item, {}, torch.ones(len(item[0])))


def only_of(task: str | None, name: str, labels: Tensor) -> Tensor:
    """Labels of a task as a batch shows them: none at all (-1, NaN) where the batch is about another task."""
    if task in (None, name):
        return labels
    return torch.full_like(labels, float("nan") if labels.is_floating_point() else -1)


def _as_is(item: Any) -> Any:
    return item
