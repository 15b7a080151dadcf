"""What an objective keeps from step to step: gradient densities and learnt weights of tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from components.losses.densities import Densities


@dataclass(frozen=True)
class Memory:
    """State of losses by task; it belongs into checkpoints, and nothing of it into a model.

    variances: logarithms of the variances of tasks, to be learnt beside the weights of the network.
    """

    densities: dict[str, Densities] = field(default_factory=dict)
    variances: dict[str, nn.Parameter] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Memory":
        """Move everything, before the optimiser is built."""
        for density in self.densities.values():
            density.shares, density.steps = density.shares.to(device), density.steps.to(device)
        for variance in self.variances.values():
            variance.data = variance.data.to(device)
        return self

    def forget(self) -> None:
        """Begin a training: an objective that went through one before starts anew."""
        for density in self.densities.values():
            density.forget()
        for variance in self.variances.values():
            variance.data.zero_()
            variance.grad = None

    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser has to learn, without decay."""
        return [self.variances[name] for name in sorted(self.variances)]

    def settle(self) -> None:
        """End a step: what its batches have shown is remembered."""
        for density in self.densities.values():
            density.settle()

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by a name that says whose it is."""
        found = {f"shares.{name}": density.shares for name, density in self.densities.items()}
        found |= {f"steps.{name}": density.steps for name, density in self.densities.items()}
        return found | {f"variance.{name}": variance.detach() for name, variance in self.variances.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of a memory of the same losses."""
        for name, density in self.densities.items():
            device = density.shares.device
            density.shares, density.steps = tensors[f"shares.{name}"].to(device), tensors[f"steps.{name}"].to(device)
        for name, variance in self.variances.items():
            variance.data.copy_(tensors[f"variance.{name}"])
