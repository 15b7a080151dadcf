"""infra/kubeflow.yaml: read strictly, every error with its place, nothing of it able to change a result."""

import json
from pathlib import Path
from typing import Any

import pytest
from imports import ROOT

from components.contract import STEPS
from components.errors import UserError
from components.settings import SECTIONS, Params
from components.strict_yaml import parse_yaml
from pipeline.cluster import TASKS, Cluster, Image, Task, cluster_of, elsewhere, load_cluster
from pipeline.reference import json_schema, page

OURS = ROOT / "infra/kubeflow.yaml"
DIGEST = "registry.example.com/stillhouse@sha256:" + "0f" * 32


def read(text: str) -> Cluster:
    return cluster_of(parse_yaml(text.encode(), "kubeflow.yaml"), "kubeflow.yaml")


def refused(text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(text)
    assert caught.value.remedy
    return caught.value.cause


def test_the_project_s_own_file_is_read_and_gives_every_task_resources() -> None:
    cluster = load_cluster(OURS)
    for name in TASKS:
        task = cluster.task(name)
        assert task.cpu and task.memory and task.memory_limit and task.disk, name
    assert cluster.task("train").shm and not cluster.task("index").shm


def test_every_step_can_be_given_resources() -> None:
    assert set(STEPS) <= set(TASKS)


def test_an_empty_file_is_a_bare_cluster() -> None:
    assert read("") == Cluster()
    assert read("").task("train") == Task()


def test_a_task_is_given_what_defaults_say_unless_it_says_otherwise() -> None:
    cluster = read("defaults: {cpu: '3', memory: 5Gi}\ntasks: {train: {memory: 64Gi, gpus: 2}}")
    assert (cluster.task("train").cpu, cluster.task("train").memory, cluster.task("train").gpus) == ("3", "64Gi", 2)
    assert (cluster.task("teach").memory, cluster.task("teach").gpus) == ("5Gi", 0)


def test_options_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kubeflow.yaml"
    file.write_text("tasks: {train: {gpus: 1}}\n")
    cluster = load_cluster(file, ["tasks.train.gpus=4", f"image.name={DIGEST}"])
    assert (cluster.task("train").gpus, cluster.image.name) == (4, DIGEST)


@pytest.mark.parametrize(("text", "words"), [
    ("tasks: {train: {gpu: 1}}", ["tasks.train.gpu is not a setting", "Did you mean 'gpus'?"]),
    ("tasks: {trains: {gpus: 1}}", ["tasks.trains is not a key", "Did you mean 'train'?"]),
    ("imagee: {name: x}", ["imagee is not a setting", "Did you mean 'image'?"]),
    ("defaults: {memory: 8GB}", ["defaults.memory is '8GB'"]),
    ("defaults: {cpu: 2}", ["defaults.cpu is 2; expected text"]),
    ("defaults: [1]", ["defaults is [1]; expected keys below it"]),
    ("tasks: {train: 3}", ["tasks.train is 3; expected keys below it"]),
    ("pods: {user: 0}", ["pods.user is 0", "greater than or equal to 1"]),
    ("pods: {volumes: [{claim: work, path: work}]}", ["pods.volumes.0.path is 'work'"]),
    ("image: {pull: Sometimes}", ["image.pull is 'Sometimes'; expected one of IfNotPresent, Always, Never"]),
    ("params: {student: {epochs: 3}}", ["params.student is not a key; expected one of data, fetch"]),
    ("training: {mode: trainjob}", ["training", "an absolute folder"]),
    ("training: {mode: trainjob, share: /workspace}", ["training.share below the path of one of pods.volumes"]),
])
def test_what_is_wrong_is_named_with_its_place(text: str, words: list[str]) -> None:
    cause = refused(text)
    assert cause.startswith("kubeflow.yaml: ")
    assert all(word in cause for word in words), cause


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.yaml cannot be read"):
        load_cluster(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("name", [DIGEST, "registry.example.com:5000/stillhouse:0a1b2c3",
                                  "stillhouse:" + "ab" * 20])
def test_an_image_that_cannot_change_is_submitted(name: str) -> None:
    Image(name=name).refuse_mutable()


@pytest.mark.parametrize("name", ["stillhouse", "stillhouse:dev", "stillhouse:latest", "stillhouse:1.2",
                                  "registry.example.com:5000/stillhouse", "stillhouse:0a1b2c3-dirty",
                                  "stillhouse@sha256:0f0f"])
def test_an_image_that_can_change_is_not_submitted_unless_allowed(name: str) -> None:
    with pytest.raises(UserError, match="can change") as caught:
        Image(name=name).refuse_mutable()
    assert "--image" in caught.value.remedy
    Image(name=name, mutable=True).refuse_mutable()


def test_the_cluster_changes_places_and_no_value_that_a_digest_sees() -> None:
    values = Params.load(ROOT / "params.yaml").values
    cluster = read("params: {runtime: {work: s3://stillhouse/work}}\nmlflow: {uri: http://mlflow.example.com}")
    there = Params(elsewhere(values, cluster))
    there.check()
    assert there.setting("runtime.work") == "s3://stillhouse/work"
    assert there.setting("runtime.tracking") is True
    for section in set(there.sections()) - {"runtime"}:
        assert there.section(section).digestible() == Params(values).section(section).digestible(), section


@pytest.mark.parametrize(("text", "tracked"), [
    ("", False), ("mlflow: {plugin: true}", True), ("mlflow: {uri: http://mlflow.example.com}", True)])
def test_runs_are_tracked_where_a_server_is_known(text: str, tracked: bool) -> None:
    values: dict[str, Any] = {"runtime": {"threads": 3}}
    there = Params(elsewhere(values, read(text)))
    assert there.setting("runtime.tracking") is tracked
    assert there.setting("runtime.threads") == 3
    assert values == {"runtime": {"threads": 3}}, "what was given is left as it is"


def test_every_section_that_a_cluster_may_change_exists_or_will_be_made_by_a_cluster_step() -> None:
    from typing import get_args

    from pipeline.cluster import Elsewhere

    assert set(get_args(Elsewhere)) - set(SECTIONS) <= set(TASKS)


@pytest.mark.parametrize(("name", "text"), [("kubeflow.schema.json", json_schema), ("kubeflow.md", page)])
def test_the_committed_pages_are_those_of_the_models(name: str, text: Any) -> None:
    file = ROOT / "docs" / name
    assert file.read_text() == text(), f"docs/{name} is out of date; type: stillhouse pipeline reference"


def test_every_setting_has_a_meaning_and_the_project_s_file_fits_the_schema() -> None:
    from jsonschema import Draft202012Validator

    assert not [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    schema = json.loads(json_schema())
    values = parse_yaml(OURS.read_bytes(), str(OURS))
    assert not list(Draft202012Validator(schema).iter_errors(values))
    assert list(Draft202012Validator(schema).iter_errors(values | {"imagee": {}}))
