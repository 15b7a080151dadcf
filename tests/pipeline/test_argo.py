"""The Argo workflow: valid, narrow, the same bytes every time, and run from its file what `dvc repro` gives."""

import copy
import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from argo_local import Workflow, again, filled
from copies import TINY, Project
from full_cluster import FULL
from imports import ROOT
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from components.errors import UserError
from components.settings import Params
from components.storage.receipts import digest
from components.strict_yaml import parse_yaml
from pipeline.__main__ import main, parser
from pipeline.argo import cron_workflow, refuse_schedule, settings_text, there, workflow_template
from pipeline.argo_pods import WORK
from pipeline.cluster import Cluster, cluster_of, load_cluster

SCHEMA = ROOT.parent / "shared/schemas/argo-workflows-v4.1.schema.json"
KIND = "io.argoproj.workflow.v1alpha1."
IMAGE = "registry.example.com/stillhouse@sha256:" + "0f" * 32

@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(TINY)
    (tmp_path / "full.yaml").write_text(FULL)
    return tmp_path


def written(folder: Path, *options: str) -> list[dict[str, Any]]:
    """The documents that the command writes with some options, read again."""
    output = folder / "argo.yaml"
    given = ["--params", str(folder / "params.yaml"), "--dvc", str(ROOT / "dvc.yaml"), "--output", str(output)]
    cluster = [] if "--cluster" in options else ["--cluster", str(ROOT / "infra/kubeflow.yaml")]
    assert main(["argo", *given, *cluster, *options]) == 0
    return list(YAML(typ="safe", pure=True).load_all(output.read_text()))


@cache
def of(cluster: str) -> dict[str, Any]:
    """The template of the tiny settings on a cluster; who changes it takes a copy."""
    params = there(Params(parse_yaml(TINY.encode(), "params.yaml")), clusters()[cluster])
    return workflow_template(params, clusters()[cluster], ROOT / "dvc.yaml")


@cache
def clusters() -> dict[str, Cluster]:
    """The project's own cluster, and one of which everything is said."""
    return {"own": load_cluster(ROOT / "infra/kubeflow.yaml"),
            "full": cluster_of(parse_yaml(FULL.encode(), "full.yaml"), "full.yaml")}


def steps_of(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The templates that run a container, by name."""
    return {one["name"]: one for one in workflow["spec"]["templates"] if "container" in one}


@cache
def strict_schema() -> dict[str, Any]:
    """The published schema, in which a key that it does not know is an error: it lets any pass."""
    if not SCHEMA.is_file():
        pytest.skip("../shared/schemas has no schema of Argo Workflows beside this project")
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    for definition in schema["definitions"].values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
    return schema


def faults(document: dict[str, Any]) -> list[str]:
    """What the schema finds wrong with a document, judged by its own kind."""
    schema = strict_schema()
    of_kind = {"$ref": f"#/definitions/{KIND}{document['kind']}", "definitions": schema["definitions"]}
    return [error.json_path for error in Draft202012Validator(of_kind).iter_errors(document)]


@pytest.mark.parametrize("cluster", ["own", "full"])
def test_what_is_written_is_valid(cluster: str) -> None:
    assert not faults(of(cluster))
    assert not faults(cron_workflow("0 3 * * MON", clusters()[cluster]))


def test_the_command_writes_the_template_and_what_starts_it(folder: Path) -> None:
    template, cron = written(folder, "--schedule", "0 3 * * MON")
    assert (template, cron) == (of("own"), cron_workflow("0 3 * * MON", clusters()["own"]))
    (template,) = written(folder, "--image", IMAGE)
    assert {one["container"]["image"] for one in steps_of(template).values()} == {IMAGE}


def every_place(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all mappings inside a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [one for key, inner in pairs for one in every_place(inner, (*place, key))]
    return [place, *below] if isinstance(value, dict) and value else below


FREE = {"labels", "annotations", "nodeSelector", "requests", "limits"}  # keys of the user's own


def test_a_typing_error_anywhere_in_it_is_found() -> None:
    document = of("full")
    places = [place for place in every_place(document) if not FREE & set(place)]
    assert len(places) > 300
    for place in places[::len(places) // 40]:
        broken = copy.deepcopy(document)
        inner = broken
        for key in place:
            inner = inner[key]
        name = next(iter(inner))
        inner[f"{name}z"] = inner.pop(name)
        assert faults(broken), (place, name)


def test_the_same_settings_give_the_same_bytes_in_a_file_and_on_standard_output(
        folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder)
    told = (folder / "argo.yaml").read_text()
    capsys.readouterr()
    assert main(["argo", "--params", str(folder / "params.yaml"), "--dvc", str(ROOT / "dvc.yaml"),
                 "--cluster", str(ROOT / "infra/kubeflow.yaml")]) == 0
    assert capsys.readouterr().out == told


def test_every_container_is_restricted() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, level restricted, and a read-only root."""
    for workflow in (of("full"), of("own")):
        spec = workflow["spec"]
        assert spec["securityContext"]["runAsUser"] > 0 and spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostAliases", "podSpecPatch"} & set(spec)
        for name, template in steps_of(workflow).items():
            assert not {"initContainers", "sidecars", "securityContext", "hostAliases", "podSpecPatch"} & set(template)
            context = template["container"]["securityContext"]
            assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                               "readOnlyRootFilesystem": True, "runAsNonRoot": True,
                               "seccompProfile": {"type": "RuntimeDefault"}}, name
            volumes = {one["name"]: one for one in [*spec["volumes"], *template.get("volumes", [])]}
            kinds = {kind for one in volumes.values() for kind in one} - {"name"}
            assert kinds <= {"emptyDir", "persistentVolumeClaim"}
            assert {one["name"] for one in template["container"]["volumeMounts"]} == set(volumes), name


