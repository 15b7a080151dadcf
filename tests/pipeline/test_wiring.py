"""dvc.yaml against the signatures and settings of the steps, and against what they import."""

import json
import os
from typing import Any

import pytest
from dvc_stages import params, raw, read_yaml, stages
from imports import ROOT, first_party, module_file

from components.settings import Params, Settings, field_model, section_model, shared_fields
from pipeline.inputs import settings_json

# Modules that a step imports and that no stage depends on, each with the reason.
OUTSIDE_DEPENDENCIES = {
    "components": "holds a docstring",
    "components.contract": "locks, seals and renames; the values pass through it unchanged",
    "components.settings": "reads params.yaml; a change of values shows in the parameters",
    "components.runtime": "how a step runs; nothing of it may change a result",
    "components.errors": "words and exit codes",
    "components.progress": "what the terminal shows",
    "components.storage": "how bytes reach the disk, not which",
    "components.tracking": "sends copies elsewhere",
}

every_stage = pytest.mark.parametrize("name", list(stages()))


@every_stage
def test_a_stage_gives_every_port_of_its_step_once(name: str) -> None:
    stage = stages()[name]
    from_settings = {port for port, one in stage.step.ports.items() if one.setting}
    assert set(stage.ports) == set(stage.step.ports) - from_settings
    assert type(params().section(stage.section)) is stage.step.settings


@every_stage
def test_no_value_but_the_teachers_name_is_written_into_a_command(name: str) -> None:
    commands = [fields.get("do", fields)["cmd"] for fields in read_yaml(ROOT / "dvc.yaml")["stages"].values()]
    assert not [command for command in commands if "${" in command.replace("${key}", "")]
    assert "--set" not in stages()[name].fields["cmd"] and "--params" not in stages()[name].fields["cmd"]


@every_stage
def test_what_a_stage_writes_is_what_its_step_outputs(name: str) -> None:
    stage = stages()[name]
    declared = [path for field in ("outs", "metrics", "plots") for path in stage.listed(field)]
    assert sorted(declared) == sorted(stage.of_kind("output").values())
    assert stage.listed("metrics") == [path for port, path in stage.ports.items() if port == "metrics"]
    assert all(fields == {"cache": False} for entry in stage.fields.get("metrics", []) for fields in entry.values())


@every_stage
def test_what_a_stage_depends_on_is_what_its_step_reads(name: str) -> None:
    stage = stages()[name]
    artifacts = [path for path in stage.listed("deps") if not path.startswith("components")]
    watched_raw = [raw()] if name == "validate" else []
    assert sorted(artifacts) == sorted([*stage.of_kind("input", "inputs").values(), *watched_raw])


def test_only_validate_depends_on_the_raw_images() -> None:
    assert [name for name, stage in stages().items() if raw() in stage.listed("deps")] == ["validate"]


def watched(section: str, model: type[Settings]) -> set[str]:
    """The paths of params.yaml that can change what a section's step writes, shared ones narrowed to what counts.

    data.root is one: it enters no digest, being a place, but no dependency watches the images there.
    """
    paths = set() if section == "data" else {section}
    if section == "data":
        paths = {f"data.{name}" for name, field in model.model_fields.items() if not field.exclude or name == "root"}
    for name, source in shared_fields(model).items():
        if model.model_fields[name].exclude or source.path == "@name":
            continue
        nested = field_model(model, name)
        paths |= watched(source.path, nested) if nested is not None else {source.path}
    return paths


@every_stage
def test_a_stage_watches_the_settings_that_its_step_reads(name: str) -> None:
    stage = stages()[name]
    listed = stage.listed("params")
    assert len(listed) == len(set(listed))
    assert set(listed) == watched(stage.section, section_model(stage.section))


@every_stage
def test_every_watched_setting_is_written_in_params_yaml_as_dvc_demands(name: str) -> None:
    for path in stages()[name].listed("params"):
        value: Any = params().values
        for part in path.split("."):
            assert part in value, path
            value = value[part]


def outside(module: str) -> bool:
    return module in OUTSIDE_DEPENDENCIES or ".".join(module.split(".")[:2]) in OUTSIDE_DEPENDENCIES


def reached_from(module: str) -> set[str]:
    """All modules that a step's module imports in the end, without looking into those that no stage depends on."""
    reached, waiting = set(), [module]
    while waiting:
        one = waiting.pop()
        if one not in reached and not outside(one):
            reached.add(one)
            path = module_file(one)
            assert path is not None
            waiting += first_party(path)
    return reached


@every_stage
def test_a_stage_depends_on_the_code_that_its_step_imports_and_on_no_other(name: str) -> None:
    stage = stages()[name]
    declared = [path for path in stage.listed("deps") if path.startswith("components")]
    files = [os.path.relpath(module_file(one) or "", ROOT) for one in reached_from(f"components.{stage.step.name}")]
    covered = {file: [path for path in declared if file == path or file.startswith(f"{path}/")] for file in files}
    assert not [file for file, paths in covered.items() if not paths], "add these to deps"
    assert not set(declared) - {path for paths in covered.values() for path in paths}, "nothing there is imported"


def test_the_settings_of_a_task_are_those_that_params_yaml_gives_its_stage() -> None:
    for stage in stages().values():
        alone = Params(json.loads(settings_json(params(), stage.section)), "settings")
        assert alone.section(stage.section) == params().section(stage.section)
