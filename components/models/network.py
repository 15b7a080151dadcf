"""A backbone and one parallel head a task."""

import torch
from torch import Tensor, nn

from components.data.chance import batch_seed
from components.data.tasks import Task
from components.models.backbones import build_backbone, embedding_width
from components.models.outputs import Outputs
from components.models.settings import Architecture


class Network(nn.Module):
    """Images float32 [N, C, H, W], normalised -> Outputs."""

    def __init__(self, backbone: nn.Module, width: int, tasks: tuple[Task, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({task.name: nn.Linear(width, len(task.classes)) for task in tasks})

    def forward(self, images: Tensor) -> Outputs:
        """Every head reads the same embedding, so that tasks do not see each other."""
        embedding, features = self.backbone(images)
        dropped = self.dropout(embedding)
        return Outputs({name: head(dropped) for name, head in self.heads.items()}, embedding, features)


def build_network(architecture: Architecture, tasks: tuple[Task, ...], size: tuple[int, int], seed: int) -> Network:
    """A freshly initialised network; each part draws from its own seed, so the order of tasks changes nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(batch_seed(seed, "backbone"))
        backbone = build_backbone(architecture.name, 3, architecture.options, size)
        width = embedding_width(backbone, 3, size)
        network = Network(backbone, width, tasks, architecture.dropout)
        for task in tasks:
            torch.manual_seed(batch_seed(seed, f"head/{task.name}"))
            head = network.heads[task.name]
            assert isinstance(head, nn.Linear)
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
    return network
