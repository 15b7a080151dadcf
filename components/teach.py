"""The step `teach`: what the teachers say, stored once."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.contract import Input, Inputs, Output, work_folder
from components.data.augment_settings import Augment
from components.progress import progress
from components.settings import From, Runtime, Seed, Settings, SharedRuntime


class Teach(Settings):
    """Which views the teachers judge."""

    views: int = Field(8, ge=1, description="augmented views of every sample, besides the untouched image")
    augment: Annotated[Augment, From("student.augment")] = Augment()
    teachers: Annotated[tuple[str, ...], From("teachers", keys=True)] = ()
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()


def teach(settings: Teach, /, *, dataset: Input, teachers: Inputs, probabilities: Output, metrics: Output) -> None:
    """Store what each teacher says of every sample and view."""
    from components.data.dataset import Dataset
    from components.models.artifact import load_model, refuse_misfit
    from components.probabilities.judging import Program, judge_shard
    from components.probabilities.store import StoreWriter
    from components.storage.receipts import digest
    from components.training.devices import pick_device, use_threads

    use_threads(settings.runtime.threads)
    samples = Dataset.open(dataset)
    program = Program(settings.augment, settings.seed, samples.size)
    head = {"tasks": [task.to_json() for task in samples.tasks], "sources": list(teachers), "seed": settings.seed,
            "views": list(range(settings.views + 1)), "dataset": digest(dataset), "augmentation": program.digest(),
            "models": {name: digest(path) for name, path in teachers.items()}}
    writer = StoreWriter(work_folder() / "store", head, samples.ids)
    for name, path in teachers.items():
        model = load_model(path)
        refuse_misfit(name, model.head, samples)
        model.network.to(pick_device(settings.runtime.device))
        model.preprocess.to(pick_device(settings.runtime.device))
        missing = [shard for shard in range(writer.shard_count()) if not writer.has(name, shard)]
        for shard in progress(missing, len(missing), f"teach {name}"):
            judge_shard(model, samples, program, writer, shard)
    writer.finish()
    shutil.copytree(writer.folder, probabilities)
    write_metrics(metrics, probabilities, samples)


def write_metrics(path: Path, probabilities: Path, samples: Any) -> None:
    """How right each teacher is on the untouched image and on its views, split by split."""
    from components.probabilities.agreement import store_figures

    figures = store_figures(probabilities, samples)
    path.write_text(json.dumps(figures, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
