"""What it costs to keep the likeliest classes only: the divergence of what is read back from what was said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.tasks import Task
from components.probabilities.contrast import divergences
from components.probabilities.forms import form_of
from components.probabilities.mixing import softened

Floats = NDArray[np.float64]
SMALLEST = 1e-300


@dataclass(frozen=True)
class Cost:
    """Kullback-Leibler divergence in nats over samples and views: its mean, and what one in a hundred exceeds."""

    mean: float
    most: float


def cost(values: NDArray[Any], task: Task, k: int, dtype: str, temperature: float) -> Cost:
    """What keeping the likeliest k (0: all) of log-probabilities [n, views, C] costs at a temperature."""
    form = form_of(task, k, dtype)
    kept = form.decoded(form.encoded(values)).astype(np.float64)
    true, other = (tempered(one.reshape(-1, form.classes), temperature, task.kind) for one in (values, kept))
    found = np.maximum(divergences(true, other, task.kind), 0.0)
    return Cost(float(found.mean()), float(np.quantile(found, 0.99)))


def tempered(values: NDArray[Any], temperature: float, kind: str) -> Floats:
    """Log-probabilities [n, C] at a temperature, float64."""
    soft = softened(torch.from_numpy(np.asarray(values, np.float64)), temperature, kind)
    return np.asarray(np.log(np.maximum(soft.numpy(), SMALLEST)))


def worst(said: Mapping[tuple[str, str], NDArray[Any]], tasks: Sequence[Task], form: tuple[int, str],
          temperature: float) -> Cost:
    """The largest cost over sources and tasks.

    said: log-probabilities [n, views, C] by source and task. form: k and dtype.
    """
    kinds = {task.name: task for task in tasks}
    costs = [cost(values, kinds[name], *form, temperature) for (_, name), values in said.items()]
    return Cost(max(one.mean for one in costs), max(one.most for one in costs))
