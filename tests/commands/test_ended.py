"""The report on a run of Argo Workflows: what its exit handler is told, in the words that Argo uses."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.cli import main


def node(name: str, template: str, message: str, **others: str) -> dict[str, str]:
    return {"displayName": name, "templateName": template, "message": message, "phase": "Failed",
            "podName": f"run-{template}-1", "finishedAt": "2026-11-21T20:00:00Z"} | others


# As Argo 4.1 lists them: the pods of a task that is retried, the task, and all that it is part of.
FAILURES = [
    node("stillhouse-x2x", "pipeline", "child 'stillhouse-x2x-1' failed"),
    node("train", "teachers", "child failed"),
    node("train(1:broad)", "train", "retryStrategy.expression evaluated to false"),
    node("train(1:broad)(1)", "train", "main: Error (exit code 1)", podName="run-train-8",
         finishedAt="2026-11-21T20:09:00Z"),
    node("train(1:broad)(0)", "train", "pod deleted", podName="run-train-7", finishedAt="2026-11-21T20:03:00Z"),
]


def reported(folder: Path, state: str, failures: str, *options: str) -> str:
    report = folder / "run.md"
    assert main(["ended", "--state", state, "--failures", failures, "--report", str(report), *options]) == 0
    return report.read_text(encoding="utf-8")


@pytest.mark.parametrize("quoted", [True, False])
def test_a_failed_run_is_told_by_the_last_pod_of_what_failed(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], quoted: bool) -> None:
    text = json.dumps(FAILURES)
    told = reported(tmp_path, "Failed", json.dumps(text) if quoted else text)
    assert told.startswith("# The run has failed")
    assert "**teachers.broad**: main: Error \\(exit code 1\\)" in told
    assert "kubectl logs run-train-8 -c main" in told
    assert "pod deleted" not in told and "child" not in told
    assert capsys.readouterr().out == told


def test_a_run_that_went_well_tells_its_figures(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    values: dict[str, Any] = {"distilled": {"test": {"colour": {"accuracy": 0.875}}}}
    metrics.write_text(json.dumps(values))
    told = reported(tmp_path, "Succeeded", "", "--evaluation", str(metrics), "--verdict", str(tmp_path / "none.json"))
    assert told.startswith("# The run has succeeded")
    assert "0.875" in told


def test_a_pod_that_was_replaced_with_success_is_no_failure(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"distilled": {"test": {"colour": {"accuracy": 0.875}}}}))
    lost = [node("evaluate(0)", "evaluate", "pod deleted")]
    told = reported(tmp_path, "Succeeded", json.dumps(lost), "--evaluation", str(metrics))
    assert "0.875" in told and "failed" not in told


@pytest.mark.parametrize("nothing", ["null", "[]", "", json.dumps("null")])
def test_a_run_of_which_nothing_is_known_is_told_as_well(tmp_path: Path, nothing: str) -> None:
    assert reported(tmp_path, "Error", nothing).startswith("# The run has failed")


def test_what_is_no_list_of_failures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ended", "--state", "Failed", "--failures", "{{workflow.failures}}", "--report",
                 str(tmp_path / "run.md")]) == 2
    assert "--failures is no JSON" in capsys.readouterr().err
    assert not (tmp_path / "run.md").exists()
