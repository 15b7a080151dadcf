"""Real servers: MLflow on PostgreSQL with its files in an S3 store, and Redis; what is asked of them is asked them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from copies import Project, make_project
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from served import OTHERS, Services, missing, services

from pipeline.services import facts, programs
from pipeline.services.objects import ask, listed

pytestmark = pytest.mark.slow
BREW = [sys.executable, str(Path(__file__).parents[1] / "small_steps.py"), "--tracking"]
STAGES = {"sample", "validate", "index", "teachers.deep", "teachers.broad", "student", "teach", "distill", "evaluate",
          "export"}


@dataclass(frozen=True)
class Served(Project):
    """A copy of the project whose commands know the services."""

    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.variables


@pytest.fixture(scope="module")
def served() -> Iterator[Services]:
    if reason := missing():
        pytest.skip(reason)
    with services() as made:
        yield made


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, served: Services) -> dict[str, str]:
    """The services without users and passwords, known to this process too."""
    variables = served.start()
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def brew(folder: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """One small step as a program of its own."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(BREW, cwd=folder, env=step_environment(variables), text=True, capture_output=True,
                          timeout=120, check=False)


def track(folder: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """`stillhouse track`."""
    command = [sys.executable, "-m", "components", "track"]
    return subprocess.run(command, cwd=folder, env=step_environment(variables), text=True, capture_output=True,
                          timeout=300, check=False)


def kept(folder: Path) -> list[Path]:
    return list((folder / ".stillhouse/journal").glob("*.jsonl"))


def brewed(folder: Path, variables: dict[str, str]) -> str:
    """One small step that has reached MLflow: at once or, on a machine that is busy, by `track`; what was said."""
    done = brew(folder, variables)
    assert done.returncode == 0, done.stderr
    sent = track(folder, variables) if kept(folder) else done
    assert sent.returncode == 0 and not kept(folder), sent.stderr
    return done.stdout + done.stderr + sent.stdout + sent.stderr


def step_environment(variables: dict[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "STILLHOUSE_", "DVC_", "KFP_"))}
    return ours | {"PYTHONPATH": str(Path(__file__).parents[2]), "http_proxy": OTHERS["http_proxy"]} | variables


