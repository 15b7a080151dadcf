"""A step run as a task: where artifacts lie, what is written beside them, and what a failure says."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.commands import task
from components.errors import UserError
from components.storage import receipts


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


def test_a_task_writes_its_artifact_and_says_its_digest(tmp_path: Path) -> None:
    data = Handed(str(tmp_path / "deep/down/data"))
    task.run_task("sample", "sample", settings(sample={"count": 72, "size": 16, "pictures": 3}), {"data": data})
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
    with pytest.raises(UserError):
        task.run_task("sample", "sample", settings(sample={"counts": 72}), {"data": Handed(str(tmp_path / "data"))})
    assert "sample.counts is not a setting" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


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
