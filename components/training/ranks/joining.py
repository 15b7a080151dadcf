"""Joining the other ranks, and what ranks then do together."""

import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from components.errors import UserError
from components.losses.ranks import ALONE, Forward, Ranks
from components.training.ranks.seats import RankLost, Seat

KNOCK = timedelta(seconds=5)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
BROKEN = re.compile(r"gloo|nccl|connection|socket|peer|timed out|store", re.IGNORECASE)
LOST = "look at what the rank that ended first has said; then run the same command again to go on"


@contextmanager
def joined(seat: Seat, device: torch.device, patience: float) -> Iterator[Ranks]:
    """The ranks that this process trains with, from here on; patience: seconds that they wait for one another.

    RankLost where another one ends before its time.
    """
    if seat.size == 1:
        yield ALONE
        return
    try:
        meet(seat, device, timedelta(seconds=patience))
        yield together(seat, device)
        dist.destroy_process_group()
    except RuntimeError as error:  # torch has no narrower class for what gloo says
        if isinstance(error, dist.DistError) or BROKEN.search(str(error)):
            raise RankLost(f"rank {seat.rank} lost the others", LOST) from error
        raise


def meet(seat: Seat, device: torch.device, patience: timedelta) -> None:
    """Wait until every rank is there, then make the group; on one machine nothing leaves it."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise UserError(f"WORLD_SIZE is {seat.size}, yet {name} is not set",
                            "start ranks with torchrun, or unset RANK and WORLD_SIZE and set runtime.devices")
    if os.environ["MASTER_ADDR"] in LOOPBACK:
        stay_inside()
    store = opened(seat, patience)
    wait_for_all(store, seat, patience)
    gpu = device.type == "cuda"
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", store=PrefixStore("group", store),
                            rank=seat.rank, world_size=seat.size, timeout=patience, device_id=device if gpu else None)


def opened(seat: Seat, patience: timedelta) -> Store:
    """The store that ranks meet at; the first one opens it, unless whoever started them has.

    It is knocked at again and again, as torch's own waiting could not be interrupted.
    """
    hosts = seat.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    end = time.monotonic() + patience.total_seconds()
    while True:
        try:
            store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), None, hosts,
                             min(patience, KNOCK), wait_for_workers=False, multi_tenant=True)
            store.set_timeout(patience)
            return store
        except dist.DistNetworkError:
            if hosts or time.monotonic() > end:
                raise


def stay_inside() -> None:
    """Let gloo and NCCL speak through the loopback interface, where nobody has chosen another."""
    inside = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if inside:
            os.environ.setdefault(variable, inside[0])


def wait_for_all(store: Store, seat: Seat, patience: timedelta) -> None:
    """Come back when every rank has said that it is there; torch's own waiting could not be interrupted."""
    store.set(f"present/{seat.rank}", "yes")
    end = time.monotonic() + patience.total_seconds()
    missing = list(range(seat.size))
    while missing := [rank for rank in missing if not store.check([f"present/{rank}"])]:
        if time.monotonic() > end:
            raise RankLost(f"rank {missing[0]} of {seat.size} did not come within {patience.total_seconds():g} s",
                           "look at why it did not start, or raise runtime.rank_seconds")
        time.sleep(0.05)


def together(seat: Seat, device: torch.device) -> Ranks:
    """What the ranks of the group do together."""
    return Ranks(total, lambda own: everyone(own, seat), seat.rank, seat.size, said_by_any, said_by_first,
                 Joiner(device), apart, even)


def total(own: Tensor) -> Tensor:
    """The sum over ranks."""
    found = own.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(found)
    return found


def everyone(own: Tensor, seat: Seat) -> tuple[Tensor, int]:
    """The tensors of all ranks one after another, whose first dimensions may differ, and where one's own begins."""
    counts = torch.zeros(seat.size, dtype=torch.int64)
    counts[seat.rank] = len(own)
    dist.all_reduce(counts)
    padded = own.new_zeros((int(counts.max()), *own.shape[1:]))
    padded[: len(own)] = own.detach()
    found = [torch.empty_like(padded) for _ in range(seat.size)]
    dist.all_gather(found, padded)
    parts = [part[:count] for part, count in zip(found, counts.tolist(), strict=True)]
    return torch.cat(parts), int(counts[: seat.rank].sum())


def said_by_any(own: bool) -> bool:
    """Whether one of the ranks says so."""
    return bool(total(torch.tensor([int(own)])))


def said_by_first(own: bytes) -> bytes:
    """What the first rank says."""
    length = torch.tensor([len(own)])
    dist.broadcast(length, 0)
    content = torch.zeros(int(length), dtype=torch.uint8)
    if dist.get_rank() == 0:
        content = torch.frombuffer(bytearray(own), dtype=torch.uint8)
    dist.broadcast(content, 0)
    return content.numpy().tobytes()


def apart(network: Forward) -> AbstractContextManager[None]:
    """Within, backward passes of a joined network keep their gradients to themselves."""
    assert isinstance(network, DistributedDataParallel)
    found: AbstractContextManager[None] = network.no_sync()
    return found


def even(network: nn.Module) -> None:
    """Make the statistics of norms that are in training the mean over ranks."""
    found = [buffer for module in network.modules() if module.training
             for name, buffer in module.named_buffers(recurse=False) if name in ("running_mean", "running_var")]
    if not found:
        return
    mean = total(torch.cat([buffer.flatten() for buffer in found])) / dist.get_world_size()
    for buffer, part in zip(found, torch.split(mean, [buffer.numel() for buffer in found]), strict=True):
        buffer.copy_(part.view_as(buffer))


class Joiner:
    """Wraps a network so that its gradients become means over ranks, anew whenever other weights learn.

    In the first step weights are looked for that no loss reaches; from then on the search, which costs time, is left
    out where there are none.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.learns: tuple[Any, ...] = ()
        self.searching = False
        self.made: DistributedDataParallel | None = None

    def __call__(self, network: Forward) -> Forward:
        """The network, joined."""
        assert isinstance(network, nn.Module)
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        learns = (id(network), *map(id, weights))
        if learns != self.learns:
            self.learns, self.searching = learns, True
            self._wrap(network)
        elif self.searching:
            self.searching = False
            if all(weight.grad is not None for weight in weights):
                self._wrap(network)
        assert self.made is not None
        return self.made

    def _wrap(self, network: nn.Module) -> None:
        self.made = None  # first of all its hooks on the weights have to go
        places = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.made = DistributedDataParallel(network, device_ids=places, broadcast_buffers=False,
                                                find_unused_parameters=self.searching)


def place_of(seat: Seat, devices: int | tuple[int, ...], pick: Callable[[], torch.device]) -> torch.device:
    """The device of a rank: one GPU each, those of a list in its order; UserError where there are not enough."""
    device = pick()
    if device.type != "cuda" or (seat.size == 1 and isinstance(devices, int)):
        return device
    index = devices[seat.local % len(devices)] if isinstance(devices, tuple) else seat.local
    count = torch.cuda.device_count()
    if index >= count:
        raise UserError(f"rank {seat.rank} would compute on GPU {index}; torch sees {count}",
                        f"start at most {count} ranks on a machine, or name others in runtime.devices")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
