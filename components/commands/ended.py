"""`stillhouse ended`: how a run on Argo Workflows ended, as Markdown, from what its exit handler is told."""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.commands.outcomes import Outcome
from components.commands.run_report import ORDER, markdown
from components.errors import UsageError
from components.storage.atomic import write_file
from components.tracking.keys import flat_metrics

STATES = {"Succeeded": "SUCCEEDED", "Failed": "FAILED", "Error": "FAILED"}
RETRIED = re.compile(r"(?P<task>\w+)(?:\(\d+:(?P<item>\w+)\))?\(\d+\)")  # train(0:deep)(1): a teacher's second pod


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--state", required=True, choices=STATES, help="{{workflow.status}}")
    parser.add_argument("--failures", default="[]", metavar="JSON", help="{{workflow.failures}} (default: none)")
    parser.add_argument("--evaluation", type=Path, metavar="PATH", help="metrics of evaluate, if it came so far")
    parser.add_argument("--verdict", type=Path, metavar="PATH", help="verdict of compare, if it came so far")
    parser.add_argument("--report", type=Path, required=True, metavar="PATH", help="Markdown file to write")


def command(options: argparse.Namespace) -> None:
    """Write the report, and print it for whoever reads logs."""
    known = dict(finished(options.evaluation, options.verdict))
    known |= {one.section: one for one in failed(options.failures)}
    text = markdown(STATES[options.state], "", known)
    write_file(options.report, text)
    print(text, end="")


def finished(evaluation: Path | None, verdict: Path | None) -> Iterator[tuple[str, Outcome]]:
    """What evaluate and compare found, as far as the run came."""
    if evaluation is not None and evaluation.is_file():
        figures = flat_metrics(json.loads(evaluation.read_text(encoding="utf-8")))
        yield "evaluate", Outcome("evaluate", "done", figures=figures)
    if verdict is not None and verdict.is_file():
        told = json.loads(verdict.read_text(encoding="utf-8"))
        yield "compare", Outcome("compare", "done", figures={"verdict": told})


def failed(text: str) -> Iterator[Outcome]:
    """The tasks that failed, by their last pod; one that was replaced with success is no failure.

    Argo lists every pod that failed, and the retry node that it is part of only where no later one succeeded.
    """
    nodes = listed(text)
    ended = {str(node.get("displayName", "")) for node in nodes}
    for node in sorted(nodes, key=lambda one: str(one.get("finishedAt", ""))):
        shown = str(node.get("displayName", ""))
        found = RETRIED.fullmatch(shown)
        if found is None or shown.rpartition("(")[0] not in ended:
            continue
        if not any(found["task"] == name.rstrip(".") for name in (*ORDER, "train")):
            continue
        message = str(node.get("message", ""))
        code = re.search(r"exit code (\d+)", message)
        section = f"teachers.{found['item']}" if found["item"] else found["task"]
        yield Outcome(section, "failed", message or "ended without a word",
                      f"its own words: kubectl logs {node.get('podName', '')} -c main", int(code[1]) if code else 0)


def listed(text: str) -> list[dict[str, Any]]:
    """The nodes in {{workflow.failures}}, which Argo quotes once more than JSON needs; null where there are none."""
    try:
        value = json.loads(text or "[]")
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UsageError(f"--failures is no JSON: {error}", "hand over {{workflow.failures}} as it is") from None
    return [one for one in value or [] if isinstance(one, dict)]
