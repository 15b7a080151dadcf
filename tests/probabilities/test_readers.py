"""Who reads a store reads top-k cells and whole ones alike: a cut store says what its spread form says."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_models import seal
from small_stores import identities, labels_said, write_samples, write_store

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.probabilities.agreement import store_figures
from components.probabilities.auditing import audit, summary
from components.probabilities.sayings import beside, mean
from components.probabilities.store import Store
from components.probabilities.suggestions import Wish, candidates
from components.probabilities.targets import read_targets
from components.probabilities.truth import true_probabilities

GARMENT = Task("garment", "single", tuple(f"class {number}" for number in range(40)))
TRIM = Task("trim", "multi", tuple(f"label {number}" for number in range(25)))


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Dataset, Store, Store]:
    """A Dataset, a store of the likeliest 6, and a store of all classes that says what the first one spreads."""
    chance, count = np.random.default_rng(8), 90
    truth, labels = chance.integers(0, 40, count), chance.integers(0, 2, (count, 25))
    columns = {"id": identities(count), "split": np.array(["train", "val", "test"])[np.arange(count) % 3],
               "garment": np.where(np.arange(count) % 7, truth, -1).astype(np.int32),
               "trim": [np.flatnonzero(row).tolist() if number % 5 else None for number, row in enumerate(labels)]}
    dataset = write_samples(tmp_path / "dataset", columns, (GARMENT, TRIM))
    powers = np.exp(chance.normal(size=(count, 3, 40)) * 2 + 4 * np.eye(40)[truth][:, None])
    said = {source: {"garment": powers / powers.sum(axis=2, keepdims=True),
                     "trim": labels_said(chance, labels, views=3)} for source in ("deep", "wide")}
    cut = write_store(tmp_path / "cut", dataset, said, k=6)
    rows = cut.rows_of(dataset.ids)
    spread = {source: {task.name: np.exp(cut.log_probabilities(source, task.name, rows).astype(np.float64))
                       for task in cut.tasks} for source in cut.sources}
    whole = write_store(tmp_path / "whole", dataset, spread, dtype="float32")
    seal(dataset.path, "index")
    return dataset, cut, whole


def test_the_two_stores_are_kept_as_they_should_be(stores: tuple[Dataset, Store, Store]) -> None:
    _, cut, whole = stores
    assert {form.k for form in cut.forms.values()} == {6} and {form.k for form in whole.forms.values()} == {0}


@pytest.mark.parametrize("match", ["exact", "mean"])
def test_targets_are_the_same(stores: tuple[Dataset, Store, Store], match: str) -> None:
    dataset, *both = stores
    one, other = (read_targets(store, dataset, 2.0, match).by_task for store in both)
    for task in ("garment", "trim"):
        assert np.allclose(one[task], other[task], atol=1e-5)


def test_figures_of_agreement_are_the_same(stores: tuple[Dataset, Store, Store]) -> None:
    dataset, cut, whole = stores
    assert store_figures(cut.path, dataset) == store_figures(whole.path, dataset)


def test_probabilities_of_true_labels_are_the_same(stores: tuple[Dataset, Store, Store]) -> None:
    dataset, cut, whole = stores
    assert np.allclose(true_probabilities(cut, dataset), true_probabilities(whole, dataset), atol=1e-6, equal_nan=True)


def test_audits_and_suggestions_are_the_same(stores: tuple[Dataset, Store, Store]) -> None:
    dataset, cut, whole = stores
    one, other = beside(dataset, cut), beside(dataset, whole)
    for task in dataset.tasks:
        assert np.allclose(mean(one, task, np.arange(90)), mean(other, task, np.arange(90)), atol=1e-6)
    found = summary(audit(one))
    assert found["garment"].keys() == summary(audit(other))["garment"].keys()
    assert found["garment"]["held_out"]["flagged"] == summary(audit(other))["garment"]["held_out"]["flagged"]
    wish = Wish((GARMENT,), 5)
    assert candidates(one, wish)["id"].tolist() == candidates(other, wish)["id"].tolist()


def test_reading_needs_no_order_and_no_neighbours(stores: tuple[Dataset, Store, Store]) -> None:
    _, cut, _ = stores
    order = np.random.default_rng(1).permutation(90)
    columns = order % 3
    together = dataclasses.asdict(cut.sparse("deep", "garment", order, columns))
    for place in (0, 44, 89):
        alone = dataclasses.asdict(cut.sparse("deep", "garment", order[[place]], columns[[place]]))
        assert all(np.array_equal(alone[name][0], together[name][place]) for name in alone if name != "classes")
    assert cut.log_probabilities("deep", "garment", order[:0]).shape == (0, 3, 40)
