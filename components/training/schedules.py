"""The learning rate over a run: pure functions of the step, so that a resumed run needs to remember nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from components.training.schedule_settings import Name, Schedule


@dataclass(frozen=True)
class Place:
    """A step of a run. total: steps of the run. rise: steps of the warm-up. epochs: of the run."""

    step: int
    total: int
    rise: int
    epochs: int

    @property
    def done(self) -> float:
        """Epochs that are over, parts counted."""
        return self.step * self.epochs / self.total


def rate_factor(schedule: Schedule, step: int, total: int, epochs: int) -> float:
    """The share of the peak rate at a step of a run: a linear rise times a curve; continuous at the seam.

    >>> [round(rate_factor(Schedule(warmup=0.2), step, 10, 1), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 0.962, 0.309, 0.0]
    """
    rise = 0 if schedule.name == "one_cycle" else round(total * schedule.warmup)
    height = CURVES[schedule.name](schedule, Place(step, total, rise, epochs))
    return (step + 1) / rise * height if step < rise else height


def cosine(schedule: Schedule, at: Place) -> float:
    """Half a cosine to the minimum, where it may stay (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983)."""
    gone, whole = _fall(schedule, at)
    return schedule.minimum + (1 - schedule.minimum) * (0.5 * (1 + math.cos(math.pi * gone / whole)))


def linear(schedule: Schedule, at: Place) -> float:
    """A line to the minimum, where it may stay."""
    gone, whole = _fall(schedule, at)
    return schedule.minimum + (1 - schedule.minimum) * (1 - gone / whole)


def constant(schedule: Schedule, at: Place) -> float:
    """The peak rate."""
    return 1.0


def phased(schedule: Schedule, at: Place) -> float:
    """Phases of equal length, each at gamma times the rate of the one before."""
    gone = max(at.step - at.rise, 0) * schedule.phases // max(at.total - at.rise, 1)
    return schedule.gamma ** gone


def multi_step(schedule: Schedule, at: Place) -> float:
    """Lower by gamma at each of the given epochs."""
    return schedule.gamma ** sum(at.done >= change for change in schedule.steps)


def every_n(schedule: Schedule, at: Place) -> float:
    """Lower by gamma every so many epochs."""
    return schedule.gamma ** math.floor(at.done / schedule.every)


def piecewise(schedule: Schedule, at: Place) -> float:
    """Given ratios between given epochs, or a default of four heights after the warm-up."""
    if schedule.ratios:
        return schedule.ratios[sum(at.done >= change for change in schedule.steps)]
    eighths = 8 * (at.step - at.rise) // max(at.total - at.rise, 1)
    return 0.1 ** sum(eighths >= change for change in (3, 5, 7))


def one_cycle(schedule: Schedule, at: Place) -> float:
    """Up from the start, down to the minimum, each half a cosine (Smith 2018, https://arxiv.org/abs/1803.09820)."""
    last = max(at.total - 1, 1)
    peak = min(max(schedule.rise * at.total - 1, 1), last)
    if at.step <= peak:
        return _between(schedule.start, 1.0, at.step / peak)
    return _between(1.0, schedule.minimum, (at.step - peak) / (last - peak))


CURVES: dict[Name, Callable[[Schedule, Place], float]] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
    "step": phased,
    "multi_step": multi_step,
    "every_n": every_n,
    "piecewise": piecewise,
    "one_cycle": one_cycle,
}


def _fall(schedule: Schedule, at: Place) -> tuple[int, int]:
    """How many steps the rate has fallen after this one, and how many it falls in all."""
    whole = max(at.total - at.rise - round(at.total * schedule.hold), 1)
    return min(max(at.step - at.rise + 1, 0), whole), whole


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
