"""What a step logs while it works."""

from collections.abc import Mapping


def log_metrics(values: Mapping[str, float], step: int = 0) -> None:
    """Note metrics of the current step."""


def log_figure(path: str, content: bytes) -> None:
    """Note a picture of the current step."""
