"""What a run is given: for every section one canonical JSON text of what it reads of params.yaml.

Texts, because Kubeflow keeps numbers of a mapping as floating point and 3 would arrive as 3.0. Keys keep their order:
that of tasks and of teachers counts.
"""

import json
from typing import Any

from components.data.settings import Data
from components.settings import Params, Settings, field_model, section_model, shared_fields

STAGES = ("fetch", "sample", "validate", "index", "student", "teach", "distill", "evaluate", "pull", "compare",
          "export", "promote")


def run_inputs(params: Params) -> dict[str, Any]:
    """The inputs of a pipeline run by name; loop items are called `teacher` because the SDK shadows a key `name`."""
    names = [section.partition(".")[2] for section in params.sections() if section.startswith("teachers.")]
    inputs: dict[str, Any] = {f"{stage}_settings": settings_json(params, stage) for stage in STAGES}
    inputs["teachers"] = [{"teacher": name, "settings_json": settings_json(params, f"teachers.{name}")}
                          for name in names]
    return inputs


def own_source(params: Params) -> str | None:
    """Where the images are, or None where `sample` draws them."""
    path = params.setting("data.path")
    return None if path == Data().path else str(path)


def settings_json(params: Params, section: str) -> str:
    """The part of params.yaml that a section reads, as one text; equal values give equal texts."""
    part: dict[str, Any] = {}
    for path, keys in sorted(read_paths(section).items()):
        value = lookup(params.values, path)
        if value is not None:
            put(part, path, list(value) if keys else value)
    return json.dumps(part, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_paths(section: str) -> dict[str, bool]:
    """The dotted paths of params.yaml that a section reads, and whether only the names below them count."""
    return {section: False} | shared_paths(section_model(section))


def shared_paths(model: type[Settings]) -> dict[str, bool]:
    """The paths that a settings model reads elsewhere, those of the models in its fields included."""
    paths: dict[str, bool] = {}
    for field, source in shared_fields(model).items():
        if source.path == "@name":
            continue
        paths[source.path] = source.keys
        if (nested := field_model(model, field)) is not None:
            paths |= shared_paths(nested)
    return paths


def lookup(values: dict[str, Any], path: str) -> Any:
    """The value at a dotted path, None where nothing is.

    >>> lookup({"student": {"epochs": 3}}, "student.epochs")
    3
    """
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, beside what other paths have put there.

    >>> values = {"student": {"epochs": 3}}
    >>> put(values, "student.augment", {"flip": True})
    >>> values
    {'student': {'epochs': 3, 'augment': {'flip': True}}}
    """
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value
