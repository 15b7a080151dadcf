"""The processes that do a step together, as each of them sees it: its device, and the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.contract import note, run_key
from components.errors import UserError
from components.runtime import Runtime

if TYPE_CHECKING:
    import torch

    from components.losses.ranks import Ranks


@contextmanager
def company(runtime: Runtime) -> "Iterator[tuple[torch.device, Ranks]]":
    """The device of this process, and the ranks that it does the step with."""
    from components.training.devices import pick_device, use_threads
    from components.training.ranks.joining import joined, place_of
    from components.training.ranks.seats import seat_of

    seat = seat_of()
    use_threads(runtime.threads, seat.neighbours)
    device = place_of(seat, runtime.devices, lambda: pick_device(runtime.device))
    with joined(seat, device, runtime.rank_seconds) as ranks:
        refuse_strangers(ranks, run_key())
        note("ranks", ranks.size)
        yield device, ranks


def refuse_strangers(ranks: "Ranks", key: str) -> None:
    """UserError where the first rank was given other settings or inputs than this one."""
    first = ranks.first(key.encode()).decode()
    if first != key:
        raise UserError(f"rank {ranks.rank} has other settings or inputs than rank 0",
                        "run the same command with the same params.yaml on every machine, on the same Dataset")
