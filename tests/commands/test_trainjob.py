"""A step done by a TrainJob: made as the schema demands, watched, its words passed on, its end understood, removed."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import SCHEMA, FakeCluster, Life, Moment, Pod, condition, over, running, serving, through

from components.commands import trainjob
from components.commands.cluster_api import Jobs, connect
from components.commands.trainjob import Plan, supervise
from components.errors import Terminated, TryAgain, UserError
from components.signals import on_sigterm
from pipeline.cluster import Cluster, cluster_of
from pipeline.trainjob import template

HERE = {
    "image": {"name": "registry.example.com/stillhouse@sha256:" + "0f" * 32, "secrets": ["registry"]},
    "pods": {"volumes": [{"claim": "work", "path": "/workspace", "sub_path": "a"}], "env": {"A": "b"},
             "secrets": [{"name": "s3", "keys": {"key": "AWS_ACCESS_KEY_ID"}, "optional": True}]},
    "defaults": {"disk": "20Gi"},
    "tasks": {"train": {"gpus": 4, "shm": "8Gi", "timeout": 3600, "node_selector": {"gpu": "h200"},
                        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}},
    "training": {"mode": "trainjob", "nodes": 2, "share": "/workspace/share", "queue": "teams",
                 "service_account": "trainer"},
    "mlflow": {"uri": "http://mlflow.example.com"},
}
RUNNING = [Pod(0, running()), Pod(1, running())]
DONE = Moment([condition("Complete", "AllJobsCompleted")], [Pod(0, over(0)), Pod(1, over(0))])


def cluster() -> Cluster:
    return cluster_of(HERE, "kubeflow.yaml")


def manifest(name: str = "stillhouse-x") -> dict[str, Any]:
    return trainjob.filled(json.loads(template(cluster(), "train"))["manifest"], name, ["train", "student"])


class Scene:
    """A cluster with a life of its own, and how a TrainJob is seen through in it."""

    def __init__(self, life: Life, folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = FakeCluster(life)
        monkeypatch.setenv("KUBECONFIG", str(stack.enter_context(serving(self.cluster, folder))))
        monkeypatch.setenv("STILLHOUSE_NAMESPACE", "vision")
        self.jobs: Jobs = connect()

    def supervise(self, start_seconds: float = 60.0) -> None:
        supervise(self.jobs, manifest(), Plan({}, Path("/workspace/share"), start_seconds, poll=0.01))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda life: Scene(life, tmp_path, stack, monkeypatch)


def test_a_trainjob_is_as_the_schema_demands_and_has_what_the_task_is_given() -> None:
    if not SCHEMA.exists():
        pytest.skip(f"{SCHEMA} is not there")
    fake = FakeCluster(through(DONE))
    made = manifest()
    assert fake.create("vision", made)[0] == 201
    for path, value in ((("spec", "trainers"), {}), (("spec", "trainer", "nodes"), 2), (("metadata", "name"), "1x")):
        wrong = json.loads(json.dumps(made))
        place = wrong
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert fake.create("vision", wrong)[0] == 422, f"{path} is found"
    trainer, spec = made["spec"]["trainer"], made["spec"]
    assert trainer["numNodes"] == 2 and trainer["numProcPerNode"] == 4 and spec["activeDeadlineSeconds"] == 3600
    limits = {"memory": "8Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": "4"}
    assert trainer["resourcesPerNode"]["limits"] == limits
    assert trainer["command"] == ["stillhouse"] and trainer["args"][:2] == ["train", "student"]
    assert "runtime.devices=4" in trainer["args"] and "runtime.node=$(PET_NODE_RANK)" in trainer["args"]
    assert {"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {
        "name": "s3", "key": "key", "optional": True}}} in trainer["env"]
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "teams"


def test_the_pods_of_a_trainjob_are_restricted() -> None:
    (patch,) = manifest()["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
                                      "fsGroupChangePolicy": "OnRootMismatch",
                                      "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] and {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["nodeSelector"] == {"gpu": "h200"} and pod["serviceAccountName"] == "trainer"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_trainjob_is_seen_through_and_removed(scene: Any, capfd: pytest.CaptureFixture[str]) -> None:
    starting = Moment([], [Pod(0, {"phase": "Pending"})])
    here = scene(through(Moment(), starting, Moment([], [Pod(0, running(), ["epoch 1"]), Pod(1, running())]),
                         Moment([], [Pod(0, running(), ["epoch 1", "epoch 2"]), Pod(1, running())]), DONE))
    here.supervise()
    assert [one["metadata"]["name"] for one in here.cluster.made] == here.cluster.deleted == ["stillhouse-x"]
    said = capfd.readouterr().err
    assert said.count("epoch 1") == said.count("epoch 2") == 1, "each line once"
    assert "canary-token" not in said


FAILURES: dict[str, tuple[Moment, type[UserError], int, str]] = {
    "a user's error": (
        Moment([condition("Failed")], [Pod(0, over(1), ["stillhouse: no such class", "  remedy: name another"]),
                                       Pod(1, over(75))]), UserError, 1, "no such class"),
    "a defect": (Moment([condition("Failed")], [Pod(0, over(70), ["Traceback"])]), UserError, 70,
                 "pod stillhouse-x-node-0-0 ended with exit code 70"),
    "the second pod's own": (
        Moment([condition("Failed")], [Pod(0, over(75)), Pod(1, over(1), ["stillhouse: it is here"])]), UserError, 1,
        "it is here"),
    "try again": (Moment([condition("Failed", message="jobset failed")], [Pod(0, over(75)), Pod(1, over(143))]),
                  TryAgain, 75, "has failed: jobset failed"),
    "killed": (Moment([condition("Failed")], [Pod(0, over(137))]), TryAgain, 75, "its pods are gone"),
    "memory": (Moment([condition("Failed")], [Pod(0, over(137, "OOMKilled"))]), UserError, 1, "OOMKilled"),
    "eviction": (Moment([condition("Failed")], [Pod(0, {"phase": "Failed", "reason": "Evicted",
                                                        "message": "The node was low on resource: memory."})]),
                 TryAgain, 75, "was taken away: Evicted: The node was low"),
    "preemption": (Moment([condition("Failed")], [Pod(0, over(143) | {
        "conditions": [condition("DisruptionTarget", "PreemptionByScheduler", "preempted")]})]),
        TryAgain, 75, "was taken away: PreemptionByScheduler"),
    "deadline": (Moment([condition("Failed", "DeadlineExceeded")], []), UserError, 1, "took longer than it may"),
}


@pytest.mark.parametrize("name", list(FAILURES))
def test_a_failure_is_told_in_words_and_the_trainjob_is_removed(scene: Any, name: str) -> None:
    moment, kind, code, words = FAILURES[name]
    here = scene(through(Moment([], RUNNING), moment))
    with pytest.raises(kind) as caught:
        here.supervise()
    assert words in caught.value.cause and caught.value.remedy
    assert int(caught.value.exit_code) == code
    assert isinstance(caught.value, TryAgain) == (kind is TryAgain)
    assert here.cluster.deleted == ["stillhouse-x"]


def pending(reason: str, message: str) -> Pod:
    return Pod(0, {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": reason,
                                                       "message": message}]})


def test_pods_that_no_node_has_room_for_are_waited_for_and_then_told(scene: Any) -> None:
    here = scene(through(Moment([], [pending("Unschedulable", "0/3 nodes are available: 3 Insufficient gpu.")])))
    with pytest.raises(TryAgain, match=r"Unschedulable: 0/3 nodes are available: 3 Insufficient gpu\.") as caught:
        here.supervise(start_seconds=0.3)
    assert "training.start_seconds" in caught.value.remedy
    assert here.cluster.deleted == ["stillhouse-x"]


def test_a_queue_that_admits_nothing_is_told(scene: Any) -> None:
    here = scene(through(Moment([condition("Suspended", "Suspended")])))
    with pytest.raises(TryAgain, match="its queue has not admitted it yet"):
        here.supervise(start_seconds=0.2)


def test_an_image_that_is_not_there_is_told_before_the_time_is_up() -> None:
    from components.commands.trainjob_end import waiting_for

    state = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [{"state": state}]}}
    assert waiting_for(manifest(), [pod], 10.0, 900.0), "it may come"
    with pytest.raises(UserError, match="ImagePullBackOff: manifest unknown"):
        waiting_for(manifest(), [pod], 61.0, 900.0)


def test_a_trainjob_that_an_earlier_pod_made_is_gone_on_with(scene: Any, capfd: pytest.CaptureFixture[str]) -> None:
    here = scene(through(Moment([], RUNNING), DONE))
    assert here.jobs.create(manifest())
    here.supervise()
    assert len(here.cluster.made) == 1 and here.cluster.deleted == ["stillhouse-x"]
    assert "going on with it" in capfd.readouterr().err


def test_a_failed_trainjob_of_an_earlier_try_makes_way(scene: Any) -> None:
    lives = iter([through(Moment([condition("Failed")], [])), through(DONE)])
    here = scene(lambda made: next(lives)(made))
    assert here.jobs.create(manifest())
    here.supervise()
    assert len(here.cluster.made) == 2 and here.cluster.deleted == ["stillhouse-x"] * 2


def test_a_trainjob_that_somebody_removes_is_noticed(scene: Any) -> None:
    here = scene(through(Moment([], RUNNING)))
    timer = threading.Timer(0.3, lambda: here.cluster.remove("stillhouse-x"))
    timer.start()
    with pytest.raises(TryAgain, match="was removed by somebody else"):
        here.supervise()
    timer.join()


@pytest.mark.parametrize(("status", "kind", "words"), [
    (403, UserError, "does not let this pod create a TrainJob in namespace vision"),
    (401, UserError, "does not let this pod"),
    (404, UserError, "knows no TrainJobs"),
    (400, UserError, "runtime is not there"),
    (429, TryAgain, "cannot create a TrainJob"),
    (503, TryAgain, "status 503"),
])
def test_what_the_api_refuses_is_told(scene: Any, status: int, kind: type[UserError], words: str) -> None:
    here = scene(through(DONE))
    here.cluster.statuses = [(status, "the\nruntime is not there")] * 9
    with pytest.raises(kind) as caught:
        here.supervise()
    assert words in caught.value.cause and "\n" not in caught.value.cause and caught.value.remedy
    assert isinstance(caught.value, TryAgain) == (kind is TryAgain)


def test_an_api_that_is_away_for_a_moment_is_waited_for(scene: Any, capfd: pytest.CaptureFixture[str]) -> None:
    here = scene(through(Moment([], RUNNING), Moment([], RUNNING), DONE))
    here.cluster.statuses = [(0, ""), (0, ""), (503, "leader election"), (500, "etcd")]
    here.supervise()
    assert "warning: the cluster's API cannot read TrainJob stillhouse-x now (status 500)" in capfd.readouterr().err
    assert here.cluster.deleted == ["stillhouse-x"]


def test_an_api_that_cannot_be_reached_says_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FakeCluster(through(DONE)), tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
    with pytest.raises(TryAgain, match="does not answer"):
        connect().create(manifest())


def test_without_a_cluster_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="the cluster's API is not to be found"):
        connect()


def test_sigterm_removes_the_trainjob(scene: Any) -> None:
    here = scene(through(Moment([], RUNNING)))
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()

    def end() -> None:
        raise Terminated

    with pytest.raises(Terminated), on_sigterm(end):
        here.supervise()
    timer.join()
    assert here.cluster.deleted == ["stillhouse-x"]
