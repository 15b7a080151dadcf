"""`status`, `logs` and `stop`: the tasks of a run from the nodes of its workflow, and which run is meant."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api
import pytest
from kubeflow_server import BEGUN, State, strict

from pipeline.__main__ import main
from pipeline.api.tasks import tasks_of
from pipeline.waiting import stuck

RUN = "5d08dd3d-58d9-4d02-9ff2-f2cee8dbfda8"
NEVER = "1970-01-01T00:00:00Z"


def at(second: float) -> str:
    return (BEGUN + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


class Workflow:
    """Nodes as the API server tells them: children by node id, pods by name, both with the same hash at the end."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def node(self, name: str, state: str = "SUCCEEDED", begin: float = 0.0, end: float | None = None,
             *children: dict[str, Any]) -> dict[str, Any]:
        number = 1000 + len(self.nodes)
        kind = "impl" if name.startswith("executor") else "dag"
        node = {"run_id": RUN, "display_name": name, "state": state, "pod_name": f"stillhouse-abc12-{kind}-{number}",
                "start_time": at(begin), "create_time": at(begin), "end_time": NEVER if end is None else at(end),
                "child_tasks": [{"pod_name": "stillhouse-abc12-" + child["pod_name"].rpartition("-")[2]}
                                for child in children]}
        strict(node, "V2beta1PipelineTaskDetail")
        self.nodes.append(node)
        return node

    def task(self, name: str, begin: float, end: float | None, *states: str) -> dict[str, Any]:
        """A task with its driver; several states are retries of its pod."""
        self.node(f"{name}-driver", "SUCCEEDED", begin, begin + 1)
        pods = [self.node("executor" if len(states) == 1 else f"executor({number})", state, begin + number, end)
                for number, state in enumerate(states)]
        last = {"SKIPPED": "SUCCEEDED", "PENDING": "RUNNING"}.get(states[-1], states[-1])
        if len(pods) > 1:
            pods = [self.node("executor", last, begin, end, *pods)]
        return self.node(name, last, begin, end, *pods)


def whole() -> list[dict[str, Any]]:
    """A run with a cached task, a loop with a retry, a condition not taken and a failure."""
    flow = Workflow()
    validate = flow.task("validate", 1, 11, "SKIPPED")
    broad, deep = flow.task("train", 20, 80, "SUCCEEDED"), flow.task("train", 21, 200, "FAILED", "SUCCEEDED")
    driver = flow.node("for-loop-1-driver", "SUCCEEDED", 12, 13)
    iterations = [flow.node(f"iteration-item({number}:{number})", "SUCCEEDED", 14, 200, one)
                  for number, one in enumerate((broad, deep))]
    loop = flow.node("for-loop-1", "SUCCEEDED", 13, 200, driver, *iterations)
    distill = flow.task("distill", 201, 260, "FAILED")
    flow.node("condition-1-driver", "SUCCEEDED", 261, 262)
    condition = flow.node("condition-1", "SKIPPED", 262, 262)
    root = flow.node("root", "FAILED", 1, 263, validate, loop, distill, condition)
    flow.node("root-driver", "SUCCEEDED", 0, 1)
    flow.node("stillhouse-abc12", "FAILED", 0, 263, root)
    return flow.nodes


@pytest.fixture
def one(state: State) -> dict[str, Any]:
    """A failed run of the experiment."""
    experiment = state.create("experiments", {"display_name": "stillhouse"})
    run: dict[str, Any] = {
        "run_id": RUN, "display_name": "stillhouse 3f2a9c1", "experiment_id": experiment["experiment_id"],
        "state": "FAILED", "created_at": at(0), "finished_at": at(264), "run_details": {"task_details": whole()}}
    strict(run, "V2beta1Run")
    state.things["runs"][RUN] = run
    return run


def details(nodes: list[dict[str, Any]]) -> list[Any]:
    class Answer:
        data = json.dumps(nodes)

    read: list[Any] = kfp_server_api.ApiClient().deserialize(Answer, "list[V2beta1PipelineTaskDetail]")
    return read


def test_tasks_are_found_among_drivers_groups_and_executors() -> None:
    tasks = {task.name: task for task in tasks_of(details(whole()))}
    assert list(tasks) == ["validate", "train-1", "train-2", "distill", "condition-1"]
    assert tasks["validate"].cached and not tasks["validate"].pods
    assert (tasks["train-1"].retries, tasks["train-2"].retries) == (0, 1)
    assert len(tasks["train-2"].pods) == 2 and all("-impl-" in pod for pod in tasks["train-2"].pods)
    assert tasks["distill"].failed and tasks["condition-1"].state == "SKIPPED"
    assert (tasks["train-1"].started, tasks["train-1"].finished) == (BEGUN + timedelta(seconds=20),
                                                                     BEGUN + timedelta(seconds=80))


def test_a_task_whose_pod_has_not_started_is_pending_and_has_no_end() -> None:
    flow = Workflow()
    flow.task("train", 5, None, "PENDING")
    (task,) = tasks_of(details(flow.nodes))
    assert (task.state, task.finished) == ("PENDING", None)
    assert stuck(task), "the pod has been waiting since January"
    assert not stuck(replace(task, waiting=datetime.now(UTC)))


