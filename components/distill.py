"""The step `distill`: the student, trained on what the teachers said."""

from typing import Annotated, Literal

from pydantic import Field

from components.contract import Input, Output, deferred_termination
from components.data.curriculum_settings import Curriculum
from components.settings import From, Runtime, Seed, Settings, SharedRuntime
from components.surroundings import surroundings, write_fitted
from components.training.settings import Recipe


class Distill(Settings):
    """How the student learns from the store; its network and budget are those of `student`."""

    temperature: float = Field(3.0, gt=0, description="softens teachers and student alike")
    weight: float = Field(0.7, ge=0, le=1, description="share of the teachers in the loss; the rest is the label's")
    match: Literal["exact", "mean"] = Field(
        "mean", description="exact: judged views, target by view; mean: fresh views, target averaged over views")
    curriculum: Curriculum = Curriculum()
    student: Annotated[Recipe, From("student")] = Recipe()
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()

    def resolved(self) -> "Distill":
        """These settings with precision and memory format decided for this machine."""
        from components.training.beginning import pinned
        from components.training.devices import resolve

        return self.model_copy(update={"student": pinned(resolve(self.student, self.runtime.device))})


def distill(settings: Distill, /, *, dataset: Input, probabilities: Input, model: Output, metrics: Output,
            curves: Output) -> None:
    """Train the student on a Dataset's images and the teachers' stored probabilities alone."""
    from components.data.curriculum import curriculum_factor
    from components.data.dataset import Dataset
    from components.losses.distillation import blended
    from components.probabilities.judging import Program
    from components.probabilities.origin import code_digest, generator_digest
    from components.probabilities.store import Store
    from components.probabilities.targets import read_targets
    from components.probabilities.truth import true_probabilities
    from components.storage.receipts import digest
    from components.training.fitting import fit
    from components.training.goals import Goal, labelled_rows, losses_of

    samples, store = Dataset.open(dataset), Store.open(probabilities)
    store.require({"dataset": digest(dataset), "tasks": [task.to_json() for task in samples.tasks]})
    exact = settings.match == "exact"
    if exact:
        store.require({"augmentation": Program(settings.student.augment, settings.seed, samples.size).digest(),
                       "code": code_digest(), "generator": generator_digest()})
    targets = read_targets(store, samples, settings.temperature, settings.match)
    recipe, stored = settings.student, len(store.views) - 1
    pace, rows = settings.curriculum, labelled_rows(samples, "train")
    factor = curriculum_factor(true_probabilities(store, samples), rows, pace) if pace.thresholds else None
    with deferred_termination() as stop, surroundings(settings.runtime, "distilled", stop) as around:
        losses = losses_of(recipe, samples, "distilled", around.ranks)
        objective = blended(losses, targets.of, (settings.temperature, settings.weight))
        goal = Goal("distilled", recipe, objective, settings.seed,
                    lambda epoch: 1 + (epoch % stored if exact else epoch), factor)
        fitted = fit(goal, samples, around)
    if fitted is not None:
        write_fitted(fitted, model, metrics, curves)
