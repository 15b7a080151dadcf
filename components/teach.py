"""The step `teach`: what the teachers say, stored once."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from components.company import company
from components.contract import Input, Inputs, Output, work_folder
from components.data.augment_settings import Augment
from components.progress import progress
from components.settings import From, Runtime, Seed, Settings, SharedRuntime

if TYPE_CHECKING:
    from torch import device

    from components.data.dataset import Dataset
    from components.probabilities.judging import Program
    from components.probabilities.writing import StoreWriter


class Teach(Settings):
    """Which views the teachers judge, and how much of what they say is kept."""

    views: int = Field(8, ge=1, description="augmented views of every sample, besides the untouched image")
    k: int = Field(0, ge=0, description="likeliest classes of a task that are kept, with what is left for the others; "
                   "0 keeps all, as do tasks for which that is smaller")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the stored log-probabilities")
    embedding: bool = Field(False, description="keep the vector before the heads of every view too, at half precision")
    augment: Annotated[Augment, From("student.augment")] = Augment()
    teachers: Annotated[tuple[str, ...], From("teachers", keys=True)] = ()
    seed: Seed = 0
    runtime: SharedRuntime = Runtime()


def teach(settings: Teach, /, *, dataset: Input, teachers: Inputs, probabilities: Output, metrics: Output) -> None:
    """Store what each teacher says of every sample and view."""
    from components.data.dataset import Dataset
    from components.data.resident import refuse_without_gpu
    from components.probabilities.judging import Program
    from components.probabilities.writing import StoreWriter

    samples = Dataset.open(dataset)
    program = Program(settings.augment, settings.seed, samples.size)
    with company(settings.runtime) as (device, ranks):
        refuse_without_gpu(settings.augment, device)
        folder = Path(ranks.first(bytes(work_folder().absolute() / "store")).decode())
        writer = StoreWriter(folder, head_of(settings, samples, teachers, program.digest()), samples.ids)
        say_forms(settings.k, writer.head["forms"])
        for name, path in teachers.items():
            ask(name, path, (samples, program), writer, device)
        ranks.any(False)  # all have ended
    if ranks.rank == 0:
        writer.finish()
        writer.publish(probabilities)
        write_metrics(metrics, probabilities, samples)


def ask(name: str, path: Path, about: "tuple[Dataset, Program]", writer: "StoreWriter", device: "device") -> None:
    """Let a teacher judge the shards that nobody has judged yet; other processes may be at it too."""
    from components.models.artifact import load_model, refuse_misfit
    from components.probabilities.judging import judge_shard

    samples, program = about
    model = load_model(path)
    refuse_misfit(name, model.head, samples)
    model.network.to(device)
    model.preprocess.to(device)
    missing = sum(not writer.has(name, shard) for shard in range(writer.shard_count()))
    for shard in progress(writer.unwritten(name), missing, f"teach {name}"):
        judge_shard(model, samples, program, writer, shard)


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
