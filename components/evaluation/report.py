"""The evaluation as one page that needs nothing but a browser, on a telephone too, in light and dark."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.evaluation import columns
from components.evaluation.calibration import labelled
from components.evaluation.figures import Picture, class_picture, confusion_picture, reliability_picture
from components.evaluation.mistakes import surest_mistakes
from components.evaluation.scoring import Scores
from components.evaluation.tables import picture_name
from components.pages.rendering import rendered

TEMPLATE = "report.html"
SHRINKS_TO_A_PHONE = 500  # CSS pixels: a wider picture is scrolled there


@dataclass(frozen=True)
class Row:
    """A line of a table: a name, and cells with whether each is the best of its column."""

    name: str
    cells: list[tuple[str, bool]]


def pictures_of(scores: Scores) -> dict[str, Picture]:
    """Every picture of the main split: confusions by model and task, calibration and classes by task."""
    pictures: dict[str, Picture] = {}
    for task in scores.tasks(scores.main):
        measured = scores.of(task)
        if task.kind == "single":
            pictures |= {picture_name("confusion", task, name): confusion_picture(one.confusion, task.classes)
                         for name, one in measured.items()}
        pictures[picture_name("calibration", task)] = reliability_picture(measured)
        pictures[picture_name("classes", task)] = class_picture(measured, task.classes)
    return pictures


def render(scores: Scores, pictures: Mapping[str, Picture], most_mistakes: int) -> str:
    """The page. pictures: those of `pictures_of`. The same scores give the same text."""
    tasks = scores.tasks(scores.main)
    return rendered(Path(__file__).with_name(TEMPLATE), {
        "split": scores.main,
        "splits": {split: len(places) for split, places in scores.splits.items()},
        "models": [one.name for one in scores.judged],
        "summary": summary(scores),
        "head": [(task.name, [columns.title(name) for name in columns.CHIEF[task.kind]]) for task in tasks],
        "error": standard_error(scores),
        "tasks": [task_section(scores, task, pictures, most_mistakes) for task in tasks],
        "temperatures": [(one.name, [f"{one.temperatures[task.name]:.3f}" for task in tasks]) for one in scores.judged],
    })


def summary(scores: Scores) -> list[Row]:
    """The chief figures of every model on every task of the main split, then its size."""
    lines = {}
    for one in scores.judged:
        line: dict[tuple[str, str], float] = {}
        for task in scores.tasks(scores.main):
            values = scores.of(task)[one.name].values
            line |= {(task.name, name): values[name] for name in columns.CHIEF[task.kind]}
        lines[one.name] = line | {("", "parameters"): one.parameters, ("", "megabytes"): one.megabytes}
    return table(lines)


def table(lines: Mapping[str, Mapping[tuple[str, str], float]]) -> list[Row]:
    """Rows of written figures, by name; keys are (task, figure) and the same in every line."""
    names = list(next(iter(lines.values())))
    marked = columns.transposed([columns.best(key[1], [line[key] for line in lines.values()]) for key in names])
    return [Row(name, [(columns.written(key[1], line[key]), top) for key, top in zip(names, tops, strict=True)])
            for (name, line), tops in zip(lines.items(), marked, strict=True)]


def standard_error(scores: Scores) -> str:
    """What chance alone does to an accuracy on the main split: how little a small difference says."""
    counts = [int(labelled(scores.labels(task)).sum()) for task in scores.tasks(scores.main)]
    count = min(counts)
    return f"{100 * math.sqrt(0.8 * 0.2 / count):.1f} points on {count} samples"


def task_section(scores: Scores, task: Task, pictures: Mapping[str, Picture], most: int) -> dict[str, Any]:
    """All that the page shows of one task."""
    matrices = {name: pictures.get(picture_name("confusion", task, name)) for name in scores.of(task)}
    return {
        "name": task.name,
        "kind": task.kind,
        "classes": len(task.classes),
        "figures": [(name, *split_table(scores, task, name)) for name in scores.splits if task in scores.tasks(name)],
        "matrices": [(name, shown(picture)) for name, picture in matrices.items() if picture is not None],
        "reliability": shown(pictures[picture_name("calibration", task)]),
        "by_class": shown(pictures[picture_name("classes", task)]),
        "class_rows": class_rows(scores, task),
        "mistakes": [(sample_image(scores.dataset, one.row), one) for one in surest_mistakes(scores, task, most)],
    }


def split_table(scores: Scores, task: Task, split: str) -> tuple[int, list[str], list[Row]]:
    """How many samples have a label, the titles, and every figure of every model on one split."""
    lines = {name: {(task.name, key): value for key, value in measured.values.items()}
             for name, measured in scores.of(task, split).items()}
    titles = [columns.title(key) for _, key in next(iter(lines.values()))]
    return int(labelled(scores.labels(task, split)).sum()), titles, table(lines)


def class_rows(scores: Scores, task: Task) -> list[dict[str, Any]]:
    """Precision, recall and F1 of every class by every model on the main split."""
    measured = scores.of(task)
    support = next(iter(measured.values())).classes.support
    rows = []
    for place, label in enumerate(task.classes):
        found = [one.classes for one in measured.values()]
        figures = [tuple(f"{values[place]:.2f}" for values in (one.precision, one.recall, one.f1)) for one in found]
        rows.append({"number": place, "label": label, "support": int(support[place]), "figures": figures})
    return rows


def shown(picture: Picture) -> dict[str, Any]:
    """A picture as the page holds it: on a narrow screen it shrinks, but not beyond what can be read."""
    least = min(300, picture.width) if picture.width <= SHRINKS_TO_A_PHONE else picture.width * 6 // 10
    return {"source": data_uri(picture.png, "png"), "width": picture.width, "least": least}


def sample_image(dataset: Dataset, row: int) -> str:
    """The stored pixels of a sample as an image in the page."""
    from PIL import Image

    stream = io.BytesIO()
    pixels = dataset.pixels(np.array([row]))[0]
    Image.fromarray(pixels).save(stream, "JPEG", quality=92)
    return data_uri(stream.getvalue(), "jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """Image bytes written out in the address itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
