"""The samplers by name, and what every one of them needs around it: views for repeats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.data.sampler_settings import Name
from components.data.samplers import adaptive, balanced, identities, shuffled, tasks
from components.data.samplers.pool import Draw, Memory, Pool, Rows

Recalls: TypeAlias = Mapping[str, NDArray[np.float64]]

STRIDE = 1_000_003  # a prime beyond any number of epochs, so that repeats also pass through all views of a store


def nothing(pool: Pool) -> Memory:
    """The memory of a sampler that needs none."""
    return {}


def unchanged(pool: Pool, epoch: int, memory: Memory, recalls: Recalls) -> Memory:
    """The memory as it was."""
    return memory


@dataclass(frozen=True)
class Kind:
    """A sampler: the batches of an epoch, what it remembers at first, and what an epoch leaves to the next."""

    plan: Callable[[Pool, int, Memory], list[Draw]]
    begin: Callable[[Pool], Memory] = nothing
    after: Callable[[Pool, int, Memory, Recalls], Memory] = unchanged


KINDS: dict[Name, Kind] = {
    "shuffled": Kind(shuffled.plan),
    "balanced": Kind(balanced.plan),
    "adaptive": Kind(adaptive.plan, adaptive.begin, adaptive.after),
    "tasks": Kind(tasks.plan),
    "identities": Kind(identities.plan),
}


def turns(draws: Sequence[Draw], epoch: int) -> list[Rows]:
    """A number for every sample of every batch that says which of its views is due: another one at each repeat.

    It is the epoch where a row occurs for the first time in it; each further time adds STRIDE.
    """
    rows = np.concatenate([draw.rows for draw in draws])
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    before = np.empty(len(rows), np.int64)
    before[order] = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    return np.split(epoch + STRIDE * before, np.cumsum([len(draw.rows) for draw in draws])[:-1])
