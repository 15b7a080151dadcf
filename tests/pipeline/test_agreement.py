"""One pipeline in three forms: dvc.yaml, Kubeflow and Argo have the same steps, edges, settings and resources.

Where they differ on purpose, a table here says so with its reason; an entry that no longer holds is an error as well.
"""

import ast
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc_stages import params
from full_cluster import FULL
from graphs import GIVEN, Edge, Graph, of_argo, of_dvc, of_kubeflow
from imports import ROOT
from pods import Pod, pods_of_argo, pods_of_kubeflow
from ruamel.yaml import YAML

from components.contract import STEPS, load_step
from components.settings import Params
from pipeline.__main__ import main

# Tasks that dvc.yaml lacks, each with the reason.
TASKS_ON_CLUSTERS_ONLY = {
    "pull": "brings the champion of a registry elsewhere into a pod; here the registry is a folder of the project",
    "promote": "changes what is served: on a laptop a person does it, with `stillhouse publish`",
    "report": "the exit handler: here whoever types `dvc repro` sees how it ends",
}
TASKS_IN_KUBEFLOW_ONLY = {
    "confusion": "matrices in Kubeflow's own form; `dvc plots` draws them from reports/evaluate/plots",
}
TASKS_IN_PLACE_OF_SAMPLE = {"fetch": "where fetch.repository says whence the images come"}
REPORT = "report"  # the one task that runs no step

# Inputs that dvc.yaml does not connect, each with the reason.
EDGES_ON_CLUSTERS_ONLY = {
    ("index", "source", "sample", "data"): "a pod must be handed the images; in DVC the manifest binds them by digest",
    ("compare", "champion", "pull", "champion"): "a pod must be handed the champion; here the registry is a folder",
}

