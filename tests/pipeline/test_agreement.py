"""One pipeline in three forms: dvc.yaml, Kubeflow and Argo have the same steps, edges and settings.

Where they differ on purpose, a table here says so with its reason; an entry that no longer holds is an error as well.
"""

import ast
import contextlib
from pathlib import Path
from typing import Any

import pytest
from dvc_stages import params
from graphs import GIVEN, Edge, Graph, of_argo, of_dvc, of_kubeflow
from imports import ROOT
from ruamel.yaml import YAML

from components.contract import STEPS, load_step
from components.settings import Params
from pipeline.__main__ import main

# Tasks that dvc.yaml lacks, each with the reason.
TASKS_ON_CLUSTERS_ONLY = {
    "pull": "brings the champion of a registry elsewhere into a pod; here the registry is a folder of the project",
    "promote": "changes what is served: on a laptop a person does it, with `stillhouse publish`",
}
TASKS_IN_KUBEFLOW_ONLY = {
    "confusion": "matrices in Kubeflow's own form; `dvc plots` draws them from reports/evaluate/plots",
    "report": "tells how a run ended, where Argo has onExit and a laptop `stillhouse summary`",
}
TASKS_IN_ARGO_ONLY: dict[str, str] = {}
TASKS_IN_PLACE_OF_SAMPLE = {"fetch": "where fetch.repository says whence the images come"}

