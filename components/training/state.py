"""Everything a training needs to go on after an interruption, as tensors and plain numbers."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from components.data.samplers.pool import Memory
from components.losses.memory import Memory as LossMemory
from components.training import slots
from components.training.divergence import Alarm


@dataclass
class State:
    """A training at a step boundary.

    sums: sums over the current epoch (`loss`, `weight`, parts by name), float64 tensors. history: one row an epoch.
    began: the first step of the current epoch. sampler: what the sampler remembers from the epochs before. losses: what
    the objective keeps from step to step. forward: what stands for the network in training, e.g. its compiled form,
    which shares its weights. scaler: of gradients, for fp16. alarm: what watches the loss. rate: of the latest
    step. settled: epochs whose end the average has taken in. ranks: how many processes train together.
    """

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    best_score: tuple[float, float] = (-1.0, 0.0)
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    began: int = 0
    sampler: Memory = field(default_factory=dict)
    losses: LossMemory = field(default_factory=LossMemory)
    forward: Callable[..., Any] | None = None
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    alarm: Alarm = field(default_factory=Alarm)
    rate: float = 0.0
    settled: int = 0
    ranks: int = 1

    @classmethod
    def fresh(cls, network: nn.Module, optimizer: torch.optim.Optimizer) -> "State":
        """The state before the first step."""
        average = copy.deepcopy(network).requires_grad_(False)
        return cls(network, average.eval(), optimizer)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by a name that says whose it is."""
        found = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        found |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        found |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        found |= {f"sums.{name}": tensor for name, tensor in self.sums.items()}
        found |= {f"losses.{name}": tensor for name, tensor in self.losses.tensors().items()}
        return found | {f"optimizer.{name}": tensor for name, tensor in slots.tensors_of(self.optimizer).items()}

    def counters(self) -> dict[str, Any]:
        """What is no tensor."""
        return {"step": self.step, "rate": self.rate, "history": self.history, "began": self.began,
                "settled": self.settled, "sampler": self.sampler, "best_epoch": self.best_epoch,
                "best_score": list(self.best_score), "optimizer": slots.numbers_of(self.optimizer),
                "scaler": self.scaler.state_dict(), "alarm": self.alarm.counters(), "ranks": self.ranks}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """Take over a state that was saved by a training of the same settings."""
        self.network.load_state_dict(_below(tensors, "network"))
        self.average.load_state_dict(_below(tensors, "average"))
        self.best, self.sums = _below(tensors, "best"), _below(tensors, "sums")
        self.losses.load(_below(tensors, "losses"))
        slots.take_over(self.optimizer, _below(tensors, "optimizer"), counters["optimizer"])
        self.step, self.rate, self.best_epoch = counters["step"], counters["rate"], counters["best_epoch"]
        score, loss = counters["best_score"]
        self.best_score, self.history = (score, loss), counters["history"]
        self.began, self.settled, self.sampler = counters["began"], counters["settled"], counters["sampler"]
        self.scaler.load_state_dict(counters["scaler"])
        self.alarm.restore(counters["alarm"])
        self.ranks = counters.get("ranks", 1)

    @property
    def epoch(self) -> int:
        """The current epoch: as many have ended as there are rows in the history."""
        return len(self.history)


def _below(tensors: dict[str, Tensor], owner: str) -> dict[str, Tensor]:
    prefix = f"{owner}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
