"""How figures are titled, written and compared wherever a person reads them."""

import re
from collections.abc import Iterable, Mapping, Sequence

TITLES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced", "f1_macro": "macro F1", "f1_micro": "micro F1",
    "log_loss": "log-loss", "ece": "ECE", "subset_accuracy": "all labels right", "mean_average_precision": "mAP",
    "parameters": "parameters", "megabytes": "MB", "latency_ms": "ms/image",
}
LESS_IS_BETTER = {"log_loss", "ece", "parameters", "megabytes", "latency_ms"}
# The figures that a summary shows of a task, by its kind.
CHIEF = {"single": ("accuracy", "balanced_accuracy", "ece"), "multi": ("subset_accuracy", "f1_macro", "ece")}


def kind_of(figures: Mapping[str, float]) -> str:
    """Whether figures are those of a task with one true label or with several."""
    return "multi" if "subset_accuracy" in figures else "single"


def title(name: str) -> str:
    """What a figure is called in a table.

    >>> title("balanced_accuracy"), title("top3_accuracy")
    ('balanced', 'top 3')
    """
    top = re.fullmatch(r"top(\d+)_accuracy", name)
    return f"top {top[1]}" if top else TITLES.get(name, name.replace("_", " "))


def written(name: str, value: float | None) -> str:
    """A figure as a table shows it; a dash where there is none.

    >>> [written("ece", 0.03126), written("parameters", 1234567), written("megabytes", 4.944), written("ece", None)]
    ['0.031', '1.23 M', '4.94', '–']
    """
    if value is None:
        return "–"
    if name == "parameters":
        return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k"
    return f"{value:.2f}" if name in ("megabytes", "latency_ms") else f"{value:.3f}"


def best(name: str, values: Iterable[float | None]) -> list[bool]:
    """Which values of a column are the best as written; none where only one is there or all are alike.

    >>> best("ece", [0.02, None, 0.01]), best("accuracy", [0.5, 0.5])
    ([False, False, True], [False, False])
    """
    column = list(values)
    shown = [written(name, value) for value in column]
    there = [value for value in column if value is not None]
    if len({text for text, value in zip(shown, column, strict=True) if value is not None}) < 2:
        return [False] * len(column)
    top = written(name, min(there) if name in LESS_IS_BETTER else max(there))
    return [text == top and value is not None for text, value in zip(shown, column, strict=True)]


def chief_columns(figures: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str]]:
    """Task and figure of every column of a summary, from the figures of any one model by task."""
    return [(task, name) for task, values in figures.items() for name in CHIEF[kind_of(values)]]


def transposed(rows: Sequence[Sequence[bool]]) -> list[list[bool]]:
    """Columns as rows."""
    return [list(column) for column in zip(*rows, strict=True)]
