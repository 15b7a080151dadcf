"""The step `evaluate`: every model measured on the same samples."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.contract import Input, Inputs, Output, note
from components.errors import UserError
from components.progress import progress
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Settings

if TYPE_CHECKING:
    from components.evaluation.scoring import Scores

STUDENTS = ("student", "distilled")


class Evaluate(Settings):
    """What is measured and shown."""

    splits: tuple[Literal["train", "val", "test"], ...] = Field(
        ("val", "test"), min_length=1, description="splits to measure; pictures show test, or else the last")
    top_k: int = Field(3, ge=1, description="how many of the likeliest classes may hold the true one in topK_accuracy")
    mistakes: int = Field(12, ge=0, description="most confident mistakes of each task in the report")
    teachers: Annotated[tuple[str, ...], From("teachers", keys=True)] = ()
    runtime: SharedRuntime = Runtime()


def evaluate(settings: Evaluate, /, *, dataset: Input, teachers: Inputs, student: Input, distilled: Input,
             predictions: Output, metrics: Output, plots: Output, report: Output) -> None:
    """Measure teachers, plain student and distilled student on the same samples, and show what they get wrong."""
    from components.evaluation.tables import nested_figures
    from components.training.devices import use_threads

    use_threads(settings.runtime.threads)
    refuse_taken_names(settings.teachers)
    models = {**teachers, "student": student, "distilled": distilled}
    scores = ask_all(settings, dataset, models)
    write_predictions(predictions, dataset, models, scores)
    text = json.dumps(nested_figures(scores), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    metrics.write_text(text + "\n", encoding="utf-8")
    write_pages(plots, report, scores, settings.mistakes)


def refuse_taken_names(teachers: tuple[str, ...]) -> None:
    """UserError where a teacher has the name of a student: figures are told apart by name."""
    for name in teachers:
        if name in STUDENTS:
            raise UserError(f"params.yaml: teachers.{name} has a student's name", "give the teacher another name")


def ask_all(settings: Evaluate, dataset: Path, models: dict[str, Path]) -> "Scores":
    """Ask every model about the samples of the settings' splits, and note how fast each answers."""
    import sys

    from components.data.dataset import Dataset
    from components.evaluation.scoring import judge, latency, rows_by_split, score
    from components.models.artifact import load_model, refuse_misfit
    from components.tracking.journal import log_metrics
    from components.training.devices import pick_device

    samples, device = Dataset.open(dataset), pick_device(settings.runtime.device)
    rows, splits = rows_by_split(samples, settings.splits)
    for split in settings.splits:
        if split not in splits:
            print(f"warning: the Dataset has no sample in {split}; evaluate.splits names it", file=sys.stderr)
    judged, milliseconds = [], {}
    for name, path in progress(models.items(), len(models), "evaluate"):
        model = load_model(path)
        refuse_misfit(name, model.head, samples)
        model.network.to(device)
        model.preprocess.to(device)
        judged.append(judge(name, model, path / "model.safetensors", samples, rows))
        milliseconds[name] = latency(model, samples, int(rows[0]))
    note("latency_ms", milliseconds)
    log_metrics({f"latency_ms/{name}": value for name, value in milliseconds.items()})
    return score(samples, (rows, splits), judged, settings.top_k)


def write_predictions(folder: Path, dataset: Path, models: dict[str, Path], scores: "Scores") -> None:
    """Keep what every model said of every judged sample as a Probabilities artifact."""
    from components.probabilities.writing import StoreWriter
    from components.storage.receipts import digest

    head = {"tasks": [task.to_json() for task in scores.dataset.tasks], "sources": list(models), "views": [0],
            "dataset": digest(dataset), "models": {name: digest(path) for name, path in models.items()},
            "augmentation": None, "seed": 0, "splits": {split: len(places) for split, places in scores.splits.items()}}
    writer = StoreWriter(folder, head, scores.dataset.ids[scores.rows])
    for one in scores.judged:
        for task in scores.dataset.tasks:
            for shard in range(writer.shard_count()):
                writer.put(one.name, task.name, shard, one.said[task.name][writer.rows_of(shard)][:, None])
    writer.finish()


def write_pages(plots: Path, report: Path, scores: "Scores", mistakes: int) -> None:
    """Write the tables and pictures for `dvc plots`, and the report."""
    from components.evaluation.report import pictures_of, render
    from components.evaluation.tables import write_tables

    plots.mkdir()
    write_tables(scores, plots)
    pictures = pictures_of(scores)
    (plots / "pictures").mkdir()  # a folder of its own: DVC shows every file in it
    for name, picture in pictures.items():
        (plots / "pictures" / f"{name}.png").write_bytes(picture.png)
    report.write_text(render(scores, pictures, mistakes), encoding="utf-8")
