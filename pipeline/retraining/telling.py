"""What a retraining decided and what came of it: as files, as Markdown for a comment, and for a workflow of GitHub."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluation.gate_table import headline, words
from components.evaluation.gate_table import markdown as table
from components.storage.atomic import write_file, write_json
from pipeline.retraining.reasons import Decision

FILES = ("decision.json", "decision.md", "outcome.json", "comparison.md")
ANSWERS = {"yes": "**yes**", "no": "no", "unknown": "not known"}


@dataclass(frozen=True)
class Outcome:
    """What came of a retraining. where: laptop or kubeflow; verdict: of `compare`, None where it is not known here."""

    where: str
    model: str | None
    verdict: dict[str, Any] | None
    promoted: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"schema": 1, "kind": "outcome", "where": self.where, "model": self.model, "promoted": self.promoted,
                "verdict": self.verdict["verdict"] if self.verdict else None, "note": self.note}


def clear(folder: Path) -> None:
    """Remove what an earlier retraining told, so that nobody takes it for this one's."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def tell_decision(folder: Path, decision: Decision, forced: bool) -> None:
    """Write the decision. forced: a training follows whatever the decision is."""
    text = decision_markdown(decision, forced)
    write_json(folder / "decision.json", decision.to_json())
    write_file(folder / "decision.md", text)
    to_github({"retrain": str(decision.retrain or forced).lower(), "decision": "yes" if decision.retrain else "no",
               "champion": decision.champion or ""}, text)


def tell_outcome(folder: Path, outcome: Outcome) -> None:
    """Write what came of it."""
    text = outcome_markdown(outcome)
    write_json(folder / "outcome.json", outcome.to_json())
    write_file(folder / "comparison.md", text)
    told = outcome.to_json()
    to_github({"verdict": told["verdict"] or "", "promoted": str(outcome.promoted).lower(),
               "model": outcome.model or ""}, text)


def answered(decision: Decision, forced: bool) -> str:
    """The decision in a word or five."""
    return "yes" if decision.retrain else "no, but it was asked for" if forced else "no"


def decision_lines(decision: Decision, forced: bool) -> list[str]:
    """What the terminal shows of a decision."""
    lines = [f"retrain: {answered(decision, forced)}  (champion {(decision.champion or 'none')[:12]})"]
    return lines + [f"  {one.name:<9} {one.answer:<8} {one.why}" for one in decision.reasons]


def outcome_lines(outcome: Outcome) -> list[str]:
    """What the terminal shows of an outcome."""
    lines = [headline(outcome.verdict)] if outcome.verdict else []
    lines.append("the model was published" if outcome.promoted else "the model was not published")
    return lines + ([outcome.note] if outcome.note else [])


def decision_markdown(decision: Decision, forced: bool) -> str:
    """The decision and a table of the reasons."""
    champion = f"Champion `{decision.champion[:12]}`." if decision.champion else "No champion yet."
    lines = [f"### Retrain: {answered(decision, forced)}", "", champion, "",
             "| look at | asks for it | why |", "|---|---|---|"]
    lines += [f"| {one.name} | {ANSWERS[one.answer]} | {words(one.why)} |" for one in decision.reasons]
    return "\n".join(lines) + "\n"


def outcome_markdown(outcome: Outcome) -> str:
    """The comparison with the champion, and whether the model was published."""
    lines = ["### The new model against the champion", ""]
    if outcome.verdict is not None:
        lines.append(table(outcome.verdict))
    lines.append("The model was published." if outcome.promoted else "The model was not published.")
    return "\n".join(lines + (["", words(outcome.note)] if outcome.note else [])) + "\n"


def to_github(outputs: Mapping[str, str], summary: str) -> None:
    """Append to the files that a step of a GitHub workflow is given; nothing elsewhere."""
    lines = "".join(f"{name}={value}\n" for name, value in outputs.items())
    for variable, text in (("GITHUB_OUTPUT", lines), ("GITHUB_STEP_SUMMARY", f"{summary}\n")):
        if path := os.environ.get(variable):
            with Path(path).open("a", encoding="utf-8") as stream:
                stream.write(text)
