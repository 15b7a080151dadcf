"""Retries as `kfp.local` shows them: the wrapper in the pod tries again what may pass, and nothing else."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import Cluster, Retries

pytestmark = pytest.mark.slow


def run_one(tmp_path: Path, fetch: dict[str, Any]) -> None:
    """Compile a pipeline of one task and run it here."""
    from kfp import compiler, dsl

    from pipeline import kubeflow_tasks
    from pipeline.kubeflow import run_here
    from pipeline.kubeflow_pods import in_pod

    text = json.dumps({"fetch": fetch, "runtime": {"tracking": False, "work": str(tmp_path / "work"),
                                                  "reports": str(tmp_path / "reports")}})
    cluster = Cluster(retries=Retries(tries=2, wait=0.01))

    @dsl.pipeline(name="one-task")
    def one() -> None:
        in_pod(kubeflow_tasks.fetch(settings=text), "fetch", cluster, cached=False)

    compiler.Compiler().compile(one, str(tmp_path / "one.yaml"))
    run_here(tmp_path / "one.yaml", tmp_path / "root")


def test_a_server_that_is_away_is_asked_again_and_then_given_up(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with pytest.raises(RuntimeError, match="fetch"):
            run_one(tmp_path, {"repository": "s3://bucket", "path": ""})
    said = capfd.readouterr().out
    assert "try 1 of 2; the next in" in said and "try 2 of 2" not in said
    assert "remedy:" in said and "Traceback" not in said


def test_what_the_user_must_mend_is_tried_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="fetch"):
        run_one(tmp_path, {"repository": str(tmp_path / "nothing"), "path": "x"})
    said = capfd.readouterr().out
    assert "the next in" not in said and "remedy:" in said and "Traceback" not in said
