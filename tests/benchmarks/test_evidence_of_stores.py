import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import write_photographs, write_small_model
from small_stores import KIND, identities, write_samples, write_store

from benchmarks import distillation
from benchmarks.datasets import half_labelled
from benchmarks.distillation import PLAIN, ROWS, STORES, TEACHERS, Evidence, folder_of, make_missing, needed, wanted
from benchmarks.one_distillation import by_text, first_views, settings_of
from components.contract import load_step, run_step
from components.data.augment_settings import Augment
from components.data.dataset import Dataset
from components.data.loader import Batches, as_batch
from components.models.outputs import Outputs
from components.probabilities.store import Store
from components.runtime import Runtime
from components.teach import Teach

NAMES = [PLAIN, "mean, 16 views", "replayed, 1 view", "live teacher"]
ACCURACY = {PLAIN: 0.70, "mean, 16 views": 0.73, "replayed, 1 view": 0.66, "live teacher": 0.72}


class Maker:
    """Stands for the processes that make rows, teachers and stores; dies at the n-th."""

    def __init__(self, dies_at: int = -1) -> None:
        self.asked: list[tuple[str, int]] = []
        self.datasets: dict[str, str] = {}
        self.dies_at = dies_at
        self.lock = threading.Lock()

    def __call__(self, module, dataset, wish, seed):
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        needs = {name: path for name, path in wish["folders"].items() if name not in ROWS and path != wish["own"]}
        assert all(Path(path).exists() for path in needs.values())
        assert wish["bar"] == ({"accuracy": 0.7, "loss": 1.0} if wish.get("by") == "store" else {})
        name = Path(wish["own"]).name.rpartition("-")[0].rpartition("-")[0]
        with self.lock:
            self.asked.append((name, seed))
            self.datasets[name] = dataset
        accuracy = next((value for key, value in ACCURACY.items() if key.replace(" ", "-") == name), 0.8) + seed / 100
        figures = {"accuracy": accuracy, "balanced_accuracy": 0.5, "log_loss": 1.0}
        made = {"val": figures, "test": figures, "held_out": figures, "train": figures, "cpu_seconds": 60.0}
        if wish["kind"] != "row":
            Path(wish["own"]).mkdir(parents=True)
            return made | {"epochs": 3, "views": 16, "bytes": 3400, "samples": 10}
        heard = {"heard": {}, "bytes_a_sample": 340.0} if wish["by"] == "store" else {}
        return made | heard | {"epochs": 20, "epoch_seconds": 3.0}


def go_on(monkeypatch, path: Path, maker: Maker, data: str = "d", jobs: int = 1, names=NAMES) -> Evidence:
    monkeypatch.setattr(distillation, "answer_of", maker)
    results = Evidence.read(path / "distillation.json")
    results.under = {"data": data, "machine": "m"}
    left = wanted(results, names, 2, path / "scratch")
    make_missing(results, {"all": Path("dataset"), "half": Path("half")}, path / "scratch", left, jobs)
    return results


def test_what_a_row_needs_is_made_once_and_before_it(monkeypatch, tmp_path):
    maker = Maker()
    go_on(monkeypatch, tmp_path, maker)
    assert maker.asked == [
        ("plain", 0), ("plain", 1), ("teacher-deep", 0), ("store-deep", 0), ("mean,-16-views", 0),
        ("mean,-16-views", 1), ("replayed,-1-view", 0), ("store-deep", 1), ("replayed,-1-view", 1),
        ("live-teacher", 0), ("live-teacher", 1)]


def test_several_at_once_make_the_same_as_one_after_the_other(monkeypatch, tmp_path):
    one, three = Maker(), Maker()
    go_on(monkeypatch, tmp_path / "one", one)
    go_on(monkeypatch, tmp_path / "three", three, jobs=3)
    assert sorted(one.asked) == sorted(three.asked)
    assert (tmp_path / "one" / "distillation.md").read_bytes() == (tmp_path / "three" / "distillation.md").read_bytes()