def test_a_pod_that_was_made_just_now_in_place_of_a_lost_one_has_not_waited_for_long() -> None:
    flow = Workflow()
    flow.task("train", 5, None, "FAILED", "PENDING")
    nodes = flow.nodes
    nodes[2]["start_time"] = datetime.now(UTC).isoformat()
    (task,) = tasks_of(details(nodes))
    assert (task.state, task.retries) == ("PENDING", 1) and not stuck(task)


def test_nodes_that_tell_nothing_give_no_tasks() -> None:
    assert tasks_of([]) == ()
    assert tasks_of(details([{"task_id": "x"}, {}])) == ()


def test_status_of_a_run_is_a_table_of_its_tasks(host: str, one: dict[str, Any],
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", RUN, "--host", host]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "stillhouse 3f2a9c1  FAILED  created 2026-01-01 00:00, took 4 min 24 s"
    assert lines[1] == f"{host}/#/runs/details/{RUN}"
    rows = {line.split()[0]: line for line in lines[2:]}
    assert "SUCCEEDED (from the cache)" in rows["validate"]
    assert rows["train-2"].endswith("2 min 59 s  1")
    assert "FAILED" in rows["distill"] and rows["distill"].endswith("0")


def test_status_as_json_holds_all_of_it(host: str, one: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "latest", "--host", host, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["id"], facts["state"], facts["finished"]) == (RUN, "FAILED", "2026-01-01T00:04:24+00:00")
    assert [task["name"] for task in facts["tasks"] if task["retries"]] == ["train-2"]


def test_status_without_a_run_lists_the_newest(host: str, state: State, one: dict[str, Any],
                                               monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.api.calls.PAGE", 3)
    for number in range(8):
        state.create("runs", {"display_name": f"run {number}", "experiment_id": one["experiment_id"]})
    state.create("runs", {"display_name": "somebody else's", "experiment_id": "other"})
    assert main(["status", "--host", host, "--last", "7", "--json"]) == 0
    names = [run["name"] for run in json.loads(capsys.readouterr().out)]
    assert names == [f"run {number}" for number in range(7, 0, -1)]
    assert main(["status", "--host", host]) == 0
    assert capsys.readouterr().out.count("PENDING") == 8


def test_status_of_an_experiment_that_does_not_exist_makes_none(host: str, state: State,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--host", host]) == 0
    assert "no runs in stillhouse" in capsys.readouterr().out
    assert not state.things["experiments"]


def test_a_run_can_be_named_by_its_beginning(host: str, state: State, one: dict[str, Any],
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", RUN[:8], "--host", host]) == 0
    state.things["runs"]["other"] = one | {"run_id": RUN[:8] + "-other"}
    assert main(["status", RUN[:8], "--host", host]) == 1
    assert "2 runs of the last 2" in capsys.readouterr().err
    assert main(["status", "ffff", "--host", host]) == 1
    assert "no run of the last 2" in capsys.readouterr().err
    assert main(["status", RUN.replace("5d", "00"), "--host", host]) == 1
    assert "has no run 0008dd3d" in capsys.readouterr().err


def test_logs_are_those_of_the_pods(host: str, state: State, one: dict[str, Any],
                                    capsys: pytest.CaptureFixture[str]) -> None:
    pods = {task.name: task.pods for task in tasks_of(details(whole()))}
    state.logs = {pod: f"log of {pod} \u2713\n".encode() for name in pods for pod in pods[name]}
    state.logs[pods["distill"][0]] = b'{"looks": "like JSON"}'
    assert main(["logs", RUN, "--host", host]) == 0
    said = capsys.readouterr().out
    assert '{"looks": "like JSON"}' in said
    assert f"log of {pods['train-2'][1]} \u2713" in said and pods["train-2"][0] not in said
    assert "==> validate: from the cache, no pod has started" in said
    assert main(["logs", RUN, "train-2", "--host", host]) == 0
    said = capsys.readouterr().out
    assert all(f"log of {pod}" in said for pod in pods["train-2"])
    assert main(["logs", RUN, "train", "--host", host]) == 0
    assert capsys.readouterr().out.count("==>") == 3


def test_a_log_that_is_gone_is_answered_with_a_line_for_kubectl(host: str, state: State, one: dict[str, Any],
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", RUN, "distill", "--host", host]) == 1
    (pod,) = next(task.pods for task in tasks_of(details(whole())) if task.name == "distill")
    said = capsys.readouterr().err
    assert f"kubectl -n kubeflow logs {pod} -c main" in said
    assert "pod not found" in said and "archive" in said


def test_a_task_that_a_run_has_not_is_told_with_its_near_names(host: str, one: dict[str, Any],
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", RUN, "distil", "--host", host]) == 1
    assert "Did you mean 'distill'?" in capsys.readouterr().err


def test_stop_ends_a_run_that_is_under_way_and_leaves_one_that_has_ended(
        host: str, state: State, one: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", RUN, "--host", host]) == 0
    assert "has ended already: FAILED" in capsys.readouterr().out
    assert not state.asked(":terminate")
    one["state"] = "RUNNING"
    assert main(["stop", "latest", "--host", host]) == 0
    assert one["state"] == "CANCELING"


def test_no_command_of_the_server_works_without_an_address(desk: object, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["logs", RUN], ["stop", RUN], ["schedule", "--list"]):
        assert main(command) == 1
        assert "KF_PIPELINES_ENDPOINT" in capsys.readouterr().err
