"""Starting ranks on this machine, through the agent that is behind torchrun, and telling why they ended."""

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.agent.server.api import WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousInfo, RendezvousStoreInfo
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

from components.errors import Terminated, UserError

LOOPBACK = "127.0.0.1"
GRACE = 30  # seconds that ranks have to save their state once they were asked to end
HANDLED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


@dataclass(frozen=True)
class Site:
    """Where ranks are started: `here` on each of `nodes` machines, of which this is number `node`.

    address: HOST:PORT of the first machine, empty where there is but one. patience: seconds to wait for the others.
    """

    here: int
    nodes: int
    node: int
    address: str
    patience: float


@dataclass(frozen=True)
class Death:
    """A rank that ended with an error: exit code, or the negative number of the signal that killed it."""

    rank: int
    process: int
    code: int
    time: float


def count_here(devices: int | tuple[int, ...], gpu: bool) -> int:
    """How many ranks a machine is to have; UserError where there are not as many GPUs.

    devices: so many, or the numbers of GPUs; 0: all GPUs, or one process without any.
    """
    present = torch.cuda.device_count() if gpu else 0
    if isinstance(devices, tuple):
        missing = [index for index in devices if index >= present]
        if missing:
            raise UserError(f"runtime.devices names GPU {missing[0]}; torch sees {present or 'none'}",
                            "name GPUs from 0 on, or give a number of processes: runtime.devices: 2")
        return len(devices)
    if gpu and devices > present:
        raise UserError(f"runtime.devices is {devices}; torch sees {present} GPUs",
                        f"set it to at most {present}, or to 0 for all")
    return devices or max(present, 1)


def run_ranks(arguments: Sequence[str], site: Site) -> list[Death]:
    """Run `python ARGUMENTS` as every rank of this machine; who ended with an error, in the order of time.

    Where one does, the others are ended. SIGTERM and Ctrl-C reach all of them, which have GRACE seconds to save their
    state; then Terminated or KeyboardInterrupt is raised.
    """
    with tempfile.TemporaryDirectory(prefix="stillhouse-ranks-") as folder, quietly(), signals_kept():
        spec = WorkerSpec(role="rank", local_world_size=site.here, entrypoint=sys.executable, args=tuple(arguments),
                          rdzv_handler=meeting(site), max_restarts=0, monitor_interval=0.1)
        agent = LocalElasticAgent(spec, DefaultLogsSpecs(log_dir=folder), shutdown_timeout=GRACE)
        try:
            failures = agent.run().failures
        except SignalException as asked:
            raise (KeyboardInterrupt if asked.sigval == signal.SIGINT else Terminated) from None
    found = [Death(rank, one.pid, one.exitcode, one.timestamp) for rank, one in failures.items()]
    return sorted(found, key=lambda death: death.time)


def meeting(site: Site) -> RendezvousHandler:
    """Where the ranks meet: on the loopback interface, or on the first of several machines."""
    if site.nodes == 1:
        return Inside(site.patience)
    host, _, port = site.address.rpartition(":")
    return StaticTCPRendezvous(host, int(port), site.node, site.nodes, "stillhouse", int(site.patience))


class Inside(RendezvousHandler):
    """A meeting of one machine with itself; its store listens where no other machine can reach it."""

    def __init__(self, patience: float) -> None:
        self.patience = timedelta(seconds=patience)
        self.socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self.socket.getsockname()[1]

    def get_backend(self) -> str:
        """What the agent calls it."""
        return "inside"

    @property
    def use_agent_store(self) -> bool:
        """Ranks use this very store."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """Open the store: of one machine, all are there."""
        store = TCPStore(LOOPBACK, self.port, None, True, self.patience, wait_for_workers=False,
                         master_listen_fd=self.socket.detach())
        return RendezvousInfo(PrefixStore("agent", store), 0, 1, RendezvousStoreInfo(LOOPBACK, self.port))

    def is_closed(self) -> bool:
        """It never is."""
        return False

    def set_closed(self) -> None:
        """Nobody else comes."""

    def num_nodes_waiting(self) -> int:
        """No other machine waits."""
        return 0

    def get_run_id(self) -> str:
        """There is but one run."""
        return "stillhouse"

    def shutdown(self) -> bool:
        """The store goes with the agent."""
        return True


@contextmanager
def quietly() -> Iterator[None]:
    """Keep torch's agent from telling in its own words what is told better afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Give back the handlers of signals that the agent replaces."""
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(HANDLED)
    before = {name: signal.getsignal(getattr(signal, name)) for name in HANDLED}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
