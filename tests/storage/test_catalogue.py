"""What was made is found by digest, wherever it lies."""

import json
import shutil
from pathlib import Path

import pytest
from small_steps import Brew, run_brew

from components.storage.catalogue import Catalogue


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_folders_by_receipt_and_files_by_run(tmp_path: Path) -> None:
    facts = run_brew(Path(), Brew(strength=3))
    shutil.move("data/wash", "moved")
    catalogue = Catalogue(Path())
    wash, metrics = catalogue.find(facts["outputs"]["wash"]), catalogue.find(facts["outputs"]["metrics"])
    assert wash is not None and metrics is not None
    assert (wash.path, wash.settings["strength"], wash.here) == (Path("moved"), 3, True)
    assert (metrics.path, metrics.inputs, metrics.here) == (Path("reports/brew/metrics.json"), facts["inputs"], True)
    assert wash.run["key"] == metrics.run["key"] == facts["key"]
    assert catalogue.find("0" * 64) is None


def test_what_was_replaced_is_remembered_as_not_here() -> None:
    old = run_brew(Path())["outputs"]
    run_brew(Path(), Brew(strength=2))
    for name in ("wash", "metrics"):
        made = Catalogue(Path()).find(old[name])
        assert made is not None and not made.here and made.settings["strength"] == 1


def test_hidden_and_foreign_folders_are_left_alone() -> None:
    digest = run_brew(Path())["outputs"]["wash"]
    shutil.rmtree("reports")
    for place in (".git", ".venv", ".dvc/cache", ".stillhouse", "mlruns", "a/b/c/d/e/f"):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree("data/wash", f"{place}/wash")
    shutil.rmtree("data")
    assert Catalogue(Path()).find(digest) is None


def test_damaged_run_files_are_passed_over() -> None:
    digest = run_brew(Path())["outputs"]["wash"]
    for number, text in enumerate(["", "[1]", "7", json.dumps({"x": {"outputs": {}}}), json.dumps({"x": 3})]):
        Path(f"reports/{number}").mkdir()
        Path(f"reports/{number}/run.json").write_text(text)
    assert Catalogue(Path()).find(digest) is not None
