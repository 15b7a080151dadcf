"""When to stop a training that has gone astray: a loss that is no number, or one that stays far above its start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.errors import UserError

LOOK_EVERY = 20  # steps; each look waits for the device
PATIENCE = 5  # looks in a row that find the loss too high
LEAST = 1.0  # a first mean below this counts as this much
SHOWN = 8  # ids in a message; all of them are in the error


class Diverged(UserError):
    """The loss is of no use any more; ids: of the batch that it was about."""

    def __init__(self, cause: str, remedy: str, ids: Sequence[str]) -> None:
        super().__init__(cause, remedy)
        self.ids = list(ids)


@dataclass(frozen=True)
class Taken:
    """A step: its number from 1, learning rate, rows, and on the device its loss and, if known, its gradient's norm."""

    step: int
    rate: float
    rows: NDArray[np.int64]
    loss: Tensor
    norm: Tensor | None = None


@dataclass
class Alarm:
    """The steps since the last look, and what the looks before have found.

    bound: how many times the first mean is too high; 0: nothing is. first: mean loss of the first look, NaN before it.
    high: how many looks in a row found too high a mean.
    """

    bound: float = 5.0
    first: float = math.nan
    high: int = 0
    recent: list[Taken] = field(default_factory=list)

    def counters(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"first": None if math.isnan(self.first) else self.first, "high": self.high}

    def restore(self, counters: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.first = math.nan if counters["first"] is None else counters["first"]
        self.high = counters["high"]

    def look(self, ids: NDArray[np.uint8]) -> dict[str, float]:
        """What the steps since the last look were like, which are then forgotten; Diverged where it is time to stop.

        ids: of every sample, uint8 [N, 32].
        """
        told = self.refuse_nonsense(ids)
        self._refuse_height(told, ids)
        self.recent.clear()
        return told

    def refuse_nonsense(self, ids: NDArray[np.uint8]) -> dict[str, float]:
        """Mean loss, latest rate and latest known norm of the steps since the last look; nothing where there was none.

        Diverged where a loss is no number.
        """
        if not self.recent:
            return {}
        normed = [taken.norm for taken in self.recent if taken.norm is not None]
        numbers = torch.stack([taken.loss.detach().double() for taken in self.recent]
                              + [norm.double() for norm in normed]).tolist()
        for taken, loss in zip(self.recent, numbers, strict=False):
            if not math.isfinite(loss):
                raise diverged(f"the loss is not finite at step {taken.step}", "set precision: fp32", taken, ids)
        told = {"loss": sum(numbers[: len(self.recent)]) / len(self.recent), "learning_rate": self.recent[-1].rate}
        return told | ({"gradient_norm": numbers[-1]} if normed and math.isfinite(numbers[-1]) else {})

    def _refuse_height(self, told: dict[str, float], ids: NDArray[np.uint8]) -> None:
        if not told:
            return
        if math.isnan(self.first):
            self.first = told["loss"]
        bound = self.bound * max(self.first, LEAST)
        self.high = self.high + 1 if self.bound > 0 and told["loss"] > bound else 0
        if self.high >= PATIENCE:
            cause = (f"the loss is {told['loss']:.3g} at step {self.recent[-1].step} and has been above {bound:.3g}, "
                     f"{self.bound:g} times its start, for {PATIENCE * LOOK_EVERY} steps")
            raise diverged(cause, "set runtime.diverged: 0 to go on all the same", self.recent[-1], ids)


def diverged(cause: str, other: str, taken: Taken, ids: NDArray[np.uint8]) -> Diverged:
    """The error about a step; other: what may be tried besides a lower rate and clipping."""
    names = [bytes(row).hex() for row in ids[taken.rows]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    samples = ", ".join(name[:12] for name in names[:SHOWN])
    return Diverged(f"{cause} (rate {taken.rate:.2g}, samples {samples}{more})",
                    f"lower optimizer.lr, set clip: 1.0, or {other}", names)
