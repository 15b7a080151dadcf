"""Runs are read back from a real database with MLflow's own client; servers are really dead, and really there."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from small_steps import Brew, run_brew

from components import cli
from components.contract import Input, Output, Port, Step, run_step
from components.errors import UserError
from components.runtime import Runtime
from components.tracking.journal import kept_journals, log_figure, log_metrics
from components.tracking.runs import PATIENCE
from components.tracking.where import DEFAULTS

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "small_steps.py"), "--tracking"]
KEPT = Path(".stillhouse/journal")
TRACKED = Brew(runtime=Runtime())


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    told = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "STILLHOUSE_RUN", "DVC_EXP_NAME", "KFP_RUN_ID", "BREW")
    for name in (*DEFAULTS, *told):
        monkeypatch.delenv(name, raising=False)
    yield


def client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")


def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps connections by address: in one process a relative one would lead to another test's file."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")


def runs() -> dict[str, Run]:
    reader = client()
    found = reader.get_experiment_by_name("stillhouse")
    return {run.info.run_name: run for run in reader.search_runs([found.experiment_id])}


def history(run: Run, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client().get_metric_history(run.info.run_id, name))


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def bottle(settings: Brew, /, *, dataset: Input, metrics: Output) -> None:
    """The last step of a pipeline."""
    metrics.write_text(json.dumps({"bottles": 12}))


EXPORT = Step("export", bottle, Brew, {"dataset": Port("input"), "metrics": Port("output")})


def export(settings: Brew = TRACKED) -> dict[str, Any]:
    given = {"dataset": Path("data/wash"), "metrics": Path("reports/bottle/metrics.json")}
    return run_step(EXPORT, settings, "bottle", given)


def test_a_step_is_a_child_of_its_pipeline_run_with_all_that_is_known_of_it(
        capsys: pytest.CaptureFixture[str]) -> None:
    facts = run_brew(Path(), TRACKED)
    child = runs()["brew"]
    parent = client().get_run(child.data.tags["mlflow.parentRunId"])
    assert facts["mlflow_run"] == child.info.run_id
    assert (child.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert child.data.params == {"brew.strength": "1", "brew.washes": "[]"}
    assert history(child, "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert child.data.metrics["test/taste"] == 0.5 and child.data.metrics["work/litres_per_second"] == 2.5
    tags = child.data.tags
    assert tags["output.wash"] == facts["outputs"]["wash"] and tags["input.sugar"] == facts["inputs"]["sugar"]
    assert [tags[f"stillhouse.{name}"] for name in ("step", "section", "key")] == ["brew", "brew", facts["key"]]
    assert {file.path for file in client().list_artifacts(child.info.run_id)} == {"metrics.json", "plots", "receipts"}
    local = client().download_artifacts(child.info.run_id, "plots/curve.png")
    assert Path(local).read_bytes() == b"\x89PNG\r\n\x1a\n"
    assert not kept_journals(KEPT) and not list(KEPT.iterdir()) and "warning" not in capsys.readouterr().err


def test_steps_of_one_pipeline_run_share_a_parent_and_the_last_adds_the_skipped(
        monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_brew(Path(), Brew(strength=3))  # an earlier pipeline run, untracked
    monkeypatch.setenv("STILLHOUSE_RUN", "it's friday")
    export()
    found = runs()
    parent = found["it's friday"]
    assert parent.info.status == "FINISHED" and parent.data.params["brew.strength"] == "3"
    children = [found["brew"], found["bottle"]]
    assert len(found) == 3 and all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    cached = found["brew"]
    assert cached.data.tags["cached"] == "true" and cached.data.tags["output.wash"] == made["outputs"]["wash"]
    assert cached.data.params["brew.strength"] == "3" and cached.data.metrics["test/taste"] == 0.5
    assert found["bottle"].inputs.dataset_inputs[0].dataset.digest == made["outputs"]["wash"][:32]
    export()
    assert len(client().search_runs([parent.info.experiment_id])) == 4  # one more child, nothing twice


def test_the_key_is_the_experiment_s_or_that_of_commit_settings_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.tracking.keys import pipeline_of

    plain = pipeline_of({"source": "abc"})
    assert plain == pipeline_of({"source": "abc"}) != pipeline_of({"source": "abd"})
    Path("params.yaml").write_text("seed: 1\n")
    assert pipeline_of({"source": "abc"}).key != plain.key
    for variable in ("KFP_RUN_ID", "DVC_EXP_NAME", "STILLHOUSE_RUN"):  # each outranks the one before
        monkeypatch.setenv(variable, f"by {variable}")
        assert pipeline_of({}).key == f"by {variable}"


def test_a_queued_experiment_of_dvc_lands_in_the_database_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    project, copy = Path().absolute(), Path(".dvc/tmp/exps/tmp1")
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    run_brew(Path(), TRACKED)
    assert not Path("mlflow.db").exists()
    monkeypatch.chdir(project)
    child = runs()["brew"]
    assert Path("mlartifacts").is_dir() and not Path(".dvc/tmp/exps/tmp1/mlartifacts").exists()
    assert Path(client().download_artifacts(child.info.run_id, "metrics.json")).exists()


def test_a_run_that_was_handed_to_us_is_filled_and_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    run_brew(Path(), TRACKED)
    given = client().create_run("1", run_name="given")
    client().log_param(given.info.run_id, "brew.strength", "as the launcher spells it")
    monkeypatch.setenv("MLFLOW_RUN_ID", given.info.run_id)
    facts = run_brew(Path(), Brew(strength=2, runtime=Runtime()))
    again = client().get_run(given.info.run_id)
    assert facts["mlflow_run"] == given.info.run_id and again.info.status == "RUNNING"
    assert again.data.metrics["test/taste"] == 0.5 and "mlflow.parentRunId" not in again.data.tags
    assert len(client().search_runs(["1"])) == 3


def test_a_failed_step_is_marked_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREW", "fail")
    with pytest.raises(UserError):
        run_brew(Path(), TRACKED)
    child = runs()["brew"]
    assert child.info.status == "FAILED" and child.data.tags["stillhouse.error"] == "the wash boiled over"


def test_a_terminated_step_is_marked_killed_and_a_killed_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    run_brew(Path(), TRACKED)
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(PROGRAM, env=os.environ | {"BREW": "hang"}, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while b"run_id" not in b"".join(file.read_bytes() for file in KEPT.glob("*.state")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        process.wait()
        time.sleep(1.5 if number == signal.SIGKILL else 0)
        last = client().search_runs(["1"], "attributes.run_name = 'brew'", order_by=["attributes.start_time DESC"])[0]
        assert last.info.status == "KILLED"
        assert len(kept_journals(KEPT)) == (number == signal.SIGKILL)
    before = len(client().search_runs(["1"]))
    assert cli.main(["track"]) == 0 and not kept_journals(KEPT)
    assert len(client().search_runs(["1"])) == before


def test_a_dead_server_costs_one_warning_and_little_time_and_the_journal_is_sent_later(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hidden@127.0.0.1:{unused_port()}")
    started = time.monotonic()
    facts = run_brew(Path(), TRACKED)
    assert time.monotonic() - started < 25 and facts["mlflow_run"] == ""  # 4 s where nothing else runs
    said = capsys.readouterr().err
    kept = kept_journals(KEPT)
    assert said.count("\n") == 1 and "MLFLOW_TRACKING_URI is http://127.0.0.1" in said and "hidden" not in said
    assert len(kept) == 1 and str(kept[0]) in said and "stillhouse track" in said
    assert not any(b"hidden" in file.read_bytes() for file in Path().rglob("*") if file.is_file())
    assert cli.main(["track"]) == 75 and kept_journals(KEPT) == kept
    in_process(monkeypatch)
    assert cli.main(["track"]) == 0 and not list(KEPT.iterdir())
    child = runs()["brew"]
    assert child.info.status == "FINISHED" and history(child, "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_a_server_that_takes_calls_and_never_answers_is_left_in_bounded_time(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(PATIENCE, "connecting", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        run_brew(Path(), TRACKED)
        assert time.monotonic() - started < 20
    assert "is kept" in capsys.readouterr().err and len(kept_journals(KEPT)) == 1


def test_sending_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    from components.tracking.journal import Journal
    from components.tracking.mlflow_client import Server
    from components.tracking.runs import opening
    from components.tracking.sender import Sending

    journal = Journal(KEPT, "brew")
    journal.append(opening("brew", "brew", Runtime(), {"strength": 1}, {}, {}))
    for epoch in range(1500):
        journal.append({"kind": "metrics", "step": epoch, "values": {"loss": 1 / (epoch + 1), "nan": float("nan")}})
    first = Sending(journal.path, Server)
    first.end_killed()
    second = Sending(journal.path, Server)
    second.end_killed()
    journal.close()
    assert first.run_id == second.run_id and len(runs()) == 2
    values = history(runs()["brew"], "loss")
    assert values == [(epoch, 1 / (epoch + 1)) for epoch in range(1500)]


@pytest.mark.parametrize("trouble", ["locked", "damaged", "no mlflow"])
def test_no_trouble_of_mlflow_s_fails_a_step(
        trouble: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(PATIENCE, "connecting", 2.0)
    if trouble == "damaged":
        Path("mlflow.db").write_bytes(b"no database at all, but long enough to be read as one" * 100)
    if trouble == "no mlflow":
        Path("sitecustomize.py").write_text("import sys\nsys.modules['mlflow'] = None\n")
        monkeypatch.setenv("PYTHONPATH", str(Path().absolute()))
    holder = sqlite3.connect("mlflow.db" if trouble == "locked" else ":memory:")
    holder.execute("BEGIN EXCLUSIVE")
    facts = run_brew(Path(), TRACKED)
    holder.close()
    assert Path("data/wash/receipt.json").exists() and facts["mlflow_run"] == ""
    assert "MLflow did not take this step" in capsys.readouterr().err and len(kept_journals(KEPT)) == 1


def test_a_folder_that_takes_no_journal_costs_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    facts = run_brew(Path(), Brew(runtime=Runtime(work="file/work")))
    assert facts["mlflow_run"] == "" and "nothing of this step goes to MLflow" in capsys.readouterr().err


def test_tracking_may_be_switched_off() -> None:
    facts = run_brew(Path())
    assert facts["mlflow_run"] == "" and not KEPT.exists() and not Path("mlflow.db").exists()


def test_logging_costs_microseconds_and_outside_a_step_nothing() -> None:
    from components.tracking.journal import Journal, activate, deactivate

    log_metrics({"loss": 1.0})
    log_figure("x.png", b"")
    journal = Journal(KEPT, "x")
    activate(journal)
    times = []
    for step in range(2000):
        started = time.perf_counter()
        log_metrics({"loss": 0.5, "accuracy": 0.25}, step)
        times.append(time.perf_counter() - started)
    deactivate(journal)
    journal.close()
    assert sorted(times)[1000] < 1e-3  # 10 microseconds on a quiet machine


@pytest.mark.slow
def test_a_real_server_is_filled_while_the_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///server.db", "--port",
               str(port), "--host", "127.0.0.1", "--workers", "1", "--artifacts-destination", "store"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 120
        while not answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        facts = run_brew(Path(), TRACKED)
        reader = MlflowClient(f"http://127.0.0.1:{port}")
        run = reader.get_run(facts["mlflow_run"])
        assert run.info.status == "FINISHED" and run.data.metrics["test/taste"] == 0.5
        assert {file.path for file in reader.list_artifacts(run.info.run_id)} == {"metrics.json", "plots", "receipts"}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
