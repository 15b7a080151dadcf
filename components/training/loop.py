"""THE loop: one path for every objective, device and precision."""

import time
from collections.abc import Iterator

from components.data.loader import Batch, Batches, epoch_batches, load
from components.models.preprocessing import Normalise
from components.training.optimizers import cosine_factor, set_rate
from components.training.state import State
from components.training.step import Job, size_of, train_step


def run(job: Job, state: State) -> bool:
    """Train from the state's step to the end; False where it was asked to stop before."""
    steps = max(len(job.rows) // job.recipe.batch, 1)
    total = steps * job.recipe.epochs
    normalise = Normalise.named(job.recipe.model.normalisation).to(job.device)
    saved = time.monotonic()
    for batch in job.show(_remaining_batches(job, state.step, steps), total - state.step):
        if job.stop():
            job.save(state)
            return False
        if time.monotonic() - saved > job.save_seconds:
            job.save(state)
            saved = time.monotonic()
        epoch, last = divmod(state.step, steps)[0], (state.step + 1) % steps == 0
        set_rate(state.optimizer, job.recipe.optimizer.lr * cosine_factor(state.step, total, job.recipe.warmup))
        train_step(job, state, batch, normalise, size_of(job.recipe, epoch, job.dataset.size))
        if last:
            end_epoch(job, state, epoch)
    return True


def end_epoch(job: Job, state: State, epoch: int) -> None:
    """Turn the sums into figures, let the caller evaluate, and add a row to the history."""
    weight = float(state.sums["weight"])
    figures = {f"train/{name}": float(total) / weight for name, total in state.sums.items() if name != "weight"}
    state.sums = {}
    state.history.append({"epoch": epoch + 1, **figures, **job.after_epoch(epoch, figures)})


def _remaining_batches(job: Job, step: int, steps: int) -> Iterator[Batch]:
    """Batches from a step on: what an uninterrupted run would see there."""
    for epoch in range(step // steps, job.recipe.epochs):
        rows = epoch_batches(job.rows, job.recipe.batch, job.seed, epoch)
        first = step % steps if epoch == step // steps else 0
        plan = [(part, job.view_of(epoch)) for part in rows[first:]]
        yield from load(Batches(job.dataset, plan, job.seed, job.recipe.augment), job.workers)
