"""The stages of the project's dvc.yaml, read with none of the code that they run."""

import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imports import ROOT
from ruamel.yaml import YAML

from components.contract import Step, load_step
from components.settings import Params


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, its command taken apart."""

    name: str
    fields: dict[str, Any]
    step: Step
    section: str
    ports: dict[str, str]

    def listed(self, field: str) -> list[str]:
        entries = self.fields.get(field, [])
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]

    def of_kind(self, *kinds: str) -> dict[str, str]:
        return {name: path for name, path in self.ports.items() if self.step.ports[name].kind in kinds}


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


@cache
def params() -> Params:
    return Params.load(ROOT / "params.yaml")


def raw() -> str:
    return str(params().setting("data.path"))


def filled(value: Any, key: str) -> Any:
    """A value of dvc.yaml with the two templates that are used there filled in."""
    if isinstance(value, dict):
        return {filled(name, key): filled(one, key) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, key) for one in value]
    return value.replace("${key}", key).replace("${data.path}", raw()) if isinstance(value, str) else value


@cache
def stages() -> dict[str, Stage]:
    found = {}
    for name, fields in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        if "foreach" not in fields:
            found[name] = taken_apart(name, filled(fields, ""))
            continue
        assert fields["foreach"] == "${teachers}"
        for key in params().values["teachers"]:
            found[f"{name}@{key}"] = taken_apart(f"{name}@{key}", filled(fields["do"], key))
    return found


def taken_apart(name: str, fields: dict[str, Any]) -> Stage:
    program, step_name, *rest = shlex.split(fields["cmd"])
    assert program == "stillhouse"
    section = rest.pop(0) if not rest[0].startswith("--") else step_name
    options, paths = rest[::2], rest[1::2]
    assert len(options) == len(paths) == len(set(options)), f"{name}: every option once, each with a path"
    ports = dict(zip([option.removeprefix("--") for option in options], paths, strict=True))
    return Stage(name, fields, load_step(step_name), section, ports)
