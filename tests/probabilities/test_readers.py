"""Who reads a store reads top-k cells and whole ones alike: a cut store says what its spread form says."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_models import seal
from small_stores import identities, labels_said, write_samples, write_store

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError
from components.probabilities.agreement import store_figures
from components.probabilities.auditing import audit, summary
from components.probabilities.sayings import beside, mean
from components.probabilities.store import Store
from components.probabilities.suggestions import Wish, candidates
from components.probabilities.targets import Asked, read_targets
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
    one, other = (read_targets(store, dataset, Asked(2.0, match)).tables for store in both)
    for task in ("garment", "trim"):
        assert np.allclose(one[task], other[task], atol=1e-5)


def test_figures_of_agreement_are_the_same(stores: tuple[Dataset, Store, Store]) -> None:
    dataset, cut, whole = stores
    assert store_figures(cut.path, dataset) == store_figures(whole.path, dataset)


def test_probabilities_of_true_labels_are_the_same(stores: tuple[Dataset, Store, Store]) -> None:
    dataset, cut, whole = stores
    assert np.allclose(*(true_probabilities(store, dataset, dataset.tasks) for store in (cut, whole)), atol=1e-6,
                       equal_nan=True)


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


def test_regression_8_what_teachers_said_is_joined_by_id_precise_and_normalised(tmp_path: Path) -> None:
    """The store's rows run the other way round, and lack two samples: what is left is joined, the rest is told."""
    chance, count = np.random.default_rng(4), 30
    columns = {"id": identities(count), "split": ["train"] * count, "garment": [0] * count, "trim": [[0]] * count}
    dataset = write_samples(tmp_path / "dataset", columns, (GARMENT, TRIM))
    fewer = write_samples(tmp_path / "fewer", {name: values[2:] for name, values in columns.items()}, (GARMENT, TRIM))
    said = {"garment": chance.dirichlet(np.full(40, 0.3), (count, 2)), "trim": chance.uniform(0.01, 1, (count, 2, 25))}
    store = write_store(tmp_path / "s", fewer, {"deep": {task: values[2:] for task, values in said.items()}})
    rows = store.rows_of(dataset.ids)
    assert rows.tolist() == [-1, -1, *range(27, -1, -1)]
    found = np.exp(store.log_probabilities("deep", "garment", rows[2:]).astype(np.float64))
    assert np.allclose(found.sum(axis=2), 1, atol=2e-3)
    large = said["garment"][2:] > 1e-3
    assert (np.abs(found / said["garment"][2:] - 1)[large] < 2e-3).all(), "two decimals are off by half at 0.01"
    assert beside(dataset, store).notes[-1] == "the store covers 28 of 30 samples; the others are left out"
    with pytest.raises(UserError, match="lacks 2 of 30 training samples"):
        read_targets(store, dataset, Asked(2.0, "mean"))


def test_regression_13_neither_the_order_of_sources_nor_that_of_writing_or_files_changes_what_they_say_together(
        tmp_path: Path, stores: tuple[Dataset, Store, Store]) -> None:
    dataset, cut, _ = stores
    rows = cut.rows_of(dataset.ids)
    said = {source: {task.name: np.exp(cut.log_probabilities(source, task.name, rows).astype(np.float64))
                     for task in cut.tasks} for source in cut.sources}
    backwards = write_store(tmp_path / "backwards", dataset, {name: said[name] for name in ("wide", "deep")}, k=6)
    assert (cut.sources, backwards.sources) == (["deep", "wide"], ["wide", "deep"])
    for task in ("garment", "trim"):
        one, other = (read_targets(store, dataset, Asked(2.0, "exact")).tables[task] for store in (cut, backwards))
        assert np.allclose(one, other, atol=2e-3)
    written_late = write_store(tmp_path / "late", dataset, dict(reversed(said.items())), k=6, sources=["deep", "wide"])
    early = write_store(tmp_path / "early", dataset, said, k=6, sources=["deep", "wide"])
    assert {path.relative_to(early.path): path.read_bytes() for path in early.path.rglob("*.*")} == {
        path.relative_to(written_late.path): path.read_bytes() for path in written_late.path.rglob("*.*")}


def test_regression_13_of_equally_likely_classes_the_first_is_kept_and_answers(tmp_path: Path) -> None:
    columns = {"id": identities(4), "split": ["train"] * 4, "garment": [0] * 4, "trim": [[0]] * 4}
    dataset = write_samples(tmp_path / "dataset", columns, (GARMENT, TRIM))
    said = {"garment": np.full((4, 1, 40), 1 / 40), "trim": np.full((4, 1, 25), 0.5)}
    store = write_store(tmp_path / "s", dataset, {"deep": said}, k=3)
    rows, columns_of = np.arange(4), np.zeros(4, np.int64)
    assert store.sparse("deep", "garment", rows, columns_of).indices.tolist() == [[0, 1, 2]] * 4
    assert store.one_view("deep", "garment", rows, columns_of).argmax(axis=1).tolist() == [0] * 4
