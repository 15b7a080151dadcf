"""What `stillhouse suggest` writes and says, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest
from small_models import seal, write_photographs, write_small_model
from small_stores import drawn, write_store

from components.cli import main
from components.data.dataset import Dataset
from components.probabilities.suggestions import MEASURES


def suggested(root: Path, *more: str) -> int:
    return main(["suggest", "--dataset", str(root / "dataset"), "--probabilities", str(root / "store"), "--out",
                 str(root / "out"), *more])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_ranking_and_a_page_are_written_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    assert suggested(tmp_path, "--count", "5", "--task", "kind") == 0
    assert "5 images to label next" in capsys.readouterr().out
    rows = read(tmp_path / "out" / "suggestions.csv")
    assert list(rows[0]) == ["rank", "id", "path", "split", *MEASURES, "distance", "suggested.kind", "probability.kind"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    kinds = dict(zip(sayings.dataset.samples["id"], sayings.dataset.samples["kind"], strict=True))
    assert {kinds[row["id"]] for row in rows} == {-1}
    assert rows[0]["distance"] == ""
    assert all(float(row["distance"]) > 0 for row in rows[1:])
    assert all(row["path"].startswith("'@") and not row["suggested.kind"].startswith("=") for row in rows)
    assert max(float(row["entropy"]) for row in rows) == float(rows[0]["entropy"])
    assert (tmp_path / "out" / "page.html").read_text().count("<article") == 5


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    drawn(tmp_path)
    content = []
    for _ in range(2):
        assert suggested(tmp_path, "--labelled", "--split", "val", "--by", "disagreement") == 0
        content.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert content[0] == content[1]
    assert str(tmp_path).encode() not in content[0]["suggestions.json"]


def test_images_can_differ_by_the_embedding_of_a_model(tmp_path: Path) -> None:
    import numpy as np

    dataset = Dataset.open(write_photographs(tmp_path / "dataset"))
    write_small_model(tmp_path / "model", "student", dataset)
    chance = np.random.default_rng(0)
    said = {task.name: chance.dirichlet([1.0] * len(task.classes), (len(dataset), 2)) for task in dataset.tasks}
    seal(write_store(tmp_path / "store", dataset, {"a": said}).path, "teach")
    assert suggested(tmp_path, "--labelled", "--count", "6", "--model", str(tmp_path / "model")) == 0
    with_model = read(tmp_path / "out" / "suggestions.csv")
    assert json.loads((tmp_path / "out" / "suggestions.json").read_text())["model"] is not None
    assert suggested(tmp_path, "--labelled", "--count", "6") == 0
    without = read(tmp_path / "out" / "suggestions.csv")
    assert with_model[0]["id"] == without[0]["id"]
    assert [row["distance"] for row in with_model[1:]] != [row["distance"] for row in without[1:]]


def test_one_voice_cannot_disagree_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    dataset = drawn(tmp_path / "other").dataset
    dataset.path.rename(tmp_path / "dataset")
    dataset = Dataset.open(tmp_path / "dataset")
    said = {"kind": np.full((90, 1, 3), 1 / 3), "trim": np.full((90, 1, 2), 0.5)}
    write_store(tmp_path / "store", dataset, {"a": said})
    assert suggested(tmp_path, "--by", "disagreement") == 0
    assert "cannot disagree" in capsys.readouterr().err


def test_nothing_to_label_and_nonsense_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    assert suggested(tmp_path, "--split", "nowhere") == 1
    assert "no sample in nowhere lacks a label of kind, trim" in capsys.readouterr().err
    assert suggested(tmp_path, "--count", "0") == 2
    assert not (tmp_path / "out").exists()