def test_the_steps_get_no_token_where_argo_s_own_containers_have_an_account() -> None:
    spec = of("full")["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["executor"] == {"serviceAccountName": "argo-executor"}
    spec = of("own")["spec"]
    assert spec["automountServiceAccountToken"] is True, "else Argo refuses to make pods"
    assert "executor" not in spec


def test_secrets_are_named_and_never_written() -> None:
    variables = {one["name"]: one for one in steps_of(of("full"))["train"]["container"]["env"]}
    assert variables["AWS_SECRET_ACCESS_KEY"] == {
        "name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secret"}}}
    assert variables["HTTPS_PROXY"]["valueFrom"]["configMapKeyRef"]["optional"] is True
    assert variables["AWS_REGION"]["value"] == "eu-west-1"
    assert variables["MLFLOW_TRACKING_URI"]["value"] == "http://mlflow.example.com"
    assert variables["STILLHOUSE_RUN"]["value"] == "{{workflow.name}}"


def test_what_the_cluster_file_says_of_a_task_stands_in_its_template() -> None:
    workflow = of("full")
    spec, train, index = workflow["spec"], steps_of(workflow)["train"], steps_of(workflow)["index"]
    assert train["container"]["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "20Gi"},
        "limits": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": "2"}}
    assert train["volumes"] == [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]
    assert {"name": "shm", "mountPath": "/dev/shm"} in train["container"]["volumeMounts"]
    assert {"name": "claim-0", "mountPath": "/mnt/shared", "subPath": "garments"} in train["container"]["volumeMounts"]
    assert train["activeDeadlineSeconds"] == "86400" and train["nodeSelector"] == {"pool": "gpu"}
    assert train["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Equal", "value": "yes", "tolerationSeconds": 30}]
    assert not {"volumes", "activeDeadlineSeconds", "nodeSelector", "tolerations"} & set(index)
    assert (spec["activeDeadlineSeconds"], spec["ttlStrategy"]) == (90000, {"secondsAfterCompletion": 3600})
    assert spec["artifactRepositoryRef"] == {"configMap": "artifact-repositories", "key": "s3"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    (teachers,) = [one for one in spec["templates"] if one["name"] == "teachers"]
    assert teachers["parallelism"] == 3
    assert (workflow["metadata"]["name"], workflow["metadata"]["namespace"]) == ("garments", "vision")


def test_settings_reach_the_steps_as_a_file_and_through_no_shell() -> None:
    workflow = of("own")
    told = {one["name"]: one["value"] for one in workflow["spec"]["arguments"]["parameters"]}
    assert json.loads(told["teachers"]) == ["deep", "broad"]
    for name, template in steps_of(workflow).items():
        assert template["container"]["command"] == ["stillhouse"], name
        if name == "report":
            continue
        inputs = {one["name"]: one for one in template["inputs"]["artifacts"]}
        assert inputs["params"]["path"] == f"{WORK}/params.yaml"
        assert inputs["params"]["raw"] == {"data": "{{workflow.parameters.params}}"}
        tagged = [word for word in template["container"]["args"] if "{{" in word]
        assert all("{{inputs.parameters.teacher}}" in word and word.count("{{") == 1 for word in tagged), name


def test_settings_arrive_as_they_were_whatever_they_hold() -> None:
    odd = {"seed": 3, "text": "{{workflow.name}} {{=1}} {{{ }} \x7f é \n \\ \" '", "empty": {}, "deep": {"a": {}}}
    text = settings_text(odd)
    assert "{{" not in text
    scope = {"workflow.parameters.params": text, "workflow.name": "spoilt"}
    arrived = filled({"raw": {"data": "{{workflow.parameters.params}}"}}, scope)["raw"]["data"]
    assert parse_yaml(arrived.encode(), "params.yaml") == odd


def test_the_settings_are_those_of_params_yaml_at_the_cluster_s_places(folder: Path) -> None:
    (workflow,) = written(folder, "--set", "student.epochs=7", "--cluster-set", "params.runtime.work=/tmp/state")
    text = next(one["value"] for one in workflow["spec"]["arguments"]["parameters"] if one["name"] == "params")
    params = Params(parse_yaml(text.encode(), "params"), "params")
    params.check()
    assert params.setting("student.epochs") == 7
    assert params.setting("runtime.work") == "/tmp/state"
    assert params.section("teachers.deep") != Params.load(ROOT / "params.yaml").section("teachers.deep")


OUT_OF_MEMORY = {"status": "Failed", "exitCode": "137", "message": "main: OOMKilled (exit code 137)"}
TOO_LATE = {"status": "Failed", "exitCode": "143", "message": "Pod was active on the node longer than the specified "
            "deadline"}


@pytest.mark.parametrize(("last", "retries", "wanted"), [
    ({"status": "Failed", "exitCode": "75", "message": "main: Error (exit code 75)"}, 0, True),
    ({"status": "Failed", "exitCode": "75", "message": "main: Error (exit code 75)"}, 9, True),
    ({"status": "Failed", "exitCode": "1", "message": "main: Error (exit code 1)"}, 0, False),
    ({"status": "Failed", "exitCode": "2", "message": "main: Error (exit code 2)"}, 0, False),
    ({"status": "Failed", "exitCode": "70", "message": "main: Error (exit code 70)"}, 0, False),
    ({"status": "Failed", "exitCode": "143", "message": "main: Error (exit code 143)"}, 0, True),
    ({"status": "Failed", "exitCode": "137", "message": "main: Error (exit code 137)"}, 0, True),
    ({"status": "Failed", "exitCode": "-1", "message": "The node was low on resource: memory."}, 1, True),
    ({"status": "Error", "exitCode": "-1", "message": "pod deleted"}, 1, True),
    ({"status": "Error", "exitCode": "-1", "message": "pod deleted"}, 2, False),
    (OUT_OF_MEMORY, 0, False),
    (TOO_LATE, 0, False),
])
def test_only_what_can_pass_is_tried_again(last: dict[str, str], retries: int, wanted: bool) -> None:
    strategy = steps_of(of("own"))["train"]["retryStrategy"]  # pods: 2, tries: 6
    assert again(strategy["expression"], last, retries) is wanted


def test_tries_and_lost_pods_are_counted_apart() -> None:
    strategy = steps_of(of("own"))["train"]["retryStrategy"]
    assert (strategy["limit"], strategy["backoff"]["duration"]) == ("5", "30s")
    strategy = steps_of(of("full"))["train"]["retryStrategy"]
    assert (strategy["limit"], strategy["backoff"]["duration"]) == ("4", "10s")


def test_runs_of_a_schedule_never_overlap() -> None:
    cron = cron_workflow("*/30 6-22 * * 1-5", clusters()["own"])
    assert cron["spec"]["schedules"] == ["*/30 6-22 * * 1-5"]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert cron["spec"]["workflowSpec"]["workflowTemplateRef"]["name"] == of("own")["metadata"]["name"]


@pytest.mark.parametrize("schedule", [
    "", "0 3 * *", "0 0 3 * * *", "60 3 * * 1", "0 24 * * *", "0 3 0 * *", "0 3 * 13 *", "0 3 * * 7", "0 3 * * MOON",
    "JAN 3 * * *", "*/0 * * * *", "5-1 * * * *", "a b c d e", "-1 * * * *", "@fortnightly"])
def test_a_schedule_that_argo_would_not_understand_is_refused(schedule: str) -> None:
    with pytest.raises(UserError, match="minute hour day month weekday"):
        refuse_schedule(schedule)


@pytest.mark.parametrize("schedule", [
    "0 3 * * 1", "*/15 * * * *", "0 0 1,15 JAN-jun SUN", "5/20 0-6 * * mon-fri", "@daily"])
def test_a_schedule_that_argo_understands_is_taken(schedule: str) -> None:
    refuse_schedule(schedule)


@pytest.mark.parametrize(("options", "cause"), [
    (["--cluster-set", "training.mode=trainjob", "--cluster-set", "training.share=/mnt/shared/share"], "is trainjob"),
    (["--cluster-set", 'pods.volumes=[{claim: work, path: /stillhouse/data}]'], "where a pod keeps its own"),
    (["--cluster-set", 'argo.repository.config_map=""'], "config_map"),
    (["--set", "data.path=/home/me/images"], "which no pod sees"),
    (["--set", "data.path=s3://bucket/images"], "which no pod sees"),
    (["--dvc", "nowhere/dvc.yaml"], "cannot be read"),
])
def test_what_a_cluster_could_not_run_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str],
                                                 cause: str) -> None:
    output = folder / "none.yaml"
    dvc = [] if "--dvc" in options else ["--dvc", str(ROOT / "dvc.yaml")]
    assert main(["argo", "--params", str(folder / "params.yaml"), "--cluster", str(folder / "full.yaml"), "--output",
                 str(output), *dvc, *options]) == 1
    told = capsys.readouterr().err
    assert re.search(cause, told) and "remedy: " in told
    assert not output.exists()


