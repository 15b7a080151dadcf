"""What an objective keeps from step to step: gradient densities, learnt weights of tasks, maps of embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from components.losses.densities import Densities
from components.losses.projection import Projection


@dataclass(frozen=True)
class Memory:
    """State of losses by task; it belongs into checkpoints, and nothing of it into a model.

    variances: logarithms of the variances of tasks, to be learnt beside the weights of the network, as are maps, by
    teacher.
    """

    densities: dict[str, Densities] = field(default_factory=dict)
    variances: dict[str, nn.Parameter] = field(default_factory=dict)
    maps: dict[str, Projection] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Memory":
        """Move everything, before the optimiser is built."""
        for density in self.densities.values():
            density.shares, density.steps = density.shares.to(device), density.steps.to(device)
        for learnt in self.parameters():
            learnt.data = learnt.data.to(device)
        return self

    def forget(self) -> None:
        """Begin a training: an objective that went through one before starts anew."""
        for density in self.densities.values():
            density.forget()
        for variance in self.variances.values():
            variance.data.zero_()
            variance.grad = None
        for one in self.maps.values():
            one.draw()

    def parameters(self) -> list[nn.Parameter]:
        """What the optimiser has to learn, without decay."""
        variances = [self.variances[name] for name in sorted(self.variances)]
        return variances + [self.maps[name].weight for name in sorted(self.maps)]

    def settle(self) -> None:
        """End a step: what its batches have shown is remembered."""
        for density in self.densities.values():
            density.settle()

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by a name that says whose it is."""
        found = {f"shares.{name}": density.shares for name, density in self.densities.items()}
        found |= {f"steps.{name}": density.steps for name, density in self.densities.items()}
        found |= {f"map.{name}": one.weight.detach() for name, one in self.maps.items()}
        return found | {f"variance.{name}": variance.detach() for name, variance in self.variances.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of a memory of the same losses."""
        for name, density in self.densities.items():
            device = density.shares.device
            density.shares, density.steps = tensors[f"shares.{name}"].to(device), tensors[f"steps.{name}"].to(device)
        for name, variance in self.variances.items():
            variance.data.copy_(tensors[f"variance.{name}"])
        for name, one in self.maps.items():
            one.weight.data.copy_(tensors[f"map.{name}"])
