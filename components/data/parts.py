"""How a batch is divided: among the ranks that share it, and among the passes in which each takes its share."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """Which samples of a batch, of whose rows `whole` tells, a rank holds: their places in it, int64 [n]."""

    whole: Rows
    places: Rows


@dataclass(frozen=True)
class Part:
    """Places of a batch that are computed at once, int64 [n], at least one; where it does not count, for show alone."""

    own: Rows
    counts: bool = True


@dataclass(frozen=True)
class Division:
    """One rank of several, each of which takes its share of a batch in some passes; `grain` samples stay together."""

    rank: int = 0
    size: int = 1
    passes: int = 1
    grain: int = 1

    def parts(self, count: int) -> list[Part]:
        """What this rank computes of a batch of some size, one part a pass.

        All parts of all ranks, in their order, are the batch; their lengths differ by at most a grain. A rank that is
        left with nothing computes the first sample for show, so that all make the same calls.

        >>> [[part.own.tolist() for part in Division(rank, 2).parts(5)] for rank in range(2)]
        [[[0, 1]], [[2, 3, 4]]]
        >>> Division(0, 2).parts(1)
        [Part(own=array([0]), counts=False)]
        """
        number, grains = self.size * self.passes, -(-count // self.grain)
        edges = [min(grains * place // number * self.grain, count) for place in range(number + 1)]
        first = self.rank * self.passes
        own = [np.arange(edges[place], edges[place + 1]) for place in range(first, first + self.passes)]
        return [Part(places) if len(places) else Part(np.zeros(1, np.int64), counts=False) for places in own]

    def held(self, count: int, partners: Rows | None) -> Rows:
        """The places of a batch whose samples this rank needs: its own, then partners from elsewhere.

        partners: the place of each sample's partner, int64 [count], where samples have one.
        """
        own = np.unique(np.concatenate([part.own for part in self.parts(count)]))
        return own if partners is None else with_partners(own, partners)


def with_partners(own: Rows, partners: Rows) -> Rows:
    """Some places, and behind them those of their partners that are not among them.

    >>> with_partners(np.array([0, 1]), np.array([1, 3, 2, 0])).tolist()
    [0, 1, 3]
    """
    return np.concatenate([own, np.setdiff1d(partners[own], own)])


def located(wanted: Rows, among: Rows) -> Rows:
    """Where each of some places stands among others, which hold them all.

    >>> located(np.array([7, 2, 7]), np.array([2, 9, 7])).tolist()
    [2, 0, 2]
    """
    order = np.argsort(among, kind="stable")
    found: Rows = order[np.searchsorted(among, wanted, sorter=order)]
    return found
