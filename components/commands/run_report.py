"""How a run on a cluster ended, as Markdown: where it failed and why, or what the models and the gate say."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.commands.outcomes import Outcome, left

ORDER = ("fetch", "sample", "validate", "index", "teachers.", "student", "teach", "distill", "evaluate", "pull",
         "compare", "export", "promote")
HEADLINES = {"SUCCEEDED": "The run has succeeded", "FAILED": "The run has failed", "CANCELLED": "The run was cancelled"}
SILENT = ("Tasks leave no word here: `pods.outcomes` in infra/kubeflow.yaml names no shared folder, or all of them "
          "were taken from the cache.")


def write_report(state: str, error: str, path: Path) -> None:
    """Write the report, and print it for whoever reads logs.

    state, error: what Kubeflow says of the run.
    """
    text = markdown(state, error, left())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def markdown(state: str, error: str, outcomes: Mapping[str, Outcome]) -> str:
    """The report as Markdown."""
    known = sorted(outcomes.values(), key=lambda one: (place_of(one.section), one.section))
    bad = [one for one in known if one.state != "done"]
    unfit = [one for one in bad if one.state == "unfit"]
    headline = "The images are not fit, so nothing was learnt" if unfit else HEADLINES.get(state, f"The run: {state}")
    lines = [f"# {headline}", ""]
    if error and not bad and state != "SUCCEEDED":
        lines += [words(error), ""]
    for one in bad:
        lines += [f"* **{words(one.section)}**: {words(one.cause)} (exit code {one.code})",
                  *([f"  * remedy: {words(one.remedy)}"] if one.remedy else [])]
    lines += [""] if bad else []
    lines += [*verdict(outcomes), *accuracies(outcomes), *table(known)] if known else [SILENT]
    if run := os.environ.get("KFP_RUN_ID", ""):
        lines += ["", f"Run `{words(run)}`."]
    return "\n".join(lines) + "\n"


def place_of(section: str) -> int:
    """Where a section stands in the pipeline."""
    found = [number for number, name in enumerate(ORDER) if section == name or (
        name.endswith(".") and section.startswith(name))]
    return found[0] if found else len(ORDER)


def table(known: list[Outcome]) -> list[str]:
    """A line for each task that has left a word."""
    marks = {"done": "done", "failed": "failed", "unfit": "images unfit"}
    lines = ["| task | |", "|---|---|"]
    return lines + [f"| {words(one.section)} | {marks[one.state]} |" for one in known]


def verdict(outcomes: Mapping[str, Outcome]) -> list[str]:
    """What the gate says."""
    from components.evaluation.gate_table import markdown as told

    compared = outcomes.get("compare")
    if compared is None or "verdict" not in compared.figures:
        return []
    return ["## Held against the champion", "", told(compared.figures["verdict"]), ""]


def accuracies(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The accuracy of every model on the test split, by task."""
    from components.commands.summary import ROWS

    evaluated = outcomes.get("evaluate")
    shares = shares_of(evaluated.figures) if evaluated else {}
    if not shares:
        return []
    tasks = list(dict.fromkeys(task for one in shares.values() for task in one))
    lines = ["## Accuracy on the test split", "", f"| model | {' | '.join(map(words, tasks))} |",
             f"|---|{'---:|' * len(tasks)}"]
    for model, one in shares.items():
        cells = [f"{one[task]:.3f}" if task in one else "" for task in tasks]
        lines.append(f"| {words(ROWS.get(model, model))} | {' | '.join(cells)} |")
    return [*lines, ""]


def shares_of(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Accuracy by model and task, of flat names as `distilled/test/colour/accuracy`."""
    found: dict[str, dict[str, float]] = {}
    for name, value in figures.items():
        model, _, rest = name.partition("/test/")
        task, _, figure = rest.rpartition("/")
        if figure == "accuracy" and task and isinstance(value, int | float):
            found.setdefault(model, {})[task] = float(value)
    return found


def words(text: str) -> str:
    """Text in which Markdown finds nothing to interpret, on one line."""
    from components.evaluation.gate_table import words as plain

    return plain(text)