def runs_of(variables: dict[str, str], wanted: str = "") -> list[Run]:
    client = MlflowClient(variables["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("stillhouse")
    return list(client.search_runs([experiment.experiment_id], wanted)) if experiment else []


def in_database(served: Services, question: str, database: str = "mlflow") -> str:
    """What PostgreSQL itself answers, asked through its own client."""
    known = facts.read(served.folder)
    return programs.database_client(served.folder, known, "psql", "--no-psqlrc", database, "-tAc", question).strip()


@pytest.mark.timeout(1200)
def test_the_whole_pipeline_on_a_server_is_one_parent_with_its_children_and_their_files(
        tmp_path: Path, served: Services, known: dict[str, str]) -> None:
    copy = make_project(tmp_path / "project")
    project = Served(copy.path, known | {"STILLHOUSE_RUN": "on a server"})
    for before, after in (("tracking: false", "tracking: true"), ("epochs: 6", "epochs: 1"), ("views: 12", "views: 2")):
        project.change(before, after)
    project.repro()
    if kept(project.path):
        project.run("stillhouse", "track")
    [parent] = runs_of(known, "tags.`stillhouse.key` = 'on a server'")
    children = {run.info.run_name: run for run in runs_of(known, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")}
    assert children.keys() >= STAGES and not kept(project.path)
    assert {run.info.status for run in (parent, *children.values())} == {"FINISHED"}
    for name, child in children.items():
        assert child.info.artifact_uri.startswith("mlflow-artifacts:")
        for metric, value in local_metrics(project.path, name).items():
            assert child.data.metrics[metric] == value, (name, metric)
    assert int(in_database(served, "SELECT count(*) FROM runs")) >= 1 + len(children)
    assert in_database(served, f"SELECT status FROM runs WHERE run_uuid = '{parent.info.run_id}'") == "FINISHED"
    keys = {key for key, _ in listed(f"{known['AWS_ENDPOINT_URL']}/{programs.BUCKET}")}
    export = children["export"].info
    place = f"mlflow/{export.artifact_uri.partition(':/')[2].lstrip('/')}/exported/model.onnx"
    content, _ = ask("GET", f"{known['AWS_ENDPOINT_URL']}/{programs.BUCKET}/{place}")
    assert place in keys and content == (project.path / "exported/model.onnx").read_bytes()


def local_metrics(root: Path, section: str) -> dict[str, float]:
    """Numbers of a stage's metrics.json that stand under their own name in MLflow: those of no model's weights."""
    file = root / "reports" / section / "metrics.json"
    if not file.exists() or (file.parent / "curves.csv").exists():
        return {}
    found, waiting = {}, [("", json.loads(file.read_text()))]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}/{key}".lstrip("/"), inner) for key, inner in value.items()]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[re.sub(r"[^\w.\- :/]", "_", path)] = float(value)
    assert found or section in ("sample", "export")
    return found


def test_a_run_that_kubeflow_hands_over_is_filled_and_neither_ended_nor_doubled(
        tmp_path: Path, known: dict[str, str]) -> None:
    client = MlflowClient(known["MLFLOW_TRACKING_URI"])
    experiment = client.create_experiment(f"by the launcher {time.time_ns()}")
    given = client.create_run(experiment, run_name="given").info.run_id
    injected = {"MLFLOW_RUN_ID": given, "MLFLOW_EXPERIMENT_ID": experiment}
    before = len(runs_of(known))
    brewed(tmp_path / "a", known | injected)
    run = client.get_run(given)
    assert run.info.status == "RUNNING" and run.data.metrics["test/taste"] == 0.5
    assert len(client.search_runs([experiment])) == 1 and len(runs_of(known)) == before
    assert {file.path for file in client.list_artifacts(given)} == {"metrics.json", "plots", "receipts"}


def test_a_server_killed_amid_a_step_costs_a_warning_and_gets_the_rest_when_it_is_back(
        tmp_path: Path, served: Services, known: dict[str, str]) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    slow = known | {"BREW": "resume", "STILLHOUSE_RUN": f"outage {time.time_ns()}"}  # the step counts for two seconds
    step = subprocess.Popen(BREW, cwd=folder, env=step_environment(slow), text=True, stderr=subprocess.PIPE)
    began = time.monotonic()
    while not (folder / "began").exists():
        assert time.monotonic() - began < 60 and step.poll() is None
        time.sleep(0.02)
    os.killpg(served.process("mlflow"), signal.SIGKILL)
    said = step.communicate(timeout=120)[1]
    assert step.returncode == 0 and said.count("warning:") == 1 and "stillhouse track" in said
    assert (folder / "data/wash/receipt.json").exists() and served.status()["mlflow"].split()[0] == "stopped"
    assert served.start() == known
    done = track(folder, known)
    assert done.returncode == 0 and "1 of 1 journals sent" in done.stdout, done.stderr
    [run] = [run for run in runs_of(known, "attributes.run_name = 'brew'")
             if run.data.tags["mlflow.parentRunId"] == parent_of(known, slow["STILLHOUSE_RUN"])]
    assert run.info.status == "FINISHED" and run.data.metrics["test/taste"] == 0.5
    history = MlflowClient(known["MLFLOW_TRACKING_URI"]).get_metric_history(run.info.run_id, "loss")
    assert sorted((one.step, one.value) for one in history) == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def parent_of(known: dict[str, str], key: str) -> str:
    [run] = runs_of(known, f"tags.`stillhouse.key` = '{key}'")
    return str(run.info.run_id)


def test_with_users_and_passwords_steps_are_let_in_by_theirs_and_no_password_is_in_any_log(
        tmp_path: Path, served: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("flask_wtf") is None:
        pytest.skip("mlflow[auth] (Flask-WTF) is not installed")
    variables = served.start("--auth")
    password = variables["MLFLOW_TRACKING_PASSWORD"]
    told = brewed(tmp_path / "in", variables | {"STILLHOUSE_RUN": "let in"})
    nobody = {name: value for name, value in variables.items() if "PASSWORD" not in name and "USERNAME" not in name}
    stranger = variables | {"MLFLOW_TRACKING_PASSWORD": "not-this-one-canary"}
    for name, some in (("nobody", nobody), ("stranger", stranger)):
        refused = brew(tmp_path / name, some | {"STILLHOUSE_RUN": name})
        again = track(tmp_path / name, some)
        assert (refused.returncode, again.returncode) == (0, 75) and len(kept(tmp_path / name)) == 1
        told += refused.stdout + refused.stderr + again.stdout + again.stderr
    assert track(tmp_path / "stranger", variables).returncode == 0
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, variables[name])
    assert [run.info.status for run in runs_of(variables, "tags.`stillhouse.role` = 'pipeline'")
            if run.info.run_name in ("let in", "stranger", "nobody")] == ["FINISHED"] * 2
    users = in_database(served, "SELECT username, password_hash FROM users", "mlflow_auth")
    assert users.startswith("stillhouse|") and password not in users
    secrets = [password, "not-this-one-canary", *facts.read(served.folder).passwords.values()]
    written = [file for file in (*served.folder.glob("*.log"), *served.folder.glob("*.lock"), *tmp_path.rglob("*"))
               if file.is_file()]
    assert written and not [file for file in written for secret in secrets if secret.encode() in file.read_bytes()]
    assert not [secret for secret in secrets if secret in told]
    processes = [line.read_bytes() for line in Path("/proc").glob("[0-9]*/cmdline") if os.access(line, os.R_OK)]
    assert not [secret for secret in secrets for line in processes if secret.encode() in line]


def test_services_keep_their_data_ports_and_passwords_and_are_started_once(
        tmp_path: Path, served: Services, known: dict[str, str]) -> None:
    key = f"kept {time.time_ns()}"
    brewed(tmp_path / "a", known | {"STILLHOUSE_RUN": key})
    [run] = runs_of(known, f"tags.`mlflow.parentRunId` = '{parent_of(known, key)}'")
    processes = {name: served.process(name) for name in facts.NAMES}
    assert served.start() == known and {name: served.process(name) for name in facts.NAMES} == processes
    redis(known, "SET", "cask", "oak")
    served.stop()
    assert all(line.split()[0] == "stopped" for line in served.status().values())
    assert all(facts.is_free(port) for port in facts.read(served.folder).ports.values())
    assert served.start() == known
    assert b"oak" in redis(known, "GET", "cask")
    client = MlflowClient(known["MLFLOW_TRACKING_URI"])
    assert client.get_run(run.info.run_id).data.metrics["test/taste"] == 0.5
    local = client.download_artifacts(run.info.run_id, "plots/curve.png", str(tmp_path))
    assert Path(local).read_bytes() == b"\x89PNG\r\n\x1a\n"
    modes = {file.name: file.stat().st_mode & 0o077 for file in served.folder.iterdir()}
    assert not any(modes.values()), modes


def test_pages_of_other_hosts_and_origins_are_refused(known: dict[str, str]) -> None:
    import urllib.error
    import urllib.request

    address = f"{known['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search"
    body = json.dumps({"max_results": 1}).encode()
    others = ({"Host": "evil.example.com"}, 403), ({"Origin": "http://evil.example.com"}, 403)
    for headers, status in (({}, 200), *others):
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"} | headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status == status
        except urllib.error.HTTPError as error:
            assert error.code == status


def redis(known: dict[str, str], *words: str) -> bytes:
    """One command to Redis, in its own protocol."""
    password, _, place = known["REDIS_URL"].removeprefix("redis://:").partition("@")
    with socket.create_connection(("127.0.0.1", int(place.partition(":")[2].partition("/")[0])), timeout=10) as link:
        link.sendall(f"AUTH {password}\r\n{' '.join(words)}\r\nPING\r\n".encode())
        said = b""
        while b"+PONG" not in said:
            said += link.recv(256)
    return said
