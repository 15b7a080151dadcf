"""A learning-rate range test: the rate climbs from step to step, and what the loss does tells where to stand."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.samplers.choice import KINDS
from components.data.samplers.pool import gather
from components.models.preprocessing import Normalise
from components.training.averaging_settings import Averaging
from components.training.divergence import Diverged
from components.training.goals import Goal, fresh_state, labelled_rows
from components.training.loop import remaining
from components.training.optimizers import set_rate
from components.training.settings import Recipe
from components.training.state import State
from components.training.step import Job, Moment, size_of, train_step

LEAST = 10  # steps before a loss may be called too high, and from which something can be told
TOO_HIGH = 4.0  # times the lowest
INERTIA = 0.9  # share of the earlier steps in the mean that ends the test
PARTS = 20  # a loss is smoothed with this part of the steps to either side, the nearer the more
CLEAR = 6.0  # times the spread of a smoothed loss that it has to fall by; among wavering ones less happens by chance

Numbers: TypeAlias = NDArray[np.float64]
Show: TypeAlias = Callable[[Iterator[Moment], int], Iterator[Moment]]


@dataclass(frozen=True)
class Climb:
    """So many steps from a low rate to a high one, each the same factor above the one before."""

    steps: int = 200
    low: float = 1e-5
    high: float = 10.0

    def rate(self, place: int) -> float:
        """The rate of a step, from 0."""
        return float(self.low * (self.high / self.low) ** (place / (self.steps - 1)))


@dataclass(frozen=True)
class Climbed:
    """The rates that were tried, their losses, float64 [n] each, and why there are no more."""

    rates: Numbers
    losses: Numbers
    ended: str


def climb(goal: Goal, dataset: Dataset, device: torch.device, wish: Climb, show: Show) -> Climbed:
    """Train a fresh network for a few steps, as its recipe would in the last phase of its sizes, at climbing rates.

    Its batches, views, losses and optimiser are the recipe's; every rate is that of the heads. Nothing is kept. Leslie
    Smith 2017, https://arxiv.org/abs/1506.01186. UserError where the recipe does not fit.
    """
    rows = labelled_rows(dataset, "train")
    state, _ = fresh_state(goal, dataset, rows, device)
    state.alarm.bound = 0.0
    recipe = goal.recipe.model_copy(update={"epochs": wish.steps, "averaging": Averaging(name="none"),
                                            "heads_first": 0})
    job = Job(dataset, rows, recipe, goal.objective, goal.seed, device, goal.view_of, lambda epoch, figures: {},
              lambda state: None, lambda: False, show)
    return _climbed(wish, _losses(job, state, wish, goal.recipe))


def _losses(job: Job, state: State, wish: Climb, recipe: Recipe) -> Iterator[float]:
    """The loss of every step, NaN at last where it is no number any more."""
    pool = gather(job.dataset, job.rows, recipe.sampler, recipe.batch, job.seed)
    state.sampler = KINDS[recipe.sampler.name].begin(pool)
    size = size_of(recipe, recipe.epochs - 1, job.dataset.size)
    normalise = Normalise.named(recipe.model.normalisation).to(job.device)
    for place, steps, batch in job.show(remaining(job, state, pool), wish.steps):
        set_rate(state.optimizer, wish.rate(state.step))
        state.sums = {}
        state.alarm.recent.clear()
        try:
            train_step(job, state, batch, normalise, size)
        except Diverged:
            yield math.nan
            return
        yield float(state.sums["loss"] / state.sums["weight"])
        if place + 1 == steps:  # an epoch ends, and nobody judges it
            state.history.append({})
            state.began = state.step


def _climbed(wish: Climb, losses: Iterator[float]) -> Climbed:
    found: list[float] = []
    mean, lowest, ended = 0.0, math.inf, f"all {wish.steps} steps were made"
    for loss in losses:
        if not math.isfinite(loss):
            ended = "the loss was no number"
            break
        found.append(loss)
        mean = INERTIA * mean + (1 - INERTIA) * loss
        settled = mean / (1 - INERTIA ** len(found))
        lowest = min(lowest, settled)
        if len(found) >= LEAST and settled > TOO_HIGH * lowest:
            ended = f"the loss was {TOO_HIGH:g} times its lowest"
            break
        if len(found) == wish.steps:
            break
    return Climbed(np.array([wish.rate(place) for place in range(len(found))]), np.array(found), ended)


def smoothed(losses: Numbers) -> Numbers:
    """Means over neighbouring steps, weighted by a triangle, float64 [n]: no step lags behind its rate."""
    weights = triangle(len(losses))
    reach = len(weights) // 2
    wide, inside = np.pad(losses, reach), np.pad(np.ones(len(losses)), reach)
    return np.asarray(np.convolve(wide, weights, "valid") / np.convolve(inside, weights, "valid"), np.float64)


def triangle(steps: int) -> Numbers:
    """The weights of the neighbours of a step in a smoothed loss, itself in the middle."""
    reach = max(steps // PARTS, 3)
    return np.asarray(1 + reach - np.abs(np.arange(-reach, reach + 1)), np.float64)


# How a rate is read off, by name.
RULES = {
    "tenth": "a tenth of the rate at which the smoothed loss is lowest",
    "steepest": "the rate at which the smoothed loss falls fastest per factor in the rate, before its lowest point",
}


def suggestions(climbed: Climbed) -> dict[str, float]:
    """The rate that each rule suggests; none where the loss never fell by more than it wavers."""
    if len(climbed.losses) < LEAST:
        return {}
    losses = smoothed(climbed.losses)
    lowest = int(losses.argmin())
    before = slice(0, lowest + 1)
    weights = triangle(len(losses))
    spread = float((climbed.losses - losses)[before].std() * np.sqrt((weights**2).sum()) / weights.sum())
    if losses[before].max() - losses[lowest] <= CLEAR * spread:
        return {}
    slopes = np.gradient(losses, np.log10(climbed.rates))
    return {"tenth": float(climbed.rates[lowest] / 10),
            "steepest": float(climbed.rates[int(slopes[before].argmin())])}
