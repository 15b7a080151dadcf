"""Runs in MLflow: one parent a pipeline run, one child a step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.settings import Runtime


@dataclass
class Child:
    """The run of one step."""

    run_id: str = ""

    def finish(self, facts: dict[str, Any], outputs: Mapping[str, Path]) -> None:
        """Send what the step noted."""


@contextmanager
def child_run(section: str, step: str, runtime: Runtime, values: dict[str, Any], inputs: dict[str, str],
              roots: dict[str, str]) -> Iterator[Child]:
    """Open the run of a step."""
    yield Child()
