"""What a plan predicts, against stores that are written and divergences that scipy computes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit, rel_entr
from small_stores import identities

from components.data.dataset import from_hex
from components.data.tasks import Task
from components.errors import UserError
from components.probabilities.heads import folds_head
from components.probabilities.planning import (
    Plan,
    Subject,
    affordable,
    candidates,
    choose,
    plan,
    predicted_bytes,
    whole_tasks,
)
from components.probabilities.truncation import Cost, cost, worst
from components.probabilities.writing import StoreWriter

FEW = Task("few", "multi", ("a", "b", "ü"))
MANY = Task("many", "single", tuple(f"class {number}" for number in range(120)))
HEX = "ab" * 32


def written(folder: Path, subject: Subject, views: int, k: int) -> int:
    """The bytes of a store with the head that `teach` gives it."""
    head = {"tasks": [task.to_json() for task in subject.tasks], "sources": list(subject.sources), "seed": subject.seed,
            "views": list(range(views + 1)), "dataset": HEX, "augmentation": HEX, "code": HEX, "generator": HEX, "k": k,
            "dtype": subject.dtype, "embedding": bool(subject.widths),
            "mixed": subject.mixed,
            "models": dict.fromkeys(subject.sources, HEX),
            "coverage": {split: {"rows": rows, "of": rows} for split, rows in subject.splits.items()}}
    if subject.folds:
        copies = {source: [HEX] * subject.folds for source in subject.sources}
        head["folds"] = folds_head(subject.folds, subject.seed, subject.by, copies)
    writer = StoreWriter(folder, head, from_hex("".join(identities(subject.rows))))
    chance = np.random.default_rng(0)
    for source in subject.sources:
        for shard in writer.unwritten(source):
            shape = (len(writer.rows_of(shard)), views + 1)
            for task in subject.tasks:
                writer.put(source, task.name, shard, np.log(chance.uniform(0.01, 0.5, (*shape, len(task.classes)))))
            if subject.widths:
                writer.put_embedding(source, shard, chance.normal(size=(*shape, subject.widths[source])))
    writer.finish()
    writer.publish(folder / "published")
    return sum(path.stat().st_size for path in (folder / "published").rglob("*") if path.is_file())


@pytest.mark.parametrize(("rows", "views", "k", "more"), [
    (300, 2, 0, {}), (300, 3, 10, {}), (512, 1, 10, {"dtype": "float32"}), (1, 1, 10, {}),
    (300, 2, 0, {"seed": 1234567, "mixed": True}), (300, 2, 0, {"seed": 20, "folds": 3, "by": ("identity",)}),
    (700, 1, 5, {"widths": {"deep": 9, "wide": 16}, "splits": {"train": 600, "val": 100}}),
])
def test_predicted_bytes_are_those_of_the_store_that_is_written(
        tmp_path: Path, rows: int, views: int, k: int, more: dict[str, object]) -> None:
    subject = Subject(rows, (FEW, MANY), ("deep", "wide"), **more)
    predicted, actual = predicted_bytes(subject, views, k), written(tmp_path / "s", subject, views, k)
    assert predicted == actual


def test_a_cell_of_ten_classes_of_a_thousand_costs_at_most_64_bytes_all_files_counted() -> None:
    task = Task("kind", "single", tuple(f"class {number}" for number in range(1000)))
    subject = Subject(50_000, (task,), ("deep",))
    for views in (1, 4, 16):
        sparse, dense = (predicted_bytes(subject, views, k) for k in (10, 0))
        assert sparse / (50_000 * (views + 1)) <= 64
        assert dense / sparse > 30
    assert predicted_bytes(subject, 16, 10) / (50_000 * 17) < 45


def test_imagenet_and_three_hundred_views_take_sixteen_gigabytes_and_dense_three_quarters_of_a_terabyte() -> None:
    task = Task("kind", "single", tuple(f"class {number}" for number in range(1000)))
    subject = Subject(1_281_167, (task,), ("deep",))
    assert predicted_bytes(subject, 299, 10) == pytest.approx(16e9, rel=0.02)
    assert predicted_bytes(subject, 299, 10) == pytest.approx(1_281_167 * (300 * 42 + 32), rel=1e-4)
    assert predicted_bytes(subject, 299, 0) == pytest.approx(0.769e12, rel=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_cost_of_truncation_is_the_divergence_of_the_spread_distribution(temperature: float) -> None:
    chance = np.random.default_rng(4)
    logits = chance.normal(size=(20, 2, 120)) * 4
    values = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    found = cost(values, MANY, 6, "float32", temperature)
    expected = []
    for row in values.reshape(-1, 120):
        order = np.argsort(-row)
        spread = row.copy()
        spread[order[6:]] = np.log(np.exp(row[order[6:]]).mean())
        true, other = (np.exp(one / temperature) / np.exp(one / temperature).sum() for one in (row, spread))
        expected.append(rel_entr(true, other).sum())
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-3)
    assert found.most == pytest.approx(np.quantile(expected, 0.99), rel=1e-3)


def test_the_cost_of_labels_is_the_mean_binary_divergence() -> None:
    labels = Task("labels", "multi", tuple(map(str, range(40))))
    chances = np.random.default_rng(5).uniform(0.01, 0.6, (9, 1, 40))
    found = cost(np.log(chances), labels, 8, "float32", 2.0)
    expected = []
    for row in chances[:, 0]:
        order = np.argsort(-row)
        spread = row.copy()
        spread[order[8:]] = row[order[8:]].mean()
        true, other = (expit(logit(one) / 2) for one in (row, spread))
        expected.append((rel_entr(true, other) + rel_entr(1 - true, 1 - other)).mean())
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-3)


def test_more_classes_cost_less_and_all_of_them_only_the_rounding() -> None:
    logits = np.random.default_rng(6).normal(size=(30, 2, 120)) * 3
    values = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    costs = [cost(values, MANY, k, "float16", 3.0).mean for k in (5, 10, 20, 50, 0)]
    assert all(more > less for more, less in itertools.pairwise(costs))
    assert costs[-1] < 1e-5
    said = {("deep", "many"): values, ("wide", "many"): values * 0 - np.log(120)}
    assert worst(said, (MANY,), (5, "float16"), 3.0) == cost(values, MANY, 5, "float16", 3.0)


def test_a_budget_buys_as_many_views_as_fit_and_no_more() -> None:
    subject = Subject(5000, (FEW, MANY), ("deep",), rates={"deep": 1000.0})
    for k in (0, 10):
        for limits in ((3e6, None), (None, 0.02), (3e6, 0.01)):
            found = affordable(subject, k, 50, limits)
            assert found is not None and found == plan(subject, found.views, k)
            more = plan(subject, found.views + 1, k)
            fits = [limits[0] is None or one.size <= limits[0] for one in (found, more)]
            timely = [limits[1] is None or one.hours <= limits[1] for one in (found, more)]
            assert fits[0] and timely[0] and not (fits[1] and timely[1])
    assert affordable(subject, 0, 50, (None, None)) == plan(subject, 50, 0)
    assert affordable(subject, 0, 50, (1000.0, None)) is None
    assert plan(subject, 3, 0).hours == pytest.approx(5000 * 4 / 1000 / 3600)


def test_hours_need_a_rate() -> None:
    with pytest.raises(UserError, match="how fast the teachers judge"):
        affordable(Subject(10, (FEW,), ("deep",)), 0, 5, (None, 1.0))


def test_only_the_k_that_make_a_difference_are_weighed() -> None:
    assert candidates(Subject(10, (FEW,), ("deep",))) == [0]
    assert candidates(Subject(10, (FEW, MANY), ("deep",))) == [0, 5, 10, 20, 50]
    assert whole_tasks(Subject(10, (FEW, MANY), ("deep",)), 10) == ["few"]
    assert whole_tasks(Subject(10, (FEW, MANY), ("deep",)), 60) == ["few", "many"]


def test_the_plan_to_take_has_the_most_views_within_the_tolerance_then_the_least_loss() -> None:
    def one(views: int, k: int, loss: float | None) -> Plan:
        return Plan(views, k, "float16", 1, None, {} if loss is None else {3.0: Cost(loss, loss)})

    assert choose([one(2, 0, 0.0), one(9, 10, 0.005), one(12, 5, 0.5)], 3.0, 0.01).k == 10
    assert choose([one(30, 0, 0.0), one(30, 10, 0.005)], 3.0, 0.01).k == 0
    assert choose([one(30, 20, 0.002), one(30, 10, 0.005)], 3.0, 0.01).k == 20
    assert choose([one(5, 10, 0.2), one(9, 5, 0.5)], 3.0, 0.01).k == 10
    assert choose([one(3, 0, None), one(8, 10, None), one(8, 5, None)], 3.0, 0.01).k == 10
