"""dvc.yaml against the signatures and settings of the steps, against what they import, and against the Kubeflow DAG."""

import ast
import os
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from imports import ROOT, first_party, module_file
from ruamel.yaml import YAML

from components.contract import STEPS, Step, load_step
from components.settings import Params, Settings, field_model, section_model, shared_fields

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

# Inputs that one side alone connects, each with the reason.
ONLY_IN_KUBEFLOW = {
    ("index", "source", "sample", "data"): "a pod must be handed the images; in DVC the manifest binds them by digest",
    ("compare", "champion", "pull", "champion"): "a pod must be handed the champion; here the registry is a folder",
}
# Paths that no stage writes.
GIVEN = {"registry/latest.json": "the user publishes models; that makes `compare` stale, as it should"}
TASKS_ONLY_IN_KUBEFLOW = {
    "confusion": "matrices in Kubeflow's own form; `dvc plots` draws them from reports/evaluate/plots",
}
# Steps that are no stage of dvc.yaml, each with the reason.
STEPS_WITHOUT_STAGE = {
    "pull": "brings the champion of a registry elsewhere into a pod; here the registry is a folder of the project",
    "promote": "changes what is served: on a laptop a person does it, with `stillhouse publish`",
}
# Steps that are not in the Kubeflow pipeline.
STEPS_WITHOUT_TASK = {"promote": "is to be added"}


Edges = set[tuple[str, str, str, str]]


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


def producers() -> dict[str, tuple[str, str]]:
    """Which port of which stage writes a path; all teachers count as `train`."""
    return {path: (name.partition("@")[0], port)
            for name, stage in stages().items() for port, path in stage.of_kind("output").items()}


def dvc_edges() -> Edges:
    """(stage, port, stage that wrote it, its port) for every input."""
    written = producers()
    edges = set()
    for name, stage in stages().items():
        inputs = stage.of_kind("input", "inputs") | ({"source": raw()} if name == "validate" else {})
        for port, path in inputs.items():
            if path in GIVEN:
                continue
            owners = {owner for out, owner in written.items() if out == path or Path(path) in Path(out).parents}
            assert len(owners) == 1, f"{name}.{port}"
            edges |= {(name.partition("@")[0], port, *owner) for owner in owners}
    return edges


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from pipeline.inputs import run_inputs
    from pipeline.kubeflow import compile_pipeline

    file = tmp_path_factory.mktemp("kubeflow") / "pipeline.yaml"
    compile_pipeline(run_inputs(params()), None, file)
    whole: dict[str, Any] = next(iter(YAML(typ="safe", pure=True).load_all(file.read_text())))
    return whole


def kubeflow_edges(whole: dict[str, Any]) -> Edges:
    """The same four of every artifact input, loops looked into."""
    return edges_of(whole, whole["root"]["dag"]["tasks"], {})


def edges_of(whole: dict[str, Any], tasks: dict[str, Any], given: dict[str, tuple[str, str]]) -> Edges:
    edges = set()
    for name, task in tasks.items():
        values = task.get("inputs", {}).get("artifacts", {})
        sources = {port: source_of(whole, tasks, value, given) for port, value in values.items()}
        inner = whole["components"][task["componentRef"]["name"]].get("dag")
        if inner is not None:
            edges |= edges_of(whole, inner["tasks"], sources)
        else:
            edges |= {(name, port, *source) for port, source in sources.items()}
    return edges


def source_of(whole: dict[str, Any], tasks: dict[str, Any], value: dict[str, Any],
              given: dict[str, tuple[str, str]]) -> tuple[str, str]:
    if "componentInputArtifact" in value:
        return given[value["componentInputArtifact"]]
    producer, port = value["taskOutputArtifact"]["producerTask"], value["taskOutputArtifact"]["outputArtifactKey"]
    dag = whole["components"][tasks[producer]["componentRef"]["name"]].get("dag")
    if dag is None:
        return producer, port
    (selected,) = dag["outputs"]["artifacts"][port]["artifactSelectors"]
    return selected["producerSubtask"], selected["outputArtifactKey"]


def task_components(whole: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("comp-"): one for name, one in whole["components"].items() if "executorLabel" in one}


def test_kubeflow_connects_the_steps_as_dvc_does(compiled: dict[str, Any]) -> None:
    ours = {edge for edge in kubeflow_edges(compiled) if edge[0] not in TASKS_ONLY_IN_KUBEFLOW}
    assert ours - dvc_edges() == set(ONLY_IN_KUBEFLOW)
    assert not dvc_edges() - ours


def test_kubeflow_has_the_stages_of_dvc_as_tasks(compiled: dict[str, Any]) -> None:
    tasks = set(task_components(compiled)) - set(TASKS_ONLY_IN_KUBEFLOW)
    assert tasks - set(STEPS_WITHOUT_STAGE) == {name.partition("@")[0] for name in stages()}
    assert set(STEPS) - set(STEPS_WITHOUT_TASK) <= tasks


def test_the_components_have_the_ports_of_the_steps(compiled: dict[str, Any]) -> None:
    for name, component in task_components(compiled).items():
        if name in TASKS_ONLY_IN_KUBEFLOW:
            continue
        step = load_step("train" if name == "student" else name)
        inputs = component.get("inputDefinitions", {}).get("artifacts", {})
        outputs = component.get("outputDefinitions", {}).get("artifacts", {})
        assert {port: bool(value.get("isArtifactList")) for port, value in inputs.items()} == {
            port: one.kind == "inputs" for port, one in step.ports.items() if one.kind != "output"}, name
        assert set(outputs) == {port for port, one in step.ports.items() if one.kind == "output"}, name


def test_every_wrapper_hands_each_artifact_on_under_its_own_name() -> None:
    tree = ast.parse((ROOT / "pipeline/kubeflow.py").read_text())
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in called if getattr(call.func, "id", "") == "run_task"]
    assert len(calls) == len(STEPS) - len(STEPS_WITHOUT_TASK) + 1  # train has two wrappers
    for call in calls:
        artifacts = call.args[3]
        assert isinstance(artifacts, ast.Dict)
        assert [key.value for key in artifacts.keys] == [value.id for value in artifacts.values]  # type: ignore[union-attr, attr-defined]


def test_the_settings_of_a_task_are_those_that_params_yaml_gives_its_stage() -> None:
    import json

    from pipeline.inputs import settings_json

    for stage in stages().values():
        alone = Params(json.loads(settings_json(params(), stage.section)), "settings")
        assert alone.section(stage.section) == params().section(stage.section)
