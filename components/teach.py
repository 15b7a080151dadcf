"""The step `teach`: what the teachers say, stored once."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from components.company import company
from components.contract import Input, Inputs, Output, deferred_termination, work_folder
from components.data.augment_settings import Augment
from components.errors import UserError
from components.progress import progress
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Seed, Settings

if TYPE_CHECKING:
    from torch import device

    from components.data.dataset import Dataset
    from components.data.folds import Folds
    from components.losses.ranks import Ranks
    from components.probabilities.judging import Program
    from components.probabilities.writing import StoreWriter
    from components.training.settings import Recipe


class Teach(Settings):
    """Which views the teachers judge, and how much of what they say is kept."""

    views: int = Field(8, ge=1, description="augmented views of every sample, besides the untouched image")
    k: int = Field(0, ge=0, description="likeliest classes of a task that are kept, with what is left for the others; "
                   "0 keeps all, as do tasks for which that is smaller")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the stored log-probabilities")
    folds: int = Field(0, ge=0, description=(
        "train each teacher again so many times, each time without one part of train, which that copy then judges; 0 "
        "and 1: teachers judge what they have learnt too"))
    embedding: bool = Field(False, description="keep the vector before the heads of every view too, at half precision")
    augment: Annotated[Augment, From("student.augment")] = Augment()
    teachers: Annotated[tuple[str, ...], From("teachers", keys=True)] = ()
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()

    @model_validator(mode="after")
    def _one_space(self) -> "Teach":
        if self.folds > 1 and self.embedding:
            raise ValueError("folds or embedding: copies of a teacher that were trained apart have vectors that cannot "
                             "be compared")
        return self


def teach(settings: Teach, /, *, dataset: Input, teachers: Inputs, probabilities: Output, metrics: Output) -> None:
    """Store what each teacher says of every sample and view."""
    from components.data.dataset import Dataset
    from components.data.resident import refuse_without_gpu
    from components.probabilities.judging import Program
    from components.probabilities.writing import StoreWriter

    samples = Dataset.open(dataset)
    program = Program(settings.augment, settings.seed, samples.size)
    if settings.runtime.nodes > 1 and "://" in settings.runtime.work:
        raise UserError(f"runtime.work is {settings.runtime.work}; several machines that teach write into one folder",
                        "set runtime.work to a folder that all of them see (a shared volume)")
    with company(settings.runtime) as (device, ranks):
        refuse_without_gpu(settings.augment, device)
        work = Path(ranks.first(bytes(work_folder().absolute())).decode())
        for name, path in teachers.items():
            refuse_stranger(name, path, samples)
        folded = fold(settings, samples, teachers, work / "folds", (device, ranks)) if settings.folds > 1 else None
        head = head_of(settings, samples, teachers, program.digest()) | ({"folds": folded.head()} if folded else {})
        writer = StoreWriter(work / "store", head, samples.ids)
        say_forms(settings.k, writer.head["forms"])
        for name, path in teachers.items():
            ask(name, folded.models[name] if folded else [path], (samples, program, folded), writer, device)
        ranks.any(False)  # all have ended
    if ranks.rank == 0:
        writer.finish()
        writer.publish(probabilities)
        write_metrics(metrics, probabilities, samples)


def refuse_stranger(name: str, path: Path, samples: "Dataset") -> None:
    """UserError where a teacher has another name, or was made for another Dataset."""
    from components.models.artifact import refuse_misfit

    refuse_misfit(name, json.loads((path / "model.json").read_text(encoding="utf-8")), samples)


def ask(name: str, paths: list[Path], about: "tuple[Dataset, Program, Folded | None]", writer: "StoreWriter",
        device: "device") -> None:
    """Let a teacher, or its copies, judge the shards that nobody has judged yet; other processes may be at it too."""
    from components.models.artifact import load_model
    from components.probabilities.judging import Panel, judge_shard, judge_shard_by_folds

    samples, program, folded = about
    models = [load_model(path) for path in paths]
    for model in models:
        model.network.to(device)
        model.preprocess.to(device)
    missing = sum(not writer.has(name, shard) for shard in range(writer.shard_count()))
    for shard in progress(writer.unwritten(name), missing, f"teach {name}"):
        if folded:
            judge_shard_by_folds(Panel(name, tuple(models), folded.folds.of), samples, program, writer, shard)
        else:
            judge_shard(models[0], samples, program, writer, shard)


@dataclass(frozen=True)
class Folded:
    """Copies of the teachers, by name and fold, and what each has not learnt from."""

    folds: "Folds"
    seed: int
    models: dict[str, list[Path]]

    def head(self) -> dict[str, Any]:
        """What the head of the store says of it."""
        from components.probabilities.heads import folds_head
        from components.storage.digests import file_digest

        weights = {name: [file_digest(path / "model.safetensors") for path in paths]
                   for name, paths in self.models.items()}
        return folds_head(self.folds.count, self.seed, self.folds.by, weights)


def fold(settings: Teach, samples: "Dataset", teachers: dict[str, Path], work: Path,
         place: "tuple[device, Ranks]") -> Folded:
    """Train every teacher once a fold, by the recipe that its receipt holds; those that are there already stay.

    place: device and ranks. UserError where a model was not made by `train`.
    """
    from components.data.folds import divide
    from components.training.goals import labelled_rows

    folds = divide(samples, labelled_rows(samples, "train"), settings.folds, settings.seed)
    for note in folds.notes:
        print(f"warning: teach: {note}", file=sys.stderr)
    models: dict[str, list[Path]] = {}
    for name, path in teachers.items():
        recipe, seed = recipe_of(path)
        for part in range(folds.count):
            left = samples.without(folds.rows(part))
            target = work / name / f"{part:02d}" / "model"
            if not target.exists():
                train_copy((name, recipe, seed), left, target, settings.runtime, place)
            models.setdefault(name, []).append(target)
    return Folded(folds, settings.seed, models)


def recipe_of(teacher: Path) -> "tuple[Recipe, int]":
    """How a teacher was trained, and by which seed; UserError where its receipt does not say."""
    from components.storage import receipts
    from components.training.settings import Recipe

    receipt = receipts.read(teacher)
    if receipt.step != "train" or "model" not in receipt.settings:
        raise UserError(f"{teacher} was not made by train, so nothing tells how to train it without a fold",
                        "train it here, or set teach.folds to 0")
    values = {name: value for name, value in receipt.settings.items() if name in Recipe.model_fields}
    return Recipe.model_validate_json(json.dumps(values)), int(receipt.settings["seed"])


def train_copy(teacher: "tuple[str, Recipe, int]", left: "Dataset", target: Path, runtime: Runtime,
               place: "tuple[device, Ranks]") -> None:
    """Train a teacher on what is left of train; a terminated training goes on when the step is run again."""
    from components.losses.objective import trained
    from components.training.checkpoints import sealed
    from components.training.fitting import Surroundings, fit
    from components.training.goals import Goal, losses_of

    (name, recipe, seed), (device, ranks) = teacher, place
    label = f"teach {name} without fold {int(target.parent.name) + 1}"
    with deferred_termination() as stop:
        around = Surroundings(device, target.parent, stop, lambda figures, epoch: None,
                              lambda batches, total: progress(batches, total, label) if ranks.rank == 0 else batches,
                              runtime.workers, runtime.checkpoint_seconds, diverged=runtime.diverged, ranks=ranks)
        losses = losses_of(recipe, left, label, ranks)
        fitted = fit(Goal(name, recipe, trained(losses), seed), left, around)
        if fitted is not None:
            with sealed(target) as private:
                fitted.save(private)
    ranks.any(False)  # the copy is there


def head_of(settings: Teach, samples: "Dataset", teachers: dict[str, Path], augmentation: str) -> dict[str, Any]:
    """What the head of the store says before anything is judged."""
    from components.data.dataset import SPLITS
    from components.probabilities.origin import code_digest, generator_digest
    from components.storage.receipts import digest

    return {"tasks": [task.to_json() for task in samples.tasks], "sources": list(teachers), "seed": settings.seed,
            "views": list(range(settings.views + 1)), "dataset": digest(samples.path), "augmentation": augmentation,
            "mixed": settings.augment.mix.on,
            "code": code_digest(), "generator": generator_digest(), "k": settings.k, "dtype": settings.dtype,
            "embedding": settings.embedding, "models": {name: digest(path) for name, path in teachers.items()},
            "coverage": {split: {"rows": len(samples.rows(split)), "of": len(samples.rows(split))} for split in SPLITS}}


def say_forms(k: int, forms: dict[str, dict[str, Any]]) -> None:
    """Tell which tasks are kept whole although the settings ask for the likeliest classes."""
    whole = [name for name, form in forms.items() if form["form"] == "dense"]
    if k and whole:
        print(f"warning: all classes of {', '.join(whole)} are kept: they take less room than the likeliest {k} with "
              "their indices", file=sys.stderr)


def write_metrics(path: Path, probabilities: Path, samples: Any) -> None:
    """How right each teacher is on the untouched image and on its views, split by split."""
    from components.probabilities.agreement import store_figures

    figures = store_figures(probabilities, samples)
    path.write_text(json.dumps(figures, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
