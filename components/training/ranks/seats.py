"""Which rank of how many a process is, as torchrun and orchestrators say it in the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from components.errors import TryAgain, UserError

LAUNCHERS = "torchrun, a TrainJob or a PyTorchJob sets it"


class RankLost(TryAgain):
    """Another rank has ended, so this one cannot go on; the cause is there."""


@dataclass(frozen=True)
class Seat:
    """One rank of `size`; local: its number among the `neighbours` on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0
    neighbours: int = 1


def seat_of(environment: Mapping[str, str] = os.environ) -> Seat:
    """Where this process sits; alone, where nobody has said anything. UserError for a place that cannot be.

    >>> seat_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    Seat(rank=3, size=4, local=1, neighbours=2)
    >>> seat_of({"RANK": "1", "WORLD_SIZE": "2"}), seat_of({})
    (Seat(rank=1, size=2, local=0, neighbours=1), Seat(rank=0, size=1, local=0, neighbours=1))
    """
    size = number(environment, "WORLD_SIZE", 1)
    if size <= 1:
        return Seat()
    rank = number(environment, "RANK", -1)
    if not 0 <= rank < size:
        raise UserError(f"WORLD_SIZE is {size}, yet RANK is {environment.get('RANK', 'not set')}; expected a number "
                        f"from 0 to {size - 1}", f"unset both, or start all ranks alike: {LAUNCHERS}")
    return Seat(rank, size, number(environment, "LOCAL_RANK", 0), number(environment, "LOCAL_WORLD_SIZE", 1))


def number(environment: Mapping[str, str], name: str, default: int) -> int:
    """A whole number from the environment; UserError where it is none."""
    text = environment.get(name, "")
    if text and not text.lstrip("-").isdigit():
        raise UserError(f"{name} is {text}; expected a whole number", f"unset it, or leave it as {LAUNCHERS}")
    return int(text) if text else default
