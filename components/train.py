"""The step `train`: a teacher (`teachers.NAME`) or the plain student (`student`)."""

from typing import Annotated, cast

from pydantic import Field

from components.contract import Input, Output, deferred_termination
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Seed
from components.surroundings import surroundings, write_fitted
from components.training.settings import Recipe


class Train(Recipe):
    """A network and how it is trained."""

    name: Annotated[str, From("@name")] = Field("student", description="name of the model: the section's own")
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()

    def resolved(self) -> "Train":
        """These settings with precision and memory format decided for this machine."""
        from components.training.beginning import pinned
        from components.training.devices import resolve

        return cast(Train, pinned(resolve(self, self.runtime.device)))


def train(settings: Train, /, *, dataset: Input, model: Output, metrics: Output, curves: Output) -> None:
    """Train a network on the labels of a Dataset, keep the best epoch, calibrate it on the validation split."""
    from components.data.dataset import Dataset
    from components.losses.objective import trained
    from components.training.fitting import fit
    from components.training.goals import Goal, losses_of

    samples = Dataset.open(dataset)
    with deferred_termination() as stop, surroundings(settings.runtime, settings.name, stop) as around:
        losses = losses_of(settings, samples, settings.name, around.ranks)
        fitted = fit(Goal(settings.name, settings, trained(losses), settings.seed), samples, around)
    if fitted is not None:
        write_fitted(fitted, model, metrics, curves)
