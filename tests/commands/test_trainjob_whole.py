"""A TrainJob whose pods are processes of this machine: two of them train together, and the model comes back sealed."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from fake_cluster import FakeCluster, Machines, serving
from imports import ROOT

from components.commands.task import run_task
from components.storage import receipts
from pipeline.cluster import cluster_of
from pipeline.trainjob import template

pytestmark = pytest.mark.slow

NETWORK = {"name": "resnet18", "options": {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 8]}}
SETTINGS = {"sample": {"count": 78, "size": 24}, "index": {"size": [16, 16]},
            "student": {"model": NETWORK, "epochs": 1, "sizes": [16], "batch": 16},
            "runtime": {"tracking": False, "threads": 1}}


class Handed:
    """What an orchestrator hands over."""

    def __init__(self, path: Path) -> None:
        self.path, self.metadata = str(path), {}


def test_two_pods_train_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    made = {name: Handed(tmp_path / name) for name in ("data", "manifest", "report", "metrics", "dataset", "model",
                                                       "curves")}
    text = json.dumps(SETTINGS)
    run_task("sample", "sample", text, {"data": made["data"]})
    run_task("validate", "validate", text, {"source": made["data"], **{
        name: made[name] for name in ("manifest", "report", "metrics")}})
    run_task("index", "index", text, {"source": made["data"], **{
        name: made[name] for name in ("manifest", "dataset", "metrics")}})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = dict(os.environ) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                                      "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}
    machines = Machines(tmp_path, environment, port)
    facts = {"pods": {"volumes": [{"claim": "work", "path": str(tmp_path)}]},
             "training": {"mode": "trainjob", "nodes": 2, "share": str(tmp_path / "share")}}
    plan = json.loads(template(cluster_of(facts, "kubeflow.yaml"), "train")) | {"poll": 0.2}
    monkeypatch.setenv("STILLHOUSE_TRAINJOB", json.dumps(plan))
    cluster = FakeCluster(machines)
    try:
        with serving(cluster, tmp_path) as config:
            monkeypatch.setenv("KUBECONFIG", str(config))
            run_task("train", "student", text, {name: made[name] for name in ("dataset", "model", "metrics", "curves")})
    finally:
        machines.end()
    assert len(machines.processes) == 2 and len(cluster.deleted) == 1
    assert made["model"].metadata["digest"] == receipts.verify(tmp_path / "model")
    receipt = receipts.read(tmp_path / "model")
    assert (receipt.step, receipt.section) == ("train", "student")
    assert receipt.inputs["dataset"] == receipts.digest(tmp_path / "dataset")
    assert json.loads((tmp_path / "metrics").read_text())["parameters"] > 0 and (tmp_path / "curves").is_file()
    assert not list((tmp_path / "share/jobs").iterdir()), "nothing is left but what others may use"
    assert "TrainJob stillhouse-student-" in capfd.readouterr().err
