"""The end of an epoch for averaged weights: batch norms that no step has trained look at training views."""

from collections.abc import Iterator

import torch

from components.data.chance import generator
from components.data.loader import Batches, load
from components.data.views import views_of
from components.models.network import Network
from components.models.preprocessing import Normalise
from components.training.averaging import Seen, after_epoch, estimate_norms
from components.training.state import State
from components.training.step import Job, on_device, size_of, taught, width


def settle_average(job: Job, state: State) -> None:
    """Take the epoch that ends into the average, and estimate its batch norms anew where it is one of epochs."""
    if after_epoch(job.recipe.averaging, state.average, state.network, state.epoch, job.recipe.epochs):
        assert isinstance(state.average, Network)
        estimate_norms(state.average, state.network, training_views(job, state.epoch))


def training_views(job: Job, epoch: int) -> Iterator[Seen]:
    """Whole batches of an epoch's views as a network reads them, drawn from (seed, epoch) and not mixed."""
    recipe, size = job.recipe, size_of(job.recipe, epoch, job.dataset.size)
    rows = generator(job.seed, "norms", epoch).permutation(job.rows)
    count = max(min(recipe.averaging.samples or len(rows), len(rows)) // recipe.batch, 1)
    plan = [(rows[number * recipe.batch : (number + 1) * recipe.batch], job.view_of(epoch)) for number in range(count)]
    normalise = Normalise.named(recipe.model.normalisation).to(job.device)
    for batch in load(Batches(job.dataset, plan, job.seed, recipe.augment, kept=job.kept), job.workers):
        images = normalise(views_of(recipe.augment, job.seed, job.dataset, batch, size, job.device))
        layout = torch.channels_last if recipe.memory_format == "channels_last" else torch.contiguous_format
        yield images.to(width(recipe)).contiguous(memory_format=layout), taught(job, [on_device(batch, job)])
