"""A step run as a task: where artifacts lie, what is written beside them, and what a failure says."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.commands import outcomes, task
from components.storage import receipts
from components.storage.locks import locked


@dataclass
class Handed:
    """What an orchestrator hands over."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**sections: Any) -> str:
    return json.dumps({"runtime": {"tracking": False}} | sections)


SMALL = settings(sample={"count": 72, "size": 16, "pictures": 3})


def test_a_task_writes_its_artifact_and_says_its_digest(tmp_path: Path) -> None:
    data = Handed(str(tmp_path / "deep/down/data"))
    task.run_task("sample", "sample", SMALL, {"data": data})
    assert data.metadata["digest"] == receipts.verify(Path(data.path))
    assert data.metadata["step"] == "sample"


def test_collected_artifacts_are_known_by_the_names_in_their_heads(tmp_path: Path) -> None:
    models = []
    for number, name in enumerate(("wide", "thin")):
        folder = tmp_path / f"iteration-{number}" / "model"
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps({"name": name}))
        models.append(Handed(str(folder)))
    folder = task.place(models, tmp_path / "teachers")
    assert {path.name: path.resolve() for path in folder.iterdir()} == {
        "wide": tmp_path / "iteration-0/model", "thin": tmp_path / "iteration-1/model"}


def test_a_failing_task_says_cause_and_remedy_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        task.run_task("sample", "sample", settings(sample={"counts": 72}), {"data": Handed(str(tmp_path / "data"))})
    assert ended.value.code == 1
    assert "sample.counts is not a setting" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_task_that_is_told_to_try_again_does_so_until_the_moment_is_better(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STILLHOUSE_TRIES", "50")
    monkeypatch.setenv("STILLHOUSE_TRY_WAIT", "0.05")
    data = Handed(str(tmp_path / "data"))
    with ExitStack() as held, ThreadPoolExecutor(1) as other:
        held.enter_context(locked([tmp_path / "data"]))
        other.submit(lambda: (time.sleep(0.5), held.close()))
        task.run_task("sample", "sample", SMALL, {"data": data})
    assert data.metadata["digest"] == receipts.verify(Path(data.path))
    said = capsys.readouterr().err
    assert f"{data.path} is being written by" in said and "try 1 of 50; the next in 0." in said


def test_a_task_gives_up_after_its_tries_with_the_code_that_says_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STILLHOUSE_TRIES", "3")
    monkeypatch.setenv("STILLHOUSE_TRY_WAIT", "0.01")
    with locked([tmp_path / "data"]), pytest.raises(SystemExit) as ended:
        task.run_task("sample", "sample", SMALL, {"data": Handed(str(tmp_path / "data"))})
    assert ended.value.code == 75
    said = capsys.readouterr().err
    assert said.count("the next in") == 2 and said.count("remedy: wait until it has ended") == 1


def test_a_task_leaves_how_it_ended_where_the_run_keeps_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_OUTCOMES", str(tmp_path / "outcomes"))
    monkeypatch.setenv("KFP_RUN_ID", "a-run")
    task.run_task("sample", "sample", SMALL, {"data": Handed(str(tmp_path / "data"))})
    with pytest.raises(SystemExit):
        task.run_task("validate", "validate", settings(validate={"seconds": -1.0}), {})
    left = outcomes.left()
    assert left["sample"].state == "done"
    assert (left["validate"].state, left["validate"].code) == ("failed", 1)
    assert "validate.seconds is -1.0" in left["validate"].cause


@pytest.mark.parametrize(("index", "again"), [("0", True), ("1", False)])
def test_another_pod_does_not_try_what_the_first_found_wrong(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: str,
        again: bool) -> None:
    monkeypatch.setenv("STILLHOUSE_OUTCOMES", str(tmp_path / "outcomes"))
    monkeypatch.setenv("KFP_RUN_ID", "a-run")
    outcomes.leave(outcomes.Outcome("sample", "failed", "the cause", "the remedy", 1))
    monkeypatch.setenv("KFP_RETRY_INDEX", index)
    data = Handed(str(tmp_path / "data"))
    if again:  # a run that its user started again by hand counts from 0
        task.run_task("sample", "sample", SMALL, {"data": data})
        assert outcomes.left()["sample"].state == "done"
        return
    with pytest.raises(SystemExit) as ended:
        task.run_task("sample", "sample", SMALL, {"data": data})
    assert ended.value.code == 1
    assert "the cause (found by an earlier pod" in capsys.readouterr().err


def test_unfit_images_are_an_answer_with_outputs_that_say_why(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STILLHOUSE_OUTCOMES", str(tmp_path / "outcomes"))
    monkeypatch.setenv("STILLHOUSE_RUN", "a-run")
    (tmp_path / "images/train/red").mkdir(parents=True)
    (tmp_path / "images/train/red/nothing.jpg").touch()
    ports = {name: Handed(str(tmp_path / "out" / name)) for name in ("manifest", "report", "metrics")}
    fit = task.run_task("validate", "validate", settings(validate={"policy": "fail"}),
                        {"source": Handed(str(tmp_path / "images")), **ports})
    assert fit == "unfit"
    assert "the policy is to fail on findings" in capsys.readouterr().err
    assert "the policy is to fail on findings" in Path(ports["report"].path).read_text()
    assert json.loads(Path(ports["metrics"].path).read_text()) == {} and Path(ports["manifest"].path).exists()
    assert outcomes.left()["validate"].state == "unfit"


def test_a_lost_pod_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_OUTCOMES", str(tmp_path / "outcomes"))
    monkeypatch.setenv("KFP_RUN_ID", "a-run")
    monkeypatch.setenv("KFP_RETRY_INDEX", "1")
    outcomes.leave(outcomes.Outcome("sample", "failed", "terminated", "", 143))
    task.run_task("sample", "sample", SMALL, {"data": Handed(str(tmp_path / "data"))})


def test_confusions_are_counted_from_the_rows_that_evaluate_wrote(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"tasks": [
        {"name": "a/b", "classes": ["red", "blue", "white"]}, {"name": "other", "classes": []}]}))
    rows = "actual,predicted\nred,red\nred,blue\nwhite,red\nred,blue\n"
    (tmp_path / "confusion").mkdir()
    (tmp_path / "confusion/distilled-a%2Fb.csv").write_text(rows)
    (tmp_path / "confusion/thin-a%2Fb.csv").write_text("actual,predicted\n")
    assert task.tasks_with_matrix(tmp_path) == ["a/b"]
    assert task.confusion_matrix("a/b", tmp_path, tmp_path) == (
        ["red", "blue", "white"], [[1, 2, 0], [0, 0, 0], [1, 0, 0]])