# Inputs that dvc.yaml does not connect, each with the reason.
EDGES_ON_CLUSTERS_ONLY = {
    ("index", "source", "sample", "data"): "a pod must be handed the images; in DVC the manifest binds them by digest",
    ("compare", "champion", "pull", "champion"): "a pod must be handed the champion; here the registry is a folder",
}
# The registry of a cluster, without which there is nothing to promote to.
CLUSTER = ["--cluster-set", "params.promote.registry=s3://models/garments"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the commands write of this project: the documents of Kubeflow's file and of Argo's."""
    folder, found = tmp_path_factory.mktemp("written"), {}
    with contextlib.chdir(ROOT):
        for name, command in {"kubeflow": "compile", "argo": "argo"}.items():
            assert main([command, *CLUSTER, "--output", str(folder / f"{name}.yaml")]) == 0
            found[name] = list(YAML(typ="safe", pure=True).load_all((folder / f"{name}.yaml").read_text()))
    return found


@pytest.fixture(scope="module")
def graphs(written: dict[str, list[dict[str, Any]]]) -> dict[str, Graph]:
    return {"dvc": of_dvc(), "kubeflow": of_kubeflow(written["kubeflow"][0]), "argo": of_argo(written["argo"][0])}


@pytest.fixture(params=["kubeflow", "argo"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def own(form: str) -> set[str]:
    """The tasks that one form alone has."""
    return set({"kubeflow": TASKS_IN_KUBEFLOW_ONLY, "argo": TASKS_IN_ARGO_ONLY}[form])


def test_clusters_have_the_stages_of_dvc_as_tasks_and_those_that_are_named_here(
        graphs: dict[str, Graph], form: str) -> None:
    other = own("argo" if form == "kubeflow" else "kubeflow")
    expected = graphs["dvc"].tasks | set(TASKS_ON_CLUSTERS_ONLY) - other | own(form)
    assert graphs[form].tasks == expected
    assert not set(TASKS_ON_CLUSTERS_ONLY) & graphs["dvc"].tasks


def test_every_step_is_a_task_of_a_cluster(graphs: dict[str, Graph]) -> None:
    assert set(STEPS) <= graphs["kubeflow"].tasks | graphs["argo"].tasks | set(TASKS_IN_PLACE_OF_SAMPLE)


@pytest.mark.parametrize(("command", "read"), [("argo", of_argo), ("compile", of_kubeflow)])
def test_images_that_are_fetched_are_not_drawn(tmp_path: Path, command: str, read: Any) -> None:
    options = [*CLUSTER, "--cluster-set", "params.fetch.repository=https://example.com/garments.git"]
    with contextlib.chdir(ROOT):
        assert main([command, *options, "--output", str(tmp_path / "it.yaml")]) == 0
    graph = read(next(iter(YAML(typ="safe", pure=True).load_all((tmp_path / "it.yaml").read_text()))))
    assert "fetch" in graph.tasks and "sample" not in graph.tasks
    assert {("validate", "source", "fetch", "data"), ("index", "source", "fetch", "data")} <= graph.edges


def test_clusters_connect_the_tasks_as_dvc_does(graphs: dict[str, Graph], form: str) -> None:
    added = set(TASKS_ON_CLUSTERS_ONLY) | own(form)
    ours: set[Edge] = {edge for edge in graphs[form].edges if edge[0] not in added}
    assert ours - graphs["dvc"].edges == set(EDGES_ON_CLUSTERS_ONLY)
    assert not graphs["dvc"].edges - ours


def test_kubeflow_and_argo_connect_what_only_they_have_alike(graphs: dict[str, Graph]) -> None:
    theirs = {form: {edge for edge in graphs[form].edges if edge[0] not in own("kubeflow") | own("argo")}
              for form in ("kubeflow", "argo")}
    assert theirs["kubeflow"] == theirs["argo"]


def test_what_is_promoted_is_what_was_judged_and_exported(graphs: dict[str, Graph], form: str) -> None:
    assert {edge for edge in graphs[form].edges if edge[0] == "promote"} == {
        ("promote", "model", "distill", "model"), ("promote", "exported", "export", "exported"),
        ("promote", "verdict", "compare", "verdict")}


def test_tasks_have_the_ports_of_their_steps(graphs: dict[str, Graph], form: str) -> None:
    for name, (read, written) in graphs[form].ports.items():
        if name in TASKS_IN_KUBEFLOW_ONLY:
            continue
        step = load_step("train" if name == "student" else name)
        assert read == {port for port, one in step.ports.items() if one.kind != "output"}, name
        assert written == {port for port, one in step.ports.items() if one.kind == "output"}, name


def test_collected_artifacts_are_lists_in_kubeflow_and_folders_in_argo(
        written: dict[str, list[dict[str, Any]]]) -> None:
    components = {name.removeprefix("comp-"): one for name, one in written["kubeflow"][0]["components"].items()}
    steps = {one["name"]: one for one in written["argo"][0]["spec"]["templates"]}
    for name, step in ((name, load_step(name)) for name in STEPS):
        for port in (port for port, one in step.ports.items() if one.kind == "inputs"):
            assert components[name]["inputDefinitions"]["artifacts"][port]["isArtifactList"] is True
            (artifact,) = [one for one in steps[name]["inputs"]["artifacts"] if one["name"] == port]
            assert artifact["s3"]["key"] and artifact["archive"] == {"none": {}}


def test_tasks_are_given_the_settings_of_their_stage(graphs: dict[str, Graph], form: str) -> None:
    for section, settings in graphs["dvc"].settings.items():
        assert graphs[form].settings[section].digestible() == settings.digestible(), section


def test_an_override_reaches_every_form(tmp_path: Path) -> None:
    for form, read in {"compile": of_kubeflow, "argo": of_argo}.items():
        output = tmp_path / f"{form}.yaml"
        with contextlib.chdir(ROOT):
            assert main([form, "--output", str(output), "--set", "student.epochs=5"]) == 0
        graph = read(next(iter(YAML(typ="safe", pure=True).load_all(output.read_text()))))
        changed = Params.load(ROOT / "params.yaml", ["student.epochs=5"])
        for section in ("student", "distill"):
            assert graph.settings[section].digestible() == changed.section(section).digestible()
            assert graph.settings[section].digestible() != params().section(section).digestible()


def test_what_no_stage_writes_is_there_in_a_fresh_clone() -> None:
    assert [path for path in GIVEN if not (ROOT / path).is_file()] == []


def test_every_wrapper_hands_each_artifact_on_under_its_own_name() -> None:
    tree = ast.parse((ROOT / "pipeline/kubeflow_tasks.py").read_text())
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in called if getattr(call.func, "id", "") == "run_task"]
    assert len(calls) == len(STEPS) - len(TASKS_IN_ARGO_ONLY) + 1  # train has two wrappers
    for call in calls:
        artifacts = call.args[3]
        assert isinstance(artifacts, ast.Dict)
        assert [key.value for key in artifacts.keys] == [value.id for value in artifacts.values]
