"""`teach` with folds: who judges what, what the head says, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from noisy_dataset import write_dataset
from small_models import seal, write_small_model

from components.cli import main
from components.contract import load_step, run_step
from components.data.dataset import Dataset
from components.errors import UserError
from components.losses.ranks import ALONE
from components.models.artifact import load_model
from components.models.inference import logits_of
from components.probabilities.sayings import beside
from components.probabilities.store import Store
from components.settings import Params
from components.storage import receipts
from components.teach import Teach, fold
from components.training.devices import pick_device

PARAMS = """
seed: 3
teachers:
  deep:
    epochs: 2
    batch: 16
    sizes: [20]
    augment: {{flip: 0.0, crop: [1.0, 1.0], erase: 0.0, brightness: 0.0, contrast: 0.0, saturation: 0.0}}
    model:
      name: resnet18
      options: {{layers: [1, 1, 1, 1], channels: [8, 8, 16, 16], stem_type: deep, stem_width: 4}}
student: {{epochs: 1, sizes: [20]}}
teach: {{views: 1, folds: {folds}}}
runtime: {{tracking: false, threads: 1, work: {root}/work, reports: {root}/reports}}
"""


def settings(root: Path, folds: int, *sets: str) -> Params:
    (root / "params.yaml").write_text(PARAMS.format(folds=folds, root=root))
    return Params.load(root / "params.yaml", sets)


def trained(root: Path, *sets: str) -> None:
    run_step(load_step("train"), settings(root, 0, *sets).section("teachers.deep"), "teachers.deep", {
        "dataset": root / "dataset", "model": root / "teachers" / "deep", "metrics": root / "m.json",
        "curves": root / "c.csv"})


def taught(root: Path, folds: int, *sets: str) -> Store:
    run_step(load_step("teach"), settings(root, folds, *sets).section("teach"), "teach", {
        "dataset": root / "dataset", "teachers": root / "teachers", "probabilities": root / f"store{folds}",
        "metrics": root / f"store{folds}.json"})
    return Store.open(root / f"store{folds}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folded")
    write_dataset(root / "dataset", 72)
    seal(root / "dataset", "index")
    trained(root)
    return root


def said_by(path: Path, dataset: Dataset, task: str) -> np.ndarray:
    logits = logits_of(load_model(path), dataset, np.arange(len(dataset)))[task].astype(float)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_each_sample_is_judged_by_the_copy_that_has_not_learnt_from_it(root: Path, tmp_path: Path) -> None:
    """Copies trained beside the step, from the same seed, are the step's own; val and test get the mean of all."""
    store, dataset = taught(root, 3), Dataset.open(root / "dataset")
    wish = settings(root, 3).section("teach")
    assert isinstance(wish, Teach)
    beside_it = fold(wish, dataset, {"deep": root / "teachers" / "deep"}, tmp_path, (pick_device("cpu"), ALONE))
    folds = store.head["folds"]
    assert folds == beside_it.head() and (folds["count"], folds["seed"], folds["by"]) == (3, 3, ["copies"])
    assert len(set(folds["weights"]["deep"])) == 3
    found = np.exp(store.log_probabilities("deep", "shade", store.rows_of(dataset.ids))[:, 0])
    copies = [said_by(path, dataset, "shade") for path in beside_it.models["deep"]]
    for part in range(3):
        rows = beside_it.folds.rows(part)
        assert len(rows) and np.allclose(found[rows], copies[part][rows], atol=2e-3)
    others = np.concatenate([dataset.rows("val"), dataset.rows("test")])
    assert np.allclose(found[others], np.mean([one[others] for one in copies], axis=0), atol=2e-3)
    again = taught(root, 3)
    assert receipts.digest(again.path) == receipts.digest(store.path)
    assert beside(dataset, store).out_of_fold and not list((root / "work").glob("*"))


@pytest.mark.parametrize("folds", [0, 1])
def test_without_folds_teachers_judge_themselves_and_the_head_says_nothing(root: Path, folds: int) -> None:
    store, dataset = taught(root, folds), Dataset.open(root / "dataset")
    assert "folds" not in store.head and not beside(dataset, store).out_of_fold
    found = np.exp(store.log_probabilities("deep", "shade", np.arange(72))[:, 0])
    assert np.allclose(found, said_by(root / "teachers" / "deep", dataset, "shade"), atol=2e-3)


def test_copies_that_are_there_are_not_trained_again(root: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    wish, dataset = settings(root, 3).section("teach"), Dataset.open(root / "dataset")
    assert isinstance(wish, Teach)
    about = (wish, dataset, {"deep": root / "teachers" / "deep"}, tmp_path, (pick_device("cpu"), ALONE))
    first = fold(*about).head()
    monkeypatch.setattr("components.teach.train_copy", lambda *_: pytest.fail("it was there"))
    assert fold(*about).head() == first


def test_vectors_of_copies_are_not_stored(root: Path) -> None:
    with pytest.raises(UserError, match="folds or embedding"):
        settings(root, 3, "teach.embedding=true").section("teach")


def test_a_model_whose_recipe_is_not_known_cannot_be_folded(root: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").symlink_to(root / "dataset")
    write_small_model(tmp_path / "teachers" / "deep", "deep", Dataset.open(root / "dataset"))
    with pytest.raises(UserError, match="was not made by train") as caught:
        taught(tmp_path, 3)
    assert "teach.folds" in caught.value.remedy


def test_a_plan_tells_the_size_of_a_folded_store(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = taught(root, 3)
    assert main(["teach", "--plan", "--dataset", str(root / "dataset"), "--params", str(root / "params.yaml"),
                 "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    files = [file for file in store.path.rglob("*") if file.is_file() and file.name != receipts.NAME]
    assert plan["size"] == pytest.approx(sum(file.stat().st_size for file in files), rel=0.01)
