"""Scores as files that DVC, Kubeflow and a spreadsheet read."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.data.tasks import Task
from components.evaluation.calibration import labelled
from components.evaluation.scoring import Judged, Scores

PER_CLASS = ("model", "split", "task", "class", "precision", "recall", "f1", "support")
CALIBRATION = ("model", "task", "confidence", "accuracy", "count")


def nested_figures(scores: Scores) -> dict[str, dict[str, Any]]:
    """model -> split -> task -> figure, and each model's parameters and megabytes: numbers to the last leaf."""
    figures: dict[str, dict[str, Any]] = {}
    for one in scores.judged:
        figures[one.name] = {"parameters": one.parameters, "megabytes": one.megabytes}
        for split in scores.splits:
            figures[one.name][split] = {task.name: scores.measured[one.name, split, task.name].values
                                        for task in scores.tasks(split)}
    return figures


def write_tables(scores: Scores, folder: Path) -> None:
    """per_class.csv, calibration.csv and, for each model and `single` task, confusion/MODEL-TASK.csv."""
    write_csv(folder / "per_class.csv", PER_CLASS, per_class_rows(scores))
    write_csv(folder / "calibration.csv", CALIBRATION, calibration_rows(scores))
    (folder / "confusion").mkdir()
    for task in scores.tasks(scores.main):
        if task.kind == "single":
            for one in scores.judged:
                write_csv(folder / f"{confusion_name(one.name, task)}.csv", ("actual", "predicted"),
                          confusion_rows(scores, one, task))


def confusion_name(model: str, task: Task) -> str:
    """The path, without suffix, of the table of a model's confusions; odd characters of names are quoted.

    >>> confusion_name("wide", Task("colour/shade", "single", ()))
    'confusion/wide-colour%2Fshade'
    """
    return f"confusion/{quote(model, safe='')}-{quote(task.name, safe='')}"


def picture_name(kind: str, task: Task, model: str = "") -> str:
    """The file name, without suffix, of a picture of one task, of all models or of one.

    >>> picture_name("confusion", Task("colour/shade", "single", ()), "wide")
    'confusion-colour%2Fshade-wide'
    """
    return "-".join(quote(part, safe="") for part in (kind, task.name, model) if part)


def per_class_rows(scores: Scores) -> Iterable[tuple[Any, ...]]:
    """A row for every model, split, task and class."""
    for split in scores.splits:
        for task in scores.tasks(split):
            for name, measured in scores.of(task, split).items():
                found = measured.classes
                for place, label in enumerate(task.classes):
                    yield (name, split, task.name, label, float(found.precision[place]), float(found.recall[place]),
                           float(found.f1[place]), int(found.support[place]))


def calibration_rows(scores: Scores) -> Iterable[tuple[Any, ...]]:
    """A row for every bin of confidence that is not empty, on the main split."""
    for task in scores.tasks(scores.main):
        for name, measured in scores.of(task).items():
            bins = measured.bins
            for place in bins.count.nonzero()[0]:
                yield (name, task.name, float(bins.confidence[place]), float(bins.accuracy[place]),
                       int(bins.count[place]))


def confusion_rows(scores: Scores, one: Judged, task: Task) -> Iterable[tuple[str, str]]:
    """The true and the named class of every labelled sample of the main split, for DVC's confusion template."""
    labels = scores.labels(task)
    said = one.said[task.name][scores.splits[scores.main]].argmax(axis=1)
    known = labelled(labels)
    for true, named in zip(labels[known], said[known], strict=True):
        yield task.classes[true], task.classes[named]


def write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Write a table with one line ending everywhere."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
