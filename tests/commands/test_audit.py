"""What `stillhouse audit` writes and says, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest
from small_models import seal
from small_stores import drawn

from components.cli import main
from components.storage import receipts


def audited(root: Path, *more: str) -> int:
    return main(["audit", "--dataset", str(root / "dataset"), "--probabilities", str(root / "store"), "--out",
                 str(root / "out"), *more])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_findings_figures_and_page_are_written_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    assert audited(tmp_path) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.csv", "audit.json", "page.html"]
    rows, figures = read(tmp_path / "out" / "audit.csv"), json.loads((tmp_path / "out" / "audit.json").read_text())
    assert figures["tasks"]["kind"]["held_out"]["flagged"] == sum(
        row["task"] == "kind" and row["judged"] == "held_out" for row in rows)
    assert list(rows[0]) == ["path", "split", "judged", "task", "label", "given", "suggested", "probability",
                             "suggested_probability", "margin", "score", "rank", "id"]
    assert all(row["path"].startswith("'@") for row in rows), "no spreadsheet takes a path for a formula"
    assert not any(row[name].startswith("=") for row in rows for name in ("given", "suggested"))
    told = capsys.readouterr()
    assert "kind, held out: " in told.out
    assert "findings in train are weak" in told.err
    assert str(tmp_path) not in (tmp_path / "out" / "audit.json").read_text()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    drawn(tmp_path)
    content = []
    for _ in range(2):
        assert audited(tmp_path, "--policy", "weight") == 0
        content.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert content[0] == content[1]
    assert set(content[0]) == {"audit.csv", "audit.json", "manifest.csv", "page.html", "weights.csv"}


def test_a_policy_touches_train_alone_unless_it_is_told_otherwise(tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path)
    assert audited(tmp_path, "--policy", "quarantine") == 0
    rows = read(tmp_path / "out" / "audit.csv")
    splits = dict(zip(sayings.dataset.samples["id"], sayings.dataset.samples["split"], strict=True))
    gone = [row["sha256"] for row in read(tmp_path / "out" / "quarantine.csv")]
    assert {splits[name] for name in gone} == {"train"}
    assert len(gone) == len({row["path"] for row in rows if row["split"] == "train"})
    assert f"policy: {len(gone)} samples" in capsys.readouterr().out
    assert audited(tmp_path, "--policy", "quarantine", "--everywhere") == 0
    assert len(read(tmp_path / "out" / "quarantine.csv")) == len({row["path"] for row in rows})


def test_what_an_earlier_policy_wrote_does_not_stay(tmp_path: Path) -> None:
    drawn(tmp_path)
    assert audited(tmp_path, "--policy", "weight") == 0
    assert audited(tmp_path) == 0
    assert not (tmp_path / "out" / "weights.csv").exists()


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    (tmp_path / "out").mkdir()
    assert audited(tmp_path) == 0, "an empty one is"
    (tmp_path / "out" / "audit.json").rename(tmp_path / "out" / "mine.json")
    assert audited(tmp_path) == 1
    assert "holds no audit.json" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine.json").is_file()


def test_tasks_and_sources_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    assert audited(tmp_path, "--task", "trim", "--source", "wide") == 0
    figures = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (list(figures["tasks"]), figures["sources"]) == (["trim"], ["wide"])
    assert audited(tmp_path, "--task", "trimm") == 1
    assert "Did you mean 'trim'?" in capsys.readouterr().err


def test_with_folds_there_is_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path, folds=5)
    assert audited(tmp_path) == 0
    assert "weak" not in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["out_of_fold"] is True


def test_a_store_of_another_version_of_the_dataset_is_joined_with_a_warning(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    seal(tmp_path / "dataset", "index")
    assert audited(tmp_path) == 0
    assert "another version of the Dataset" in capsys.readouterr().err
    figures = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (figures["dataset"], figures["probabilities"]) == (receipts.digest(tmp_path / "dataset"), None)


def test_what_is_no_artifact_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tmp_path)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    assert audited(tmp_path) == 1
    assert "store is no store: it has no probabilities.json" in capsys.readouterr().err
