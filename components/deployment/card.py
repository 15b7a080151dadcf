"""The model card: what the exported model is, how good, made from what, and how to use it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.tasks import Task
from components.errors import UserError
from components.evaluation import columns

TEMPLATE = "card.md.jinja"


@dataclass(frozen=True)
class Facts:
    """What a card tells.

    head: content of model.json. figures: the model's part of evaluate's metrics.json. digests: by what they are of.
    splits: number of samples by split. parity: content of parity.json.
    """

    head: Mapping[str, Any]
    figures: Mapping[str, Any]
    digests: Mapping[str, str]
    splits: Mapping[str, int]
    parity: Mapping[str, Any]
    tasks: tuple[Task, ...]
    bytes: int


def figures_of(evaluation: Path, model: str) -> dict[str, Any]:
    """A model's figures from evaluate's metrics.json; UserError where it was not evaluated."""
    try:
        figures = json.loads(evaluation.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{evaluation} is no JSON: {error}", "make it again: dvc repro evaluate") from None
    if not isinstance(figures, dict) or model not in figures:
        raise UserError(f"{evaluation} has no figures of model {model}", "evaluate it first: dvc repro evaluate")
    found: dict[str, Any] = figures[model]
    return found


def render(facts: Facts) -> str:
    """The card as Markdown with a YAML head; the same facts give the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Markdown, not HTML: names are escaped by `words` and `code`, which know Markdown.
    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,  # noqa: S701
                              keep_trailing_newline=True, loader=FileSystemLoader(Path(__file__).parent))
    environment.filters |= {"words": words, "code": code}
    measured = {split: facts.figures[split] for split in ("test", "val", "train") if facts.figures.get(split)}
    return environment.get_template(TEMPLATE).render(
        facts=facts,
        geometry=facts.head["geometry"],
        measured={split: rows(found) for split, found in measured.items()},
        metrics=sorted({"accuracy" if task.kind == "single" else "f1" for task in facts.tasks}),
        temperatures={task.name: facts.head["calibration"][task.name]["temperature"] for task in facts.tasks},
    )


def rows(figures: Mapping[str, Mapping[str, float]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Task, and its figures as (title, text), of one split."""
    return [(task, [(columns.title(name), columns.written(name, value)) for name, value in sorted(values.items())])
            for task, values in sorted(figures.items())]


def words(text: Any) -> str:
    r"""Text in which Markdown and HTML find nothing to interpret, on one line.

    >>> words("a|b <script> _c_\n")
    'a\\|b \\<script\\> \\_c\\_ '
    """
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", re.sub(r"\s", " ", str(text)))


def code(text: Any) -> str:
    """Text as a span of code; a back quote in it is shown as an apostrophe.

    >>> code("a`b|c")
    "`a'b\\\\|c`"
    """
    return "`" + re.sub(r"\s", " ", str(text)).replace("`", "'").replace("|", "\\|") + "`"