# What the two kinds of pods are given differently, each with the reason.
RESOURCES_IN_ARGO_ONLY = {"ephemeral-storage": "Kubeflow's SDK cannot say it; a LimitRange can"}
VARIABLES_IN_KUBEFLOW_ONLY = {
    "STILLHOUSE_TRIES": "the wrapper of a task tries again in its pod; Argo starts another",
    "STILLHOUSE_TRY_WAIT": "as STILLHOUSE_TRIES",
    "STILLHOUSE_TRY_SECONDS": "as STILLHOUSE_TRIES",
}
VARIABLES_IN_ARGO_ONLY = {"STILLHOUSE_RUN": "names the run for MLflow; Kubeflow's tasks find KFP_RUN_ID in a label"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the commands write of this project for a cluster of which everything is said, by form."""
    folder, found = tmp_path_factory.mktemp("written"), {}
    (folder / "full.yaml").write_text(FULL)
    for form, command in {"kubeflow": "compile", "argo": "argo"}.items():
        found[form] = output_of(command, folder / f"{form}.yaml", "--cluster", str(folder / "full.yaml"))
    return found


def output_of(command: str, output: Path, *options: str) -> list[dict[str, Any]]:
    with contextlib.chdir(ROOT):
        assert main([command, "--output", str(output), *options]) == 0
    return list(YAML(typ="safe", pure=True).load_all(output.read_text()))


@pytest.fixture(scope="module")
def graphs(written: dict[str, list[dict[str, Any]]]) -> dict[str, Graph]:
    return {"dvc": of_dvc(), "kubeflow": of_kubeflow(written["kubeflow"][0]), "argo": of_argo(written["argo"][0])}


@pytest.fixture(scope="module")
def pods(written: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Pod]]:
    return {"kubeflow": pods_of_kubeflow(written["kubeflow"]), "argo": pods_of_argo(written["argo"][0])}


@pytest.fixture(params=["kubeflow", "argo"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def own(form: str) -> set[str]:
    """The tasks that one form alone has."""
    return set(TASKS_IN_KUBEFLOW_ONLY) if form == "kubeflow" else set()


def test_clusters_have_the_stages_of_dvc_as_tasks_and_those_that_are_named_here(
        graphs: dict[str, Graph], form: str) -> None:
    assert graphs[form].tasks == graphs["dvc"].tasks | set(TASKS_ON_CLUSTERS_ONLY) | own(form)
    assert not set(TASKS_ON_CLUSTERS_ONLY) & graphs["dvc"].tasks


def test_every_step_is_a_task_of_a_cluster(graphs: dict[str, Graph], form: str) -> None:
    assert set(STEPS) - graphs[form].tasks == set(TASKS_IN_PLACE_OF_SAMPLE)


@pytest.mark.parametrize(("command", "read"), [("argo", of_argo), ("compile", of_kubeflow)])
def test_images_that_are_fetched_are_not_drawn(tmp_path: Path, command: str, read: Callable[[Any], Graph]) -> None:
    given = ["--cluster-set", "params.fetch.repository=https://example.com/garments.git"]
    graph = read(output_of(command, tmp_path / "it.yaml", *given)[0])
    assert "fetch" in graph.tasks and "sample" not in graph.tasks
    assert {("validate", "source", "fetch", "data"), ("index", "source", "fetch", "data")} <= graph.edges


def test_clusters_connect_the_tasks_as_dvc_does(graphs: dict[str, Graph], form: str) -> None:
    added = set(TASKS_ON_CLUSTERS_ONLY) | own(form)
    ours: set[Edge] = {edge for edge in graphs[form].edges if edge[0] not in added}
    assert ours - graphs["dvc"].edges == set(EDGES_ON_CLUSTERS_ONLY)
    assert not graphs["dvc"].edges - ours


def test_kubeflow_and_argo_connect_what_only_they_have_alike(graphs: dict[str, Graph]) -> None:
    theirs = {edge for edge in graphs["kubeflow"].edges if edge[0] not in own("kubeflow")}
    assert theirs == graphs["argo"].edges


def test_what_is_promoted_is_what_was_judged_and_exported(graphs: dict[str, Graph], form: str) -> None:
    assert {edge for edge in graphs[form].edges if edge[0] == "promote"} == {
        ("promote", "model", "distill", "model"), ("promote", "exported", "export", "exported"),
        ("promote", "verdict", "compare", "verdict")}


def test_unfit_images_and_a_verdict_leave_out_the_same_tasks(graphs: dict[str, Graph]) -> None:
    ours = {task: names - own("kubeflow") for task, names in graphs["kubeflow"].skipped.items()}
    assert ours == graphs["argo"].skipped
    assert ours["compare"] == {"promote"}
    assert ours["validate"] == graphs["argo"].tasks - {"sample", "validate", REPORT}


def test_tasks_have_the_ports_of_their_steps(graphs: dict[str, Graph], form: str) -> None:
    for name, (read, written) in graphs[form].ports.items():
        if name in own(form) or name == REPORT:
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


def test_kubeflow_and_argo_give_a_task_the_same_settings_places_included(graphs: dict[str, Graph]) -> None:
    for section, settings in graphs["argo"].settings.items():
        assert graphs["kubeflow"].settings[section] == settings, section


def test_an_override_reaches_every_form(tmp_path: Path) -> None:
    changed = Params.load(ROOT / "params.yaml", ["student.epochs=5"])
    for command, read in {"compile": of_kubeflow, "argo": of_argo}.items():
        graph = read(output_of(command, tmp_path / f"{command}.yaml", "--set", "student.epochs=5")[0])
        for section in ("student", "distill"):
            assert graph.settings[section].digestible() == changed.section(section).digestible()
            assert graph.settings[section].digestible() != params().section(section).digestible()


def test_pods_are_given_the_same(pods: dict[str, dict[str, Pod]]) -> None:
    assert set(pods["kubeflow"]) == set(pods["argo"]) | own("kubeflow")
    for name, theirs in pods["argo"].items():
        ours = pods["kubeflow"][name]
        assert set(VARIABLES_IN_KUBEFLOW_ONLY) <= set(ours.variables) - set(theirs.variables), name
        assert set(VARIABLES_IN_ARGO_ONLY) <= set(theirs.variables) - set(ours.variables), name
        assert set(RESOURCES_IN_ARGO_ONLY) <= set(theirs.requests) & set(theirs.limits)
        assert without(ours) == without(theirs), name


def without(pod: Pod) -> Pod:
    """A pod without what is told apart above."""
    listed = {*RESOURCES_IN_ARGO_ONLY, *VARIABLES_IN_KUBEFLOW_ONLY, *VARIABLES_IN_ARGO_ONLY}
    kept = {name: {key: value for key, value in getattr(pod, name).items() if key not in listed}
            for name in ("requests", "limits", "variables")}
    return replace(pod, requests=kept["requests"], limits=kept["limits"], variables=kept["variables"])


def test_pods_differ_where_the_cluster_file_says_so(pods: dict[str, dict[str, Pod]], form: str) -> None:
    train, index = pods[form]["train"], pods[form]["index"]
    assert (train.limits["nvidia.com/gpu"], train.shm, train.seconds) == ("2", "8Gi", 86400)
    assert ("nvidia.com/gpu" in index.limits, index.shm, index.seconds) == (False, None, None)
    assert train.variables["AWS_SECRET_ACCESS_KEY"] == ("secret", "s3", "secret", False)


def test_runs_live_as_long_and_lost_pods_are_replaced_as_often(written: dict[str, list[dict[str, Any]]]) -> None:
    spec, (whole, platform) = written["argo"][0]["spec"], written["kubeflow"]
    life = platform["platforms"]["kubernetes"]["pipelineConfig"]
    assert life == {"resourceTtlOnCompletion": spec["ttlStrategy"]["secondsAfterCompletion"],
                    "activeDeadlineSeconds": spec["activeDeadlineSeconds"]}
    policies = [task["retryPolicy"] for one in whole["components"].values()
                for task in one.get("dag", {}).get("tasks", {}).values() if "retryPolicy" in task]
    assert len(policies) > 10
    for strategy in (one["retryStrategy"] for one in spec["templates"] if "retryStrategy" in one):
        pods = re.search(r"asInt\(retries\) < (\d+)", strategy["expression"])
        assert pods is not None
        for policy in policies:
            assert (policy["maxRetryCount"], policy["backoffDuration"]) == (
                int(pods[1]), strategy["backoff"]["duration"])
            assert policy["backoffFactor"] == float(strategy["backoff"]["factor"])


def test_as_many_teachers_are_trained_at_once(written: dict[str, list[dict[str, Any]]]) -> None:
    limits = {task["iteratorPolicy"]["parallelismLimit"] for one in written["kubeflow"][0]["components"].values()
              for task in one.get("dag", {}).get("tasks", {}).values() if "iteratorPolicy" in task}
    (teachers,) = [one for one in written["argo"][0]["spec"]["templates"] if one["name"] == "teachers"]
    assert limits == {teachers["parallelism"]} == {3}


def test_what_no_stage_writes_is_there_in_a_fresh_clone() -> None:
    assert [path for path in GIVEN if not (ROOT / path).is_file()] == []


def test_every_wrapper_hands_each_artifact_on_under_its_own_name() -> None:
    tree = ast.parse((ROOT / "pipeline/kubeflow_tasks.py").read_text())
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in called if getattr(call.func, "id", "") == "run_task"]
    assert len(calls) == len(STEPS) + 1  # train has two wrappers
    for call in calls:
        artifacts = call.args[3]
        assert isinstance(artifacts, ast.Dict)
        assert [key.value for key in artifacts.keys] == [value.id for value in artifacts.values]
