"""`submit` against a loopback server: what is uploaded and asked for, and that one commit is one run."""

import json
import re
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_server import IMAGE, State

from components.errors import TryAgain
from pipeline.__main__ import main
from pipeline.api import connection
from pipeline.api.access import Access
from pipeline.api.records import Run
from pipeline.api.tasks import Task
from pipeline.submit import submit as start
from pipeline.waiting import tell, wait_for

CANARY = "c4n4ry-t0ken-that-nobody-may-see"


def submit(host: str, *options: str) -> int:
    return main(["submit", "--host", host, *options])


def submitted(host: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert submit(host, "--json", *options) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_a_submit_uploads_a_version_and_starts_a_run_of_it(host: str, state: State,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(host) == 0
    said = capsys.readouterr().out
    run, version = state.only("runs"), state.only("versions")
    assert f"{host}/#/runs/details/{run['run_id']}" in said
    assert re.fullmatch("stillhouse-3f2a9c1d4e5f-[0-9a-f]{12}", version["display_name"])
    assert version["tags"]["commit"] == "3f2a9c1d4e5f60718293a4b5c6d7e8f901234567"
    assert run["pipeline_version_reference"] == {
        "pipeline_id": state.only("pipelines")["pipeline_id"], "pipeline_version_id": version["pipeline_version_id"]}
    assert run["experiment_id"] == state.only("experiments")["experiment_id"]
    assert state.only("experiments")["display_name"] == "stillhouse"
    (spec, *_) = yaml.safe_load_all(state.packages[version["pipeline_version_id"]])
    inputs = {name: one["defaultValue"] for name, one in spec["root"]["inputDefinitions"]["parameters"].items()}
    assert run["runtime_config"]["parameters"] == inputs
    assert json.loads(inputs["student_settings"])["student"]["epochs"] == 2
    assert [item["teacher"] for item in inputs["teachers"]] == ["deep", "broad"]


def test_what_the_cluster_file_says_of_runs_stands_in_the_request(host: str, desk: Path, state: State) -> None:
    (desk / "infra/kubeflow.yaml").write_text(f"""\
image: {{name: "{IMAGE}"}}
server: {{experiment: 100% cotton + wool, pipeline: garments, root: "s3://bucket/runs", service_account: runner,
         ui: "https://kubeflow.example.com/pipeline"}}
mlflow: {{plugin: true, experiment: garments}}
""")
    assert submit(host, "--name", "by hand") == 0
    run = state.only("runs")
    assert run["display_name"] == "by hand"
    assert run["service_account"] == "runner"
    assert run["runtime_config"]["pipeline_root"] == "s3://bucket/runs"
    assert run["plugins_input"] == {"mlflow": {"experiment_name": "garments"}}
    assert state.only("pipelines")["display_name"] == "garments"
    assert submit(host, "--name", "by hand") == 0
    assert state.only("experiments")["display_name"] == "100% cotton + wool", "found again in spite of its characters"


@pytest.mark.parametrize(("mlflow", "sent"), [
    ("{}", None), ("{plugin: true}", None), ("{no_plugin: true}", {"mlflow": {"disabled": True}})])
def test_a_server_is_told_of_its_plugin_only_what_the_cluster_file_asks_for(
        host: str, state: State, desk: Path, mlflow: str, sent: dict[str, Any] | None) -> None:
    (desk / "infra/kubeflow.yaml").write_text(f"image: {{name: '{IMAGE}'}}\nmlflow: {mlflow}\n")
    assert submit(host) == 0
    assert state.only("runs").get("plugins_input") == sent


def test_a_second_submit_finds_the_run_that_is_under_way(host: str, state: State,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    first, second = submitted(host, capsys), submitted(host, capsys)
    assert (first["new"], second["new"]) == (True, False)
    assert first["run"] == second["run"]
    assert len(state.things["versions"]) == len(state.things["runs"]) == 1


def test_a_run_that_has_ended_is_no_reason_not_to_start_another(host: str, state: State,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    submitted(host, capsys)
    for ended in ("SUCCEEDED", "FAILED", "CANCELED", "CANCELING"):
        for run in state.things["runs"].values():
            run["state"] = ended
        assert submitted(host, capsys)["new"]
    assert len(state.things["versions"]) == 1, "the same bytes are the same version"


def test_again_starts_a_second_run_which_a_plain_submit_then_finds(host: str, state: State,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    first = submitted(host, capsys)
    assert submitted(host, capsys, "--again")["run"] != first["run"]
    assert submitted(host, capsys)["run"] == first["run"]
    assert len(state.things["runs"]) == 2


def test_other_settings_are_another_version(host: str, state: State) -> None:
    assert submit(host) == 0
    assert submit(host, "--set", "student.epochs=3") == 0
    assert len({run["pipeline_version_reference"]["pipeline_version_id"] for run in state.things["runs"].values()}) == 2


def test_two_submits_at_once_leave_one_run_under_way_and_one_version(host: str, state: State) -> None:
    meetings = {kind: threading.Barrier(2) for kind in ("experiments", "pipelines", "versions", "runs")}

    def together(kind: str) -> None:
        meetings[kind].wait(timeout=20)  # both have looked, none has found anything

    state.before_create = together
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(submit(host))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    assert sorted(run["state"] for run in state.things["runs"].values()) == ["CANCELING", "PENDING"]
    assert len(state.things["versions"]) == len(state.things["pipelines"]) == len(state.things["experiments"]) == 1


def test_of_two_runs_made_in_one_second_both_submits_keep_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers date runs by the second: the other one, first by its id, may come after this one has been made."""
    made, ended = [], []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ours, other = (Run(letter, "", "PENDING", description="stillhouse k\n", created=now) for letter in "ba")
    monkeypatch.setattr("pipeline.api.calls.runs", lambda *place: list(made))
    monkeypatch.setattr("pipeline.api.calls.create_run", lambda *request: made.append(ours) or ours)
    monkeypatch.setattr("pipeline.api.calls.terminate", lambda connection, run: ended.append(run))
    monkeypatch.setattr("pipeline.submit.time.sleep", lambda seconds: seconds > 1 and made.append(other))
    nowhere: Any = None
    kept, fresh = start(nowhere, {"experiment_id": "e", "description": "stillhouse k\n"})
    assert (kept.id, fresh, ended) == (other.id, False, [ours.id])


@pytest.mark.parametrize("where", ["POST .*experiments", "POST .*pipelines$", "upload_version", "POST .*/runs$"])
def test_a_lost_answer_makes_nothing_twice(host: str, state: State, where: str) -> None:
    state.fail(where, "lost")
    assert submit(host) == 0
    assert {kind: len(things) for kind, things in state.things.items()} == {
        "experiments": 1, "pipelines": 1, "versions": 1, "runs": 1, "recurringruns": 0}


def test_a_dry_run_speaks_to_no_server(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(host, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert not state.requests
    assert submit(host) == 0
    assert told["version"] == state.only("versions")["display_name"]
    assert told["run"].items() <= state.only("runs").items(), "what it told is what is sent"


@pytest.mark.parametrize(("ended", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_wait_tells_what_happens_and_ends_with_the_code_of_the_run(
        host: str, state: State, capsys: pytest.CaptureFixture[str], ended: str, code: int) -> None:
    def play() -> None:
        while not state.asked("GET .*/runs/"):
            pass
        state.fail("GET .*/runs/", 503, 2)
        tasks = [{"display_name": "distill-driver", "pod_name": "w-driver-1", "state": "SUCCEEDED"},
                 {"display_name": "distill", "pod_name": "w-dag-2", "state": ended,
                  "child_tasks": [{"pod_name": "w-3"}]},
                 {"display_name": "executor", "pod_name": "w-impl-3", "state": ended}]
        state.only("runs").update(state=ended, run_details={"task_details": tasks})

    playing = threading.Thread(target=play)
    playing.start()
    assert submit(host, "--wait") == code
    playing.join()
    told = capsys.readouterr().err
    assert re.search(f"distill +{ended}", told) and re.search(f"the run +{ended}", told)
    if code:
        assert f"ended as {ended} in distill" in told or ended == "CANCELED"
        assert f"logs {state.only('runs')['run_id']}" in told


def test_a_run_is_followed_while_the_server_is_away(host: str, state: State, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    run = submitted(host, capsys)["run"]
    state.only("runs")["state"] = "SUCCEEDED"
    monkeypatch.setattr(connection, "PATIENCE", 0.0)
    connected = connection.connect(Access(host, host))
    state.fail("GET .*/runs/", "reset", times=3)
    assert wait_for(connected, run).state == "SUCCEEDED"
    state.fail("GET .*/runs/", "reset", times=9)
    monkeypatch.setattr("pipeline.waiting.AWAY", 0.01)
    with pytest.raises(TryAgain, match="cannot be reached"):
        wait_for(connected, run)


def test_a_pod_that_does_not_start_is_spoken_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    task = Task("train-1", "PENDING", pods=("stillhouse-x-train-1",), waiting=datetime(2026, 1, 1, tzinfo=UTC))
    run, known, warned = Run("id", "name", "RUNNING", tasks=(task,)), dict[str, str](), set[str]()
    for _ in range(2):
        tell(run, known, warned, "team-a")
    said = capsys.readouterr().err
    assert said.count("the image is missing; kubectl -n team-a describe pod stillhouse-x-train-1") == 1
    assert len(re.findall("train-1 +PENDING", said)) == 1


def test_a_run_that_takes_too_long_goes_on_when_the_waiting_ends(host: str, state: State,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(host, "--wait", "--timeout", "0.1") == 75
    assert "it goes on" in capsys.readouterr().err
    assert state.only("runs")["state"] == "PENDING"


def test_an_image_that_can_change_is_refused_before_anything_is_sent(host: str, state: State,
                                                                     capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("stillhouse:latest", "registry.example.com/stillhouse"):
        assert submit(host, "--image", name) == 1
        assert "--image" in capsys.readouterr().err
    assert not state.requests


def test_images_that_no_pod_sees_are_refused_before_anything_is_sent(host: str, state: State, desk: Path,
                                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(host, "--set", "data.path=images") == 1
    assert "data.path is images, which pods do not see" in capsys.readouterr().err
    assert not state.requests
    assert submit(host, "--set", "data.path=s3://bucket/images") == 0
    (desk / "infra/kubeflow.yaml").write_text(
        f"image: {{name: '{IMAGE}'}}\npods: {{volumes: [{{claim: data, path: /data}}]}}\n")
    assert submit(host, "--set", "data.path=/data/images") == 0


def test_changes_that_are_not_committed_are_spoken_of(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline import package

    monkeypatch.undo()
    monkeypatch.chdir(desk)
    assert package.changed_files() == 0, "outside git"
    subprocess.run(["git", "init", "-q"], check=True)
    assert package.changed_files() == 2


def test_no_secret_is_printed_or_sent_but_in_the_header(host: str, state: State, monkeypatch: pytest.MonkeyPatch,
                                                        capfd: pytest.CaptureFixture[str]) -> None:
    state.token = CANARY
    monkeypatch.setenv("KF_PIPELINES_TOKEN", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert submit(host) == 0
    state.fail("POST .*/runs$", 400, words=f"bad request with Bearer {CANARY} in it")
    assert submit(host, "--again", "--debug") == 1
    state.token = "another"
    assert submit(host, "--json") == 1
    said = capfd.readouterr()
    assert "***" in said.err
    assert CANARY not in said.out + said.err
    assert len(state.received) > 10 and not any(CANARY.encode() in one for one in state.received)