@pytest.mark.parametrize("dies_at", range(11))
def test_a_run_that_is_cut_off_anywhere_goes_on_where_it_was(monkeypatch, tmp_path, dies_at):
    whole, first, second = Maker(), Maker(dies_at), Maker()
    go_on(monkeypatch, tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        go_on(monkeypatch, tmp_path / "cut", first)
    go_on(monkeypatch, tmp_path / "cut", second)
    assert first.asked + second.asked == whole.asked
    for name in ("distillation.json", "distillation.md"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_rows_of_other_data_or_settings_are_made_again_and_no_others(monkeypatch, tmp_path):
    go_on(monkeypatch, tmp_path, Maker())
    monkeypatch.setitem(ROWS, "live teacher", {**ROWS["live teacher"], "distill": {"temperature": 2.0}})
    again, other = Maker(), Maker()
    go_on(monkeypatch, tmp_path, again)
    assert again.asked == [("live-teacher", 0), ("live-teacher", 1)]
    go_on(monkeypatch, tmp_path, other, data="other")
    assert len(other.asked) == 11


def test_a_teacher_with_other_settings_is_trained_again_with_all_that_follows_from_it(monkeypatch, tmp_path):
    go_on(monkeypatch, tmp_path, Maker())
    monkeypatch.setitem(TEACHERS, "deep", {**TEACHERS["deep"], "epochs": 1})
    again = Maker()
    go_on(monkeypatch, tmp_path, again)
    assert len(again.asked) == 9 and ("plain", 0) not in again.asked


def test_a_store_that_was_removed_is_made_again_where_a_row_is_missing(monkeypatch, tmp_path):
    results = go_on(monkeypatch, tmp_path, Maker())
    folder_of(results, tmp_path / "scratch", "store deep", 0).rmdir()
    none, some = Maker(), Maker()
    go_on(monkeypatch, tmp_path, none)
    content = json.loads((tmp_path / "distillation.json").read_text())
    del content["rows"]["mean, 16 views/1"]
    (tmp_path / "distillation.json").write_text(json.dumps(content))
    go_on(monkeypatch, tmp_path, some)
    assert none.asked == [] and some.asked == [("store-deep", 0), ("mean,-16-views", 1)]


def test_the_page_tells_gains_their_errors_and_what_is_missing(monkeypatch, tmp_path):
    go_on(monkeypatch, tmp_path, Maker())
    page = (tmp_path / "distillation.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[1] == "| mean, 16 views | 2 | 73.5 ± 0.7 | +3.0 ± 0.7 | 73.5 ± 0.7 | 1.000 | 3.00 | 340 |"
    assert [line.split(" | ")[0] for line in rows[1:5]] == ["| mean, 16 views", "| live teacher", "| plain",
                                                            "| replayed, 1 view"]
    assert ("Best from a store: mean, 16 views, +3.0 points over the plain student; the larger deviation of the two "
            "over seeds is 0.7.") in page
    assert "| deep, 1 | 16 and the untouched image | 20.0 | 60 |" in page
    assert "any, 16 views" in page.splitlines()[-1] and "live teacher;" not in page.splitlines()[-1]


def test_what_knows_half_of_the_labels_is_held_against_the_plain_student_that_does(monkeypatch, tmp_path):
    monkeypatch.setitem(ACCURACY, "plain, half of the labels", 0.70)
    monkeypatch.setitem(ACCURACY, "mean, 16 views, half of the labels", 0.76)
    maker = Maker()
    go_on(monkeypatch, tmp_path, maker, names=[PLAIN, "mean, 16 views, half of the labels"])
    halves = ["plain,-half-of-the-labels", "teacher-half", "store-half", "mean,-16-views,-half-of-the-labels"]
    assert maker.datasets == {"plain": "dataset"} | dict.fromkeys(halves, "half")
    page = (tmp_path / "distillation.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| mean, 16 views, half of the labels |")]
    assert row.split(" | ")[2:4] == ["76.5 ± 0.7", "+6.5"], "of its own plain student there is one seed"


def test_half_of_the_labels_of_every_class_are_hidden(tmp_path):
    source = tmp_path / "source"
    for split, count in (("train", 9), ("val", 4), ("test", 4)):
        for kind, hue in (("round", 40), ("square", 200)):
            (source / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng([hue, len(split), number]).integers(0, 255, (24, 24, 3), np.uint8)
                Image.fromarray(pixels).save(source / split / kind / f"{number}.png")
    dataset = Dataset.open(half_labelled(source, tmp_path / "half", 24))
    labels = {split: dataset.labels(dataset.tasks[0])[dataset.rows(split)] for split in ("train", "val", "test")}
    assert dataset.tasks[0].classes == ("round", "square")
    assert np.bincount(labels["train"] + 1).tolist() == [8, 5, 5]
    assert len(labels["val"]) == len(labels["test"]) == 8 and (labels["val"] >= 0).all() and (labels["test"] >= 0).all()


def test_every_row_stands_for_settings_and_names_what_it_needs():
    for name in ROWS:
        wish = distillation.wish_of(name)
        settings = settings_of(wish, 3)
        assert settings.seed == 3
        assert settings.student.epochs == (40 if "40 epochs" in name or name == "plain, half of the labels" else 20)
        assert (settings.match == "exact") == ("replayed" in name or name == "plain, mixed views")
        for need, seed in needed(name, 3):
            assert need.startswith(PLAIN) or distillation.wish_of(need)["kind"] in ("teacher", "store")
            assert seed == (3 if "replayed" in name and need.startswith("store") else 0)
    assert all(set(store["teachers"]) <= set(TEACHERS) for store in STORES.values())


def test_the_first_views_of_a_store_are_the_store_of_fewer_views(tmp_path):
    dataset = Dataset.open(write_photographs(tmp_path / "dataset"))
    write_small_model(tmp_path / "teachers" / "deep", "deep", dataset, 0)
    for views in (4, 2):
        wish = Teach(views=views, augment=Augment(), teachers=("deep",), seed=7, runtime=Runtime(
            tracking=False, threads=1, device="cpu", work=str(tmp_path / "work"), reports=str(tmp_path / "reports")))
        run_step(load_step("teach"), wish, "teach", {
            "dataset": tmp_path / "dataset", "teachers": tmp_path / "teachers", "probabilities": tmp_path / str(views),
            "metrics": tmp_path / f"{views}.json"})
    cut, asked = Store.open(first_views(Store.open(tmp_path / "4"), 2)), Store.open(tmp_path / "2")
    assert cut.head == asked.head and not list(cut.problems())
    for task in dataset.tasks:
        rows = np.arange(len(dataset))
        assert np.array_equal(cut.log_probabilities("deep", task.name, rows),
                              asked.log_probabilities("deep", task.name, rows))
    assert first_views(Store.open(tmp_path / "4"), 2) == cut.path


def test_text_of_two_decimals_replaces_labels(tmp_path):
    count, task, chance = 40, KIND, np.random.default_rng(0)
    columns = {"id": identities(count), "split": ["train"] * 30 + ["val"] * 10,
               "kind": chance.integers(0, 3, count).astype(np.int32)}
    dataset = write_samples(tmp_path / "dataset", columns, [task])
    said = chance.dirichlet(np.ones(3), (count, 2))
    store = write_store(tmp_path / "store", dataset, {"deep": {"kind": said}})
    wish = {"student": {"epochs": 1, "batch": 8, "sizes": [8]}, "store": "deep",
            "folders": {"store deep": str(store.path)}}
    goal, facts = by_text(wish, settings_of(wish, 0), dataset)
    rows = np.arange(8)
    labels = torch.from_numpy(dataset.labels(task)[rows])
    batch = as_batch(Batches(dataset, [(rows, 1)], 0, None)[0], {"kind": labels}, torch.ones(8))
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    losses, _ = goal.objective(Outputs({"kind": logits}, torch.empty(8, 1), torch.empty(8, 1, 1, 1)), batch)
    target = np.round(np.exp(np.log(said[:8, 0]).astype(np.float16).astype(np.float64)), 2)
    log = np.log(np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True))
    expected = -(target * log).sum(axis=1) + np.where(target > 0, target * np.log(np.maximum(target, 1e-9)), 0).sum(1)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert facts["bytes_a_sample"] == len("@123456.png,0.12,0.34,0.54\n")
