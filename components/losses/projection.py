"""A linear map that a loss learns beside the network, and that no model keeps."""

from dataclasses import dataclass

import torch
from torch import nn

from components.data.chance import batch_seed


@dataclass(frozen=True)
class Projection:
    """weight: [to, from]. seed, name: what it is drawn from."""

    weight: nn.Parameter
    seed: int
    name: str

    def draw(self) -> None:
        """Begin anew; lengths are kept on average."""
        chance = torch.Generator().manual_seed(batch_seed(self.seed, f"projection/{self.name}"))
        drawn = torch.randn(self.weight.shape, generator=chance) / self.weight.shape[1] ** 0.5
        self.weight.data.copy_(drawn)
        self.weight.grad = None
