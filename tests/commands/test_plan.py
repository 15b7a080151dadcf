"""What `stillhouse teach --plan` prints, and that the store it plans has that size."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_models import write_photographs, write_small_model
from small_stores import write_samples, write_store

from components.cli import main
from components.data.dataset import Dataset
from components.data.tasks import Task

PARAMS = "teachers: {deep: {}, broad: {}}\nstudent: {epochs: 6}\nruntime: {tracking: false, threads: 1}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    dataset = Dataset.open(write_photographs(tmp_path / "dataset"))
    for seed, name in enumerate(("deep", "broad")):
        write_small_model(tmp_path / "teachers" / name, name, dataset, seed)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    assert main(["teach", "--plan", "--dataset", "dataset", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_store_that_was_planned_has_the_size_that_was_told(
        root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = [word for value in ("teach.embedding=true", "teach.views=2", "seed=20261", "student.augment.mix.mixup=0.5",
                                 "distill.match=exact") for word in ("--set", value)]
    found = planned(capsys, "--teachers", "teachers", *more)
    assert main(["teach", "--dataset", "dataset", "--teachers", "teachers", "--probabilities", "p", "--metrics",
                 "m.json", *more]) == 0
    files = [path for path in (root / "p").rglob("*") if path.is_file() and path.name != "receipt.json"]
    actual = sum(path.stat().st_size for path in files)
    (only,) = found["plans"]
    assert only["size"] == actual
    assert (only["views"], only["k"]) == (2, 0)
    assert only["hours"] > 0 and set(found["rates"]) == {"deep", "broad"}
    assert 0 <= only["costs"]["3.0"]["mean"] < 1e-4


def test_a_budget_in_hours_is_turned_into_views(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hours = 2 * 60 * (4 + 1) / 100 / 3600
    found = planned(capsys, "--rate", "100", "--hours", str(hours * 1.001))
    assert [one["views"] for one in found["plans"]] == [4]
    found = planned(capsys, "--rate", "100", "--hours", "50")
    assert [one["views"] for one in found["plans"]] == [6], "more views than epochs are of no use"


def test_folds_make_everyone_judge_what_no_copy_has_learnt(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset.open(root / "dataset")
    rows, learnt = len(dataset), len(dataset.rows("train"))
    folds = ["--rate", "100", "--set", "teach.views=1", "--set", "teach.folds=3"]
    (only,) = planned(capsys, *folds)["plans"]
    assert only["hours"] == pytest.approx(2 * 2 * (learnt + 3 * (rows - learnt)) / 100 / 3600)
    assert main(["teach", "--plan", "--dataset", "dataset", *folds]) == 0
    assert "3 copies of each teacher are trained first" in capsys.readouterr().out
    assert main(["teach", "--plan", "--dataset", "dataset", "--set", "teach.folds=5000"]) == 1
    assert "set teach.folds to at most" in capsys.readouterr().err


def test_the_page_says_that_dense_is_cheaper_and_what_to_write(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teach", "--plan", "--dataset", "dataset", "--gb", "1"]) == 0
    out = capsys.readouterr().out
    assert "dense is cheaper than any k for every task" in out
    assert "was not measured: name --probabilities or --teachers" in out
    assert "dtype: the same plan takes 16.1 kB as float16 and 27.9 kB as float32\n" in out
    assert out.endswith("take:\n\nteach:\n  views: 6\n  k: 0\n  dtype: float16\n")


def many(root: Path) -> None:
    """A Dataset of a task of many classes and one of few, and a store of what sharp models say of it."""
    tasks, count = (Task("many", "single", tuple(map(str, range(300)))), Task("few", "single", ("a", "b"))), 80
    columns = {"id": [f"{number:064x}" for number in range(count)], "split": ["train"] * count, "many": [0] * count,
               "few": [1] * count}
    dataset = write_samples(root / "large", columns, tasks)
    logits = np.random.default_rng(0).normal(size=(count, 2, 300)) * 6
    powers = np.exp(logits)
    said = {"many": powers / powers.sum(axis=2, keepdims=True), "few": np.full((count, 2, 2), 0.5)}
    write_store(root / "said", dataset, {"deep": said})


def test_truncation_is_measured_on_a_store_and_decides(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many(root)
    more = ["--dataset", "large", "--probabilities", "said", "--set", "student.epochs=100"]
    gb = "0.0004"
    found = json.loads(told(capsys, *more, "--gb", gb, "--json"))
    views, losses = ({one["k"]: value(one) for one in found["plans"]}
                     for value in (lambda one: one["views"], lambda one: one["costs"]["3.0"]["mean"]))
    assert list(views) == [0, 5, 10, 20, 50, 100]
    assert views[5] > views[10] > views[50] > views[0] and losses[5] > losses[10] > losses[50] > losses[0]
    between = (losses[20] + losses[10]) / 2
    strict = json.loads(told(capsys, *more, "--gb", gb, "--json", "--tolerance", str(between)))
    assert strict["plans"][strict["chosen"]]["k"] == 20
    out = told(capsys, *more, "--gb", "0.0001", "--tolerance", "1e-9")
    assert "no plan loses less than 1e-09 nats at temperature 3; this one loses least" in out
    assert "few: dense is cheaper than k = 5, 10, 20, 50, and is what those plans take" in out


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["teach", "--plan", *arguments]) == 0
    return capsys.readouterr().out


def test_what_half_precision_loses_is_measured_and_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, count = Task("many", "single", tuple(map(str, range(30)))), 80
    columns = {"id": [f"{number:064x}" for number in range(count)], "split": ["train"] * count, "many": [0] * count}
    dataset = write_samples(root / "large", columns, (task,))
    logits = np.random.default_rng(0).normal(size=(count, 2, 30)) * 9
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    write_store(root / "said", dataset, {"deep": {"many": powers / powers.sum(axis=2, keepdims=True)}}, dtype="float32")
    more = ["--dataset", "large", "--probabilities", "said", "--set", "teach.views=3"]
    both = json.loads(told(capsys, *more, "--json"))["dtypes"]
    losses = {dtype: one["costs"]["3.0"]["mean"] for dtype, one in both.items()}
    assert 0 <= losses["float32"] < 1e-9 < losses["float16"] < 1e-4
    assert both["float32"]["size"] - both["float16"]["size"] == pytest.approx(2 * 80 * 4 * 30 * 2, abs=20)
    out = told(capsys, *more, "--tolerance", "1e-9")
    assert "loses more than 1e-09, float32 does not: --set teach.dtype=float32 plans with it" in out
    out = told(capsys, *more, "--tolerance", "1e-9", "--set", "teach.dtype=float32")
    assert out.endswith("  dtype: float32\n")
    half, full = (f"{losses[dtype]:.2g}" for dtype in ("float16", "float32"))
    assert f"in all, float16 loses {half} nats at temperature 3, float32 {full}\n" in out
    many(root / "half")
    out = told(capsys, "--dataset", "half/large", "--probabilities", "half/said")
    assert "cannot be measured on a store of float16: name --teachers" in out and "in all" not in out


def test_what_cannot_be_planned_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many(root)
    for arguments, words in [
        (["--gb", "0.000001"], "the budget does not buy one view: it takes"),
        (["--hours", "1"], "needs to know how fast the teachers judge"),
        (["--gb", "-1"], "--gb is -1.0; expected more than 0"),
        (["--set", "teachers={}"], "params.yaml names no teachers"),
    ]:
        assert main(["teach", "--plan", "--dataset", "dataset", *arguments]) in (1, 2)
        assert words in capsys.readouterr().err


def test_a_truncated_store_is_no_measure(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many(root)
    from components.probabilities.store import Store

    store = Store.open(root / "said")
    said = {task.name: np.exp(store.log_probabilities("deep", task.name, np.arange(80))) for task in store.tasks}
    write_store(root / "cut", Dataset.open(root / "large"), {"deep": said}, k=5)
    assert main(["teach", "--plan", "--dataset", "large", "--probabilities", "cut"]) == 1
    assert "keeps the likeliest 5 classes of many only" in capsys.readouterr().err


def test_an_embedding_of_unknown_width_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teach", "--plan", "--dataset", "dataset", "--set", "teach.embedding=true"]) == 0
    assert "embeddings are not counted" in capsys.readouterr().err
