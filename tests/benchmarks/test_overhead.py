"""The benchmark of overheads: that its project has what every stage asks for."""

from collections.abc import Iterator
from typing import Any

from imports import ROOT

from benchmarks.overhead import PARAMS, commands
from components.strict_yaml import parse_yaml


def asked(stage: dict[str, Any]) -> Iterator[str]:
    """The settings that a stage depends on, by their first name."""
    for one in (stage.get("do") or stage).get("params", []):
        yield from ([one] if isinstance(one, str) else [key for keys in one.values() for key in keys or []])


def test_the_measured_project_has_every_section_that_a_stage_of_dvc_yaml_names() -> None:
    stages = parse_yaml((ROOT / "dvc.yaml").read_bytes(), "dvc.yaml")["stages"]
    named = {name.partition(".")[0] for stage in stages.values() for name in asked(stage)}
    assert {"compare", "seed"} <= named <= parse_yaml(PARAMS.encode(), "the benchmark's params").keys()
    assert commands().keys() == stages.keys()
