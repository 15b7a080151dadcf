"""THE loop: one path for every objective, sampler, device and precision."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from components.data.loader import Batches, load
from components.data.mixing import draw_plan
from components.data.parts import Share
from components.data.samplers.choice import KINDS, turns
from components.data.samplers.pool import Pool, Rows, gather
from components.models.inference import Stopped
from components.models.preprocessing import Normalise
from components.training.checkpoints import Rhythm
from components.training.curves import figures_of
from components.training.norms import settle_average
from components.training.optimizers import set_rate
from components.training.schedules import rate_factor
from components.training.staging import set_stage
from components.training.state import State
from components.training.step import Job, Moment, size_of, train_step


def run(job: Job, state: State) -> bool:
    """Train from the state's step to the end; False where it was asked to stop before.

    The rate follows the share of epochs that is done, so an epoch may have more or fewer steps than the one before.
    """
    try:
        return _go_on(job, state)
    except Stopped:  # within an evaluation, which the next process begins again
        job.save(state)
        return False


def _go_on(job: Job, state: State) -> bool:
    recipe, pool = job.recipe, gather(job.dataset, job.rows, job.recipe.sampler, job.recipe.batch, job.seed)
    if not state.sampler:
        state.sampler = KINDS[recipe.sampler.name].begin(pool)
    normalise = Normalise.named(recipe.model.normalisation).to(job.device)
    left = _expected(job, state, pool)
    if state.step - state.began == _steps(state, pool):  # the process before ended within the evaluation
        end_epoch(job, state, pool)
    rhythm = Rhythm(job.save_seconds, left, state.step)
    for place, steps, batch in job.show(remaining(job, state, pool), left):
        if job.ranks.any(job.stop()):
            job.save(state)
            return False
        if rhythm.due(state.step):
            rhythm.time(lambda: job.save(state))
        done, total = state.epoch * steps + place, recipe.epochs * steps
        factor = rate_factor(recipe.schedule, done, total, recipe.epochs)
        set_rate(state.optimizer, recipe.optimizer.lr * factor)
        train_step(job, state, batch, normalise, size_of(recipe, state.epoch, job.dataset.size))
        if place + 1 == steps:
            end_epoch(job, state, pool)
    return True


def end_epoch(job: Job, state: State, pool: Pool) -> None:
    """Turn the sums into figures, let the caller evaluate, add a row to the history, and let the sampler look back."""
    state.alarm.refuse_nonsense(job.dataset.ids)
    epoch, figures = state.epoch, figures_of(state.sums)
    figures["learning_rate"] = state.rate
    if state.settled == epoch:
        settle_average(job, state)
        state.settled += 1
    found = job.after_epoch(epoch, figures)  # it may be Stopped, so nothing is changed before that would be done twice
    state.history.append({"epoch": epoch + 1, **figures, **found})
    state.sums = {}
    state.sampler = KINDS[job.recipe.sampler.name].after(pool, epoch, state.sampler, job.recalls())
    state.began = state.step


def remaining(job: Job, state: State, pool: Pool) -> Iterator[Moment]:
    """Batches from the state's step on, as an uninterrupted run would see them; epochs are planned as they begin."""
    while state.epoch < job.recipe.epochs:
        epoch, first = state.epoch, state.step - state.began
        set_stage(state.network, job.recipe, epoch)
        draws = KINDS[job.recipe.sampler.name].plan(pool, epoch, state.sampler)
        assert first < len(draws), "the state was saved within this epoch"
        shares = [_share(job, draw.rows, state.began + place) for place, draw in enumerate(draws)]
        plan = [_held(draw.rows, _views(job, turn), share)
                for draw, turn, share in zip(draws, turns(draws, epoch), shares, strict=True)]
        batches = Batches(job.dataset, plan[first:], job.seed, job.recipe.augment, job.rows, job.kept)
        weights = job.dataset.weights * job.factor(epoch) if job.factor else None
        loaded = load(batches, job.workers, [draw.task for draw in draws[first:]], weights)
        for place, batch in enumerate(loaded, start=first):
            yield place, len(draws), replace(batch, share=shares[place])


def _share(job: Job, rows: Rows, step: int) -> Share | None:
    """What this rank holds of a batch; None where it holds all of it."""
    if job.ranks.size == 1:
        return None
    mixture = draw_plan(job.recipe.mix, job.seed, step, len(rows))
    return Share(rows, job.division.held(len(rows), mixture.partners if mixture else None))


def _held(rows: Rows, views: Rows, share: Share | None) -> tuple[Rows, Rows]:
    """The rows of a share and the view of each."""
    return (rows, views) if share is None else (rows[share.places], views[share.places])


def _views(job: Job, turn: Rows) -> Rows:
    """The view that each sample's turn asks for, int64 [n]."""
    asked, places = np.unique(turn, return_inverse=True)
    return np.array([job.view_of(int(number)) for number in asked], np.int64)[places]


def _steps(state: State, pool: Pool) -> int:
    """How many steps the current epoch has."""
    return len(KINDS[pool.wish.name].plan(pool, state.epoch, state.sampler))


def _expected(job: Job, state: State, pool: Pool) -> int:
    """How many steps are left if every epoch has as many as this one."""
    return (job.recipe.epochs - state.epoch) * _steps(state, pool) - (state.step - state.began)
