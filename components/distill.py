"""The step `distill`: the student, trained on what the teachers said."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from components.contract import Input, Output, deferred_termination
from components.data.curriculum_settings import Curriculum
from components.losses.imitation_settings import Decoupled, Imitated, Likeness, Relations
from components.probabilities.ensemble_settings import Ensemble
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Seed, Settings
from components.surroundings import surroundings, write_fitted
from components.training.settings import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from components.data.dataset import Dataset
    from components.losses.objective import Objective
    from components.losses.ranks import Ranks
    from components.probabilities.store import Store
    from components.probabilities.targets import Targets
    from components.probabilities.voices import Choir
    from components.training.goals import Goal


class Distill(Settings):
    """How the student learns from the store; its network and budget are those of `student`."""

    loss: Imitated = Field("kd", description=(
        "kd: divergence from soft targets; dkd: its two halves, weighed apart; dist: correlations over classes and "
        "over samples; meal: soft targets at temperature 1 and no label"))
    temperature: float = Field(3.0, gt=0, description="softens teachers and student alike; not of meal")
    weight: float = Field(0.7, ge=0, le=1, description=(
        "share of the teachers in the loss; the rest is the label's; not of meal"))
    dkd: Decoupled = Decoupled()
    dist: Relations = Relations()
    match: Literal["exact", "mean", "any"] = Field("mean", description=(
        "exact: judged views, target by view; mean: fresh views, target averaged over views; any: fresh views, target "
        "of one stored view after the other"))
    coverage: float = Field(1.0, ge=0, le=1, description=(
        "least share of training images that the store must speak of; the others learn from their labels alone"))
    teachers: Ensemble = Ensemble()
    embedding: Likeness = Likeness()
    curriculum: Curriculum = Curriculum()
    student: Annotated[Recipe, From("student")] = Recipe()
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()

    @model_validator(mode="after")
    def _judged(self) -> "Distill":
        if self.student.augment.mix.on and self.match != "exact":
            raise ValueError("match: exact beside student.augment.mix, since what is said of a mixed view holds for "
                             "that view alone; student.mix goes with every match")
        return self

    def resolved(self) -> "Distill":
        """These settings with precision and memory format decided for this machine."""
        from components.training.beginning import pinned
        from components.training.devices import resolve

        return self.model_copy(update={"student": pinned(resolve(self.student, self.runtime.device))})

    def shares(self) -> tuple[float, float]:
        """Temperature, and weight of the teachers."""
        return (1.0, 1.0) if self.loss == "meal" else (self.temperature, self.weight)


def distill(settings: Distill, /, *, dataset: Input, probabilities: Input, student: Input, model: Output,
            metrics: Output, curves: Output) -> None:
    """Train the student on a Dataset's images and the stored probabilities of teachers that beat the plain student."""
    from components.data.dataset import Dataset
    from components.probabilities.sayings import shared_tasks
    from components.probabilities.store import Store
    from components.probabilities.voices import choose
    from components.storage.receipts import digest
    from components.training.fitting import fit

    samples, store = Dataset.open(dataset), Store.open(probabilities)
    store.require({"dataset": digest(dataset)})
    shared_tasks(samples.tasks, store)  # of the others the student learns from labels
    with deferred_termination() as stop, surroundings(settings.runtime, "distilled", stop) as around:
        choir = choose(store, samples, settings.teachers, figures_of(student, samples))
        fitted = fit(goal_of(settings, samples, store, around.ranks, choir), samples, around)
    if fitted is not None:
        fitted.head["training"]["teachers"] = choir.to_json()
        write_fitted(fitted, model, metrics, curves)


def figures_of(student: Path, samples: "Dataset") -> dict[str, float]:
    """The figures of the plain student on val, from the head of its model; UserError where it is of other tasks."""
    from components.models.artifact import refuse_misfit

    head = json.loads((student / "model.json").read_text(encoding="utf-8"))
    refuse_misfit(head["name"], head, samples)
    return dict(head["training"]["val"])


