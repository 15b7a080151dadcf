"""How the processes that share a training agree on what concerns all of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

Forward: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Ranks:
    """Exchanges among the ranks of a training; every rank makes the same calls in the same order.

    total: the sum over ranks of a tensor. everyone: the tensors [n, ...] of all ranks one after another, whose n may
    differ, and the place where one's own begins. rank: one's own number; the first is 0. size: how many there are. any:
    whether one of them says so. first: what the first of them says; the others' word is not read. joined: a network
    whose gradients are means over ranks after a backward pass; it has the network's own weights. apart: within,
    backward passes of such a network keep their gradients to themselves. even: makes what a network counts, such as the
    statistics of BatchNorm, the mean over ranks.
    """

    total: Callable[[Tensor], Tensor]
    everyone: Callable[[Tensor], tuple[Tensor, int]]
    rank: int = 0
    size: int = 1
    any: Callable[[bool], bool] = bool
    first: Callable[[bytes], bytes] = bytes
    joined: Callable[[Forward], Forward] = lambda network: network
    apart: Callable[[Forward], AbstractContextManager[None]] = lambda network: nullcontext()
    even: Callable[[nn.Module], None] = lambda network: None


ALONE = Ranks(lambda tensor: tensor, lambda tensor: (tensor, 0))
