"""A store that speaks of some tasks of a Dataset: what makes one, and everyone who reads it back."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_models import seal
from small_stores import KIND, TRIM, drawn, identities, write_samples, write_store

from components.cli import main
from components.data.tasks import Task
from components.probabilities.store import Store


def run(root: Path, *words: str) -> int:
    return main([*words, "--dataset", str(root / "dataset")])


def exported(root: Path, task: str, store: str, out: str = "text") -> int:
    return run(root, "exchange", "export", "--task", task, "--probabilities", str(root / store), "--out",
               str(root / out))


def ensembled(root: Path, out: str, *members: str) -> int:
    return run(root, "ensemble", *(str(root / one) for one in members), "--out", str(root / out), "--metrics",
               str(root / f"{out}.json"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Dataset of two tasks, a store of both, and `one`, imported from its text files about `kind`."""
    sayings = drawn(tmp_path)
    seal(sayings.dataset.path, "index")
    assert exported(tmp_path, "kind", "store") == 0
    files = [str(tmp_path / "text" / f"distill_{name}.txt") for name in ("deep", "wide")]
    assert run(tmp_path, "exchange", "import", *files, "--task", "kind", "--out", str(tmp_path / "one")) == 0
    return tmp_path


def test_what_import_and_ensemble_write_of_one_task_is_an_ensemble_again(root: Path) -> None:
    assert ensembled(root, "first", "one") == 0
    assert ensembled(root, "second", "first") == 0
    first, second = (Store.open(root / name) for name in ("first", "second"))
    assert [task.name for task in second.tasks] == ["kind"]
    rows = np.arange(len(first.ids))
    both = [store.log_probabilities("ensemble", "kind", rows) for store in (first, second)]
    assert np.allclose(*both, atol=1e-6)


def test_members_of_different_tasks_each_speak_of_theirs(root: Path) -> None:
    sayings = drawn(root / "again")
    trims = {"kept": {"trim": np.exp(sayings.store.log_probabilities("deep", "trim", sayings.places))}}
    write_store(root / "trims", sayings.dataset, trims, tasks=[TRIM.to_json()])
    assert ensembled(root, "out", "one", "trims") == 0
    weights = Store.open(root / "out").head["ensemble"]["weights"]
    assert {task: sorted(voices) for task, voices in weights.items()} == {
        "kind": ["distill_deep", "distill_wide"], "trim": ["kept"]}


def test_thresholds_are_those_of_the_task_that_it_speaks_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sayings = drawn(tmp_path, count=300)
    kinds = {"deep": {"kind": np.exp(sayings.store.log_probabilities("deep", "kind", sayings.places))}}
    write_store(tmp_path / "one", sayings.dataset, kinds, tasks=[KIND.to_json()])
    words = ("thresholds", str(tmp_path / "one"), "--out", str(tmp_path / "t.json"), "--precision", "0.6")
    assert run(tmp_path, *words) == 0
    assert list(json.loads((tmp_path / "t.json").read_text())["tasks"]) == ["kind"]
    assert "no member speaks of trim" in capsys.readouterr().err
    assert run(tmp_path, *words, "--task", "trim") == 1
    assert "no member speaks of trim" in capsys.readouterr().err


def test_text_files_audits_and_suggestions_are_made_of_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(root, "kind", "one", "back") == 0
    assert (root / "back" / "distill_distill_deep.txt").read_text().count("\n") == 36
    capsys.readouterr()
    for command in ("audit", "suggest"):
        words = (command, "--probabilities", str(root / "one"), "--out", str(root / command))
        assert run(root, *words) == 0
        assert "the store says nothing of trim" in capsys.readouterr().err
        assert run(root, *words, "--task", "trim") == 1
        assert "one says nothing of trim\n  remedy: name some of kind\n" in capsys.readouterr().err
        assert run(root, *words, "--task", "kid") == 1
        assert "there is no task kid. Did you mean 'kind'?" in capsys.readouterr().err
    assert list(json.loads((root / "audit" / "audit.json").read_text())["tasks"]) == ["kind"]


def other(root: Path, *tasks: Task) -> None:
    """A Dataset of two tasks, and a store of others."""
    columns = {"id": identities(20), "split": ["train"] * 20, "kind": [0] * 20, "trim": [[0]] * 20}
    dataset = write_samples(root / "dataset", columns, (KIND, TRIM))
    said = {task.name: np.full((20, 1, len(task.classes)), 1 / len(task.classes)) for task in tasks}
    write_store(root / "store", dataset, {"deep": said}, tasks=[task.to_json() for task in tasks])


def test_only_the_task_that_is_exported_must_be_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other(tmp_path, KIND, Task("trim", "multi", ("zip", "bow", "lace")))
    assert exported(tmp_path, "kind", "store") == 0
    assert exported(tmp_path, "trim", "store", "more") == 1
    assert "tasks.trim.classes is" in capsys.readouterr().err and not (tmp_path / "more").exists()


def test_a_store_that_shares_no_task_is_refused_with_a_remedy(tmp_path: Path,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    other(tmp_path, Task("hue", "single", ("red", "blue")))
    for code in (exported(tmp_path, "kind", "store"), ensembled(tmp_path, "out", "store")):
        assert code == 1
    told = capsys.readouterr().err
    assert "speaks of hue, and not of kind\n" in told and "speaks of hue, and not of kind, trim\n" in told
    assert "name a store that was made from this Dataset" in told and "dvc repro" not in told
