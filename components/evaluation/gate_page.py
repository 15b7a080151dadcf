"""The page of a verdict: one file that needs nothing but a browser, readable on a telephone, in light and dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.evaluation.gate_table import HEADLINES, headline
from components.evaluation.gating import Answer
from components.pages.rendering import rendered

MOST_CLASSES, MOST_SAMPLES = 12, 12


def page(verdict: Mapping[str, Any], answer: Answer) -> str:
    """The page of a verdict. verdict: the content of verdict.json."""
    return rendered(Path(__file__).with_name("gate.html"), {
        "verdict": verdict, "headline": headline(verdict), "meaning": HEADLINES[verdict["verdict"]],
    })