PAGE = (ROOT / "docs/cluster-argo.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"stillhouse pipeline (argo[^`\n]*)", PAGE))
def test_commands_on_the_page_are_understood(line: str) -> None:
    assert parser().parse_args(shlex.split(line)).run


@pytest.mark.parametrize("name", sorted(set(re.findall(
    r"`((?:argo|pods|lifetime|retries|training)\.[a-z_.]+)", PAGE))))
def test_settings_on_the_page_exist(name: str) -> None:
    value: Any = Cluster()
    for part in name.split("."):
        value = getattr(value, part)


def local_template(project: Project, registry: Path, *overrides: str) -> dict[str, Any]:
    """The template for a run without a cluster: state and reports stay in a pod's folder, the registry on a claim."""
    params = Params.load(project.path / "params.yaml", [f"promote.registry={registry / 'models'}", *overrides])
    values = {"retries": {"pods": 0}, "pods": {"volumes": [{"claim": "registry", "path": str(registry)}]}}
    cluster = cluster_of(values, "kubeflow.yaml")
    return workflow_template(there(params, cluster), cluster, project.path / "dvc.yaml")


@pytest.mark.slow
def test_run_from_its_file_it_gives_what_dvc_repro_gives(finished: Project, tmp_path: Path) -> None:
    run = Workflow(local_template(finished, tmp_path / "claim"), tmp_path / "run", finished.environment)
    assert run.run() == "Succeeded", {name: node for name, node in run.nodes.items() if node.exits[-1:] != [0]}
    kept = run.bucket / "stillhouse" / run.name
    sealed = {path: text for path, text in finished.receipts().items() if path != "data/raw"}  # it is in an archive
    assert {path: (kept / path / "receipt.json").read_bytes() for path in sealed} == sealed
    metrics = sorted(finished.path.glob("reports/*/metrics.json"))
    assert len(metrics) > 8
    for file in [*metrics, *finished.path.glob("reports/*/report.html")]:
        assert (kept / file.relative_to(finished.path)).read_bytes() == file.read_bytes(), file
    published = json.loads((kept / "reports/promote/published.json").read_text())
    assert published["digest"] == digest(finished.path / "models/distilled")
    assert json.loads((tmp_path / "claim/models/latest.json").read_text())["digest"] == published["digest"]
    report = (kept / "reports/run.md").read_text()
    assert "# The run has succeeded" in report and "**first**" in report and "distilled" in report
    the_same_again(run, tmp_path / "second")


def the_same_again(run: Workflow, folder: Path) -> None:
    """Held against itself as the champion of now, the model is the same, and nothing is promoted."""
    folder.mkdir()
    (folder / "bucket").symlink_to(run.bucket)
    second = Workflow(run.template, folder, run.environment)
    tasks = {one["name"]: one for one in run.spec["templates"][0]["dag"]["tasks"]}
    done = {name: run.nodes[name] for name in tasks}
    for name in ("pull", "compare", "promote"):
        done[name] = second.task(tasks[name], done, {}, second.scope(), name)
    assert [done[name].phase for name in ("pull", "compare", "promote")] == ["Succeeded", "Succeeded", "Skipped"]
    assert json.loads(done["compare"].parameters["verdict"])["verdict"] == "same"


@pytest.mark.slow
def test_unfit_data_end_the_run_at_once_and_nothing_is_learnt_from_them(finished: Project, tmp_path: Path) -> None:
    template = local_template(finished, tmp_path / "claim", "validate.policy=fail")
    run = Workflow(template, tmp_path / "run", finished.environment)
    assert run.run() == "Failed"
    assert run.nodes["validate"].exits == [1], "a fault of the data is no reason to try again"
    assert "the policy is to fail" in (tmp_path / "run/pods/validate-0/log.txt").read_text()
    report = (run.bucket / "stillhouse" / run.name / "reports/run.md").read_text()
    assert "# The run has failed" in report and "kubectl logs pod-validate -c main" in report
    later = {name: node.phase for name, node in run.nodes.items() if name not in ("", "sample", "validate", "exit")}
    assert {"index", "train", "student", "promote"} <= set(later)
    assert set(later.values()) == {"Omitted"}