def goal_of(settings: Distill, samples: "Dataset", store: "Store", ranks: "Ranks",
            choir: "Choir | None" = None) -> "Goal":
    """What the student is trained for: all images of train, whether labelled or not, under what the store says.

    choir: who of it is heard; None for all alike.
    """
    from components.probabilities.judging import Program
    from components.probabilities.origin import code_digest, generator_digest
    from components.probabilities.targets import Asked, read_targets
    from components.training.goals import Goal

    exact, stored = settings.match == "exact", len(store.views) - 1
    if exact:
        store.require({"augmentation": Program(settings.student.augment, settings.seed, samples.size).digest(),
                       "code": code_digest(), "generator": generator_digest()})
    few = settings.loss in ("kd", "meal")
    asked = Asked(settings.shares()[0], settings.match, few, settings.coverage, choir)
    targets = read_targets(store, samples, asked)
    factor = factor_of(settings.curriculum, samples, targets) if settings.curriculum.thresholds else None
    return Goal("distilled", settings.student, objective_of(settings, samples, targets, ranks), settings.seed,
                lambda epoch: 1 + (epoch % stored if exact else epoch), factor, samples.rows("train"))


def factor_of(pace: Curriculum, samples: "Dataset", targets: "Targets") -> "Callable[[int], NDArray[np.float32]]":
    """What each sample counts in an epoch, by how probable its labels were to those who give the targets.

    Samples without a label of a task that somebody is heard about keep their weight, or have `missing`.
    """
    from components.data.curriculum import curriculum_factor
    from components.probabilities.truth import true_probabilities
    from components.training.goals import labelled_rows

    store, asked = targets.store, targets.asked
    tasks = [task for task in samples.tasks if asked.voices(store, task.name)]
    rows = labelled_rows(samples, "train", tasks) if pace.missing is None else samples.rows("train")
    return curriculum_factor(true_probabilities(store, samples, tasks, asked.choir), rows, pace)


def objective_of(settings: Distill, samples: "Dataset", targets: "Targets", ranks: "Ranks") -> "Objective":
    """The losses of labels, of imitation and of embeddings; what a user should know is said."""
    from components.losses.distillation import blended
    from components.losses.imitation import IMITATIONS, Manner
    from components.losses.likeness import Seen, likened, projections
    from components.models.network import width_of
    from components.training.goals import losses_of
    from components.training.step import size_of

    for note in [*(targets.asked.choir.notes if targets.asked.choir else ()), *targets.notes,
                 *notes_of(settings), *silent_tasks(settings, targets.asked.choir)]:
        print(f"warning: distill: {note}", file=sys.stderr)
    imitation = IMITATIONS[settings.loss](Manner(settings.dkd, settings.dist, ranks))
    losses = losses_of(settings.student, samples, "distilled", ranks)
    objective = blended(losses, targets.of, settings.shares(), imitation)
    if settings.embedding.weight == 0:
        return objective
    recipe = settings.student
    width = width_of(recipe.model, size_of(recipe, recipe.epochs - 1, samples.size))
    maps = projections(targets.widths(), width, settings.seed)
    return likened(objective, Seen(targets.embeddings, maps), settings.embedding)


def silent_tasks(settings: Distill, choir: "Choir | None") -> list[str]:
    """A word on tasks without a teacher beside tasks with one, where soft targets are scaled up."""
    heat = settings.shares()[0]
    silent = [task for task, voices in choir.voices.items() if not voices] if choir else []
    if not silent or heat == 1:
        return []
    return [f"soft targets of the other tasks count {heat:g} squared: if {', '.join(silent)} falls behind the plain "
            "student, set distill.temperature to 1, or hear the teachers (distill.teachers.force)"]


def notes_of(settings: Distill) -> list[str]:
    """What is set and not read."""
    found = []
    if settings.loss == "meal" and (settings.temperature, settings.weight) != (1.0, 1.0):
        found.append(f"meal knows soft targets alone: temperature 1 and weight 1, not {settings.temperature:g} and "
                     f"{settings.weight:g}")
    for name in ("dkd", "dist"):
        if getattr(settings, name) != type(settings).model_fields[name].default and settings.loss != name:
            found.append(f"distill.{name} is not read by loss: {settings.loss}")
    return found
