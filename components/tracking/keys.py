"""Names in MLflow: which pipeline run a step belongs to, and what its parameters and metrics are called."""

import json
import math
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.settings import Settings, field_model, plain, section_model, shared_fields
from components.storage.digests import file_digest, value_digest

# What may name a pipeline run, the first that is set: ours, DVC's experiment, Kubeflow's run.
VARIABLES = ("STILLHOUSE_RUN", "DVC_EXP_NAME", "KFP_RUN_ID")


@dataclass(frozen=True)
class Pipeline:
    """The pipeline run that steps share: the key that they find it by and the name that people read."""

    key: str
    name: str
    commit: str


def pipeline_of(roots: Mapping[str, str]) -> Pipeline:
    """The pipeline run of a step that started here and now, over the given raw folders."""
    commit = git_commit()
    for variable in VARIABLES:
        if value := os.environ.get(variable):
            return Pipeline(allowed(value), value, commit)
    params = Path("params.yaml")
    key = value_digest([commit, file_digest(params) if params.is_file() else "", dict(roots)])
    return Pipeline(key, f"{commit[:7] or 'no commit'} {key[:6]}", commit)


def git_commit() -> str:
    """The commit of the project in the current folder; "" where there is none.

    In a container STILLHOUSE_COMMIT says it.
    """
    if given := os.environ.get("STILLHOUSE_COMMIT"):
        return given
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def dotted(section: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Settings under the names by which `-S` and `--set` change them, values as params.yaml would spell them."""
    try:
        flat = _named(section_model(section), section, values)
    except UserError:  # a step that params.yaml does not know
        flat = plain(values, section)
    return {allowed(name): spelled(value) for name, value in flat.items()}


def _named(model: type[Settings], prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    shared = shared_fields(model)
    for field, value in values.items():
        place = shared[field].path if field in shared else f"{prefix}.{field}"
        if place.startswith("@"):  # part of the section's own name
            continue
        known = field in model.model_fields  # a receipt may be older than this version
        nested = field_model(model, field) if known else None
        flat |= _named(nested, place, value) if nested and isinstance(value, Mapping) else plain({place: value})
    return flat


def spelled(value: Any) -> str:
    """A value as it would stand in params.yaml.

    >>> [spelled(value) for value in (True, None, 1e-3, "sgd", [64, 96])]
    ['true', 'null', '0.001', 'sgd', '[64, 96]']
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def allowed(name: str) -> str:
    """A name with the characters that MLflow refuses replaced.

    >>> allowed("test/colour/f1/blue&white")
    'test/colour/f1/blue_white'
    """
    return re.sub(r"[^\w.\- :/]", "_", name, flags=re.ASCII)[:250]


def final_metrics(values: Mapping[str, Any], trained: bool) -> dict[str, float]:
    """The numbers of a metrics.json; those of a model, being of the weights kept, stand apart from its curves.

    >>> final_metrics({"val/loss": 0.5, "best_epoch": 7}, trained=True)
    {'weights/val/loss': 0.5, 'best_epoch': 7.0}
    """
    flat = flat_metrics(values)
    return {f"weights/{name}" if trained and "/" in name else name: value for name, value in flat.items()}


def flat_metrics(values: Any, prefix: str = "") -> dict[str, float]:
    """The finite numbers of nested JSON by their path; lists, texts and truth values are no metrics.

    >>> flat_metrics({"test": {"top1": 0.5, "classes": ["a"], "ok": True}, "n": 3})
    {'test/top1': 0.5, 'n': 3.0}
    """
    if isinstance(values, Mapping):
        flat: dict[str, float] = {}
        for name, value in values.items():
            flat |= flat_metrics(value, f"{prefix}/{name}" if prefix else str(name))
        return flat
    number = isinstance(values, int | float) and not isinstance(values, bool)
    return {allowed(prefix): float(values)} if number and math.isfinite(values) else {}
