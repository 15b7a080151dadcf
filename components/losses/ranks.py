"""How the processes that share a batch agree on what concerns all of it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Exchanges among the ranks of a training; every rank makes the same calls in the same order.

    total: the sum over ranks of a tensor. everyone: the tensors [n] of all ranks one after another, and the place where
    one's own begins.
    """

    total: Callable[[Tensor], Tensor]
    everyone: Callable[[Tensor], tuple[Tensor, int]]


ALONE = Ranks(lambda tensor: tensor, lambda tensor: (tensor, 0))
