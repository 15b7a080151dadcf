"""Teachers asked in the step itself: what a store would hold of a batch, at the cost of their forward passes.

For comparison with a store: `of` is handed to an objective in the place of `Targets.of`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from components.data.dataset import Dataset
from components.data.loader import Batch
from components.models.artifact import Model
from components.probabilities.judging import Program, batch_images
from components.probabilities.mixing import mixed


@dataclass
class Live:
    """Models of a Dataset's tasks, in evaluation mode and on the student's device; program: that of its views."""

    models: list[Model]
    dataset: Dataset
    program: Program
    temperature: float
    _batch: Batch | None = field(default=None, repr=False)
    _said: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def of(self, task: str, batch: Batch) -> Tensor:
        """Targets of a batch's samples as they are seen, [n, C]; teachers are asked once a batch."""
        if self._batch is None or self._batch.rows is not batch.rows or self._batch.view is not batch.view:
            self._batch, self._said = batch, self.ask(batch)
        return self._said[task]

    @torch.no_grad()
    def ask(self, batch: Batch) -> dict[str, Tensor]:
        """What the teachers say together, [n, C] by task."""
        logits = [model.network(batch_images(model, self.dataset, self.program, batch)).logits for model in self.models]
        found = {}
        for task in self.dataset.tasks:
            log = (lambda z: log_softmax(z, dim=1)) if task.kind == "single" else logsigmoid
            found[task.name] = mixed([log(one[task.name].float()) for one in logits], self.temperature, task.kind)
        return found
