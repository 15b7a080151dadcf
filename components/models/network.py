"""A backbone and one parallel head a task."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from components.data.chance import batch_seed
from components.data.tasks import Task
from components.models.backbones import build_backbone, embedding_width
from components.models.heads import EmbeddingHead, LinearHead, build_head
from components.models.outputs import Outputs
from components.models.settings import Architecture


class Network(nn.Module):
    """Images float32 [N, C, H, W], normalised -> Outputs."""

    def __init__(self, backbone: nn.Module, width: int, tasks: tuple[Task, ...], architecture: Architecture) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(architecture.dropout)
        self.heads = nn.ModuleDict({task.name: build_head(width, task, architecture.head) for task in tasks})
        draws = architecture.head.dropout > 0  # which head draws first must not depend on the order of tasks
        self.order = sorted(self.heads) if draws else list(self.heads)

    def forward(self, images: Tensor, labelled: Mapping[str, Tensor] | None = None) -> Outputs:
        """Every head reads the same embedding, so that tasks do not see each other.

        labelled: which samples each task's norms look at in training, bool [N] by task; None for all.
        """
        embedding, features = self.backbone(images)
        dropped, known = self.dropout(embedding), labelled or {}
        found = {name: self.heads[name](dropped, known.get(name)) for name in self.order}
        return Outputs({name: found[name] for name in self.heads}, embedding, features)


def build_network(architecture: Architecture, tasks: tuple[Task, ...], size: tuple[int, int], seed: int,
                  channels: int = 3) -> Network:
    """A freshly initialised network; each part draws from its own seed, so the order of tasks changes nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(batch_seed(seed, "backbone"))
        backbone = build_backbone(architecture.name, channels, architecture.options, size)
        width = embedding_width(backbone, channels, size)
        network = Network(backbone, width, tasks, architecture)
        for task in tasks:
            torch.manual_seed(batch_seed(seed, f"head/{task.name}"))
            head_of(network, task.name).draw()
    return network


def width_of(architecture: Architecture, size: tuple[int, int], channels: int = 3) -> int:
    """The length of an architecture's embedding."""
    with torch.random.fork_rng(devices=[]):
        return embedding_width(build_backbone(architecture.name, channels, architecture.options, size), channels, size)


def head_of(network: Network, task: str) -> LinearHead | EmbeddingHead:
    """The head of a task."""
    head = network.heads[task]
    assert isinstance(head, LinearHead | EmbeddingHead)
    return head
