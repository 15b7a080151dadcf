"""Heads: from an embedding to the logits of one task, alone or over a hidden layer with a norm of its own."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from components.data.tasks import Task
from components.models.settings import Head

LEAST = 2  # samples that have a spread


class LinearHead(nn.Linear):
    """A linear layer on the embedding [N, D] -> logits [N, C]."""

    def forward(self, embedding: Tensor, known: Tensor | None = None) -> Tensor:
        """Logits; which samples are labelled does not matter."""
        return super().forward(embedding)

    def draw(self) -> None:
        """Draw the weights from torch's generator."""
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    @property
    def last(self) -> nn.Linear:
        """The layer whose rows are the classes."""
        return self


class EmbeddingHead(nn.Module):
    """Embedding [N, D] -> Linear, norm, ReLU, dropout, Linear -> logits [N, C]."""

    def __init__(self, width: int, classes: int, head: Head) -> None:
        super().__init__()
        hidden = head.width or width
        self.hidden, self.norm = nn.Linear(width, hidden), LabelledNorm(hidden)
        self.dropout, self.last = nn.Dropout(head.dropout), nn.Linear(hidden, classes)

    def forward(self, embedding: Tensor, known: Tensor | None = None) -> Tensor:
        """Logits of all samples; known: those that the norm looks at in training, bool [N], or None for all."""
        hidden = torch.relu(self.norm(self.hidden(embedding), known))
        logits: Tensor = self.last(self.dropout(hidden))
        return logits

    def draw(self) -> None:
        """Draw the weights from torch's generator."""
        nn.init.kaiming_normal_(self.hidden.weight, mode="fan_out")
        nn.init.normal_(self.last.weight, std=0.001)
        for layer in (self.hidden, self.last):
            nn.init.zeros_(layer.bias)


class LabelledNorm(nn.Module):
    """Batch normalisation [N, D] by the labelled samples of a batch alone.

    The others are normalised by the running statistics, which they do not move; so are all where fewer than two are
    labelled. Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, with torch's epsilon, momentum and unbiased
    running variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.epsilon, self.momentum = epsilon, momentum

    def forward(self, values: Tensor, known: Tensor | None = None) -> Tensor:
        """Values of the same shape and type; known: bool [N], None for all."""
        wide = values if values.dtype == torch.float64 else values.float()
        if not self.training:
            normed = batch_norm(wide, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0,
                                self.epsilon)
            return normed.to(values.dtype)
        chosen = torch.ones(len(wide), dtype=torch.bool, device=wide.device) if known is None else known
        return self._normalised(wide, chosen).to(values.dtype)

    def _normalised(self, values: Tensor, known: Tensor) -> Tensor:
        """As sums over all samples with shares of 0 or 1, so that nothing waits for the device to count."""
        share = known[:, None].to(values.dtype)
        count = share.sum()
        mean = (values * share).sum(dim=0) / count.clamp_min(1)
        variance = ((values - mean).square() * share).sum(dim=0) / count.clamp_min(1)
        enough = count >= LEAST
        ours = known[:, None] & enough
        shift = torch.where(ours, mean, self.running_mean)
        spread = torch.where(ours, variance, self.running_var)
        normed = (values - shift) * torch.rsqrt(spread + self.epsilon) * self.weight + self.bias
        self._remember(mean.detach(), variance.detach() * (count / (count - 1).clamp_min(1)), enough)
        return normed

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, enough: Tensor) -> None:
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            kept.copy_(torch.where(enough, kept + self.momentum * (new - kept), kept))


def build_head(width: int, task: Task, head: Head) -> LinearHead | EmbeddingHead:
    """The head of a task, its weights not yet drawn."""
    count = len(task.classes)
    return LinearHead(width, count) if head.kind == "linear" else EmbeddingHead(width, count, head)
