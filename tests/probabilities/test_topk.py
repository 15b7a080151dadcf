"""The likeliest classes and what is left, against sorting and sums written out; and how cells keep them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.data.tasks import Task
from components.probabilities.forms import Form, form_of, read_form
from components.probabilities.topk import FLOOR, left_over, likeliest, spread


def said(chance: np.random.Generator, *shape: int, sharpness: float = 3.0) -> np.ndarray:
    """Log-probabilities of a softmax."""
    logits = chance.normal(size=shape) * sharpness
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@settings(deadline=None, max_examples=60)
@given(arrays(np.float16, (3, 7), elements=st.sampled_from([-4.0, -2.0, -1.0, -0.5])), st.integers(1, 7))
def test_the_likeliest_are_those_of_a_sort_of_equals_the_lower_first(values: np.ndarray, k: int) -> None:
    for row, found in zip(values.tolist(), likeliest(values, k).tolist(), strict=True):
        assert found == sorted(range(7), key=lambda place: (-row[place], place))[:k]


def test_what_is_left_is_summed_over_the_others_and_not_taken_from_one() -> None:
    values = np.log(np.array([[1 - 3e-12, 1e-12, 2e-12]]))
    assert left_over(values, np.array([[0]]))[0] == pytest.approx(math.log(3e-12), rel=1e-9)
    assert left_over(values, np.array([[0, 1, 2]]))[0] == FLOOR
    assert left_over(np.full((1, 3), FLOOR), np.array([[0]]))[0] == FLOOR


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("float32", 1e-6)])
def test_a_decoded_cell_has_the_kept_classes_as_they_were_and_equal_parts_for_the_others(
        dtype: str, tolerance: float) -> None:
    values = said(np.random.default_rng(0), 5, 3, 40)
    form = Form(40, 6, dtype)
    found = form.decoded(form.encoded(values))
    for row in range(5):
        for view in range(3):
            order = sorted(range(40), key=lambda place: -values[row, view, place])
            others = math.log(sum(math.exp(values[row, view, place]) for place in order[6:]) / 34)
            for place in order[:6]:
                assert found[row, view, place] == pytest.approx(values[row, view, place], rel=tolerance)
            for place in order[6:]:
                assert found[row, view, place] == pytest.approx(others, rel=tolerance)
    assert np.allclose(np.exp(found.astype(np.float64)).sum(axis=2), 1.0, atol=10 * tolerance)


def test_labels_of_a_multi_task_keep_the_sum_of_their_probabilities() -> None:
    chances = np.random.default_rng(1).uniform(0.001, 0.4, (4, 2, 30))
    form = Form(30, 5, "float32")
    found = np.exp(form.decoded(form.encoded(np.log(chances))))
    assert np.allclose(found.sum(axis=2), chances.sum(axis=2), rtol=1e-5)
    assert (found <= 1).all()


def test_the_sparse_form_is_the_dense_one_class_by_class() -> None:
    values = said(np.random.default_rng(2), 6, 2, 30)
    form = Form(30, 4)
    cells = form.encoded(values)
    sparse = form.sparse(cells[:, 1])
    assert sparse.indices.dtype == np.int64 and sparse.log_probabilities.dtype == np.float32
    assert np.array_equal(sparse.dense(), form.decoded(cells)[:, 1])
    mass = np.exp(sparse.log_probabilities.astype(np.float64)).sum(axis=1)
    assert np.allclose(sparse.residual, 1 - mass, atol=2e-3)
    assert (np.diff(sparse.log_probabilities, axis=1) <= 0).all()


def test_the_sparse_form_of_whole_cells_is_every_class_and_nothing_left() -> None:
    values = said(np.random.default_rng(3), 4, 1, 5)
    sparse = Form(5, 0).sparse(Form(5, 0).encoded(values)[:, 0])
    assert sparse.indices.tolist() == [list(range(5))] * 4
    assert (sparse.residual == 0).all()
    assert np.array_equal(sparse.dense(), values[:, 0].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("classes", [65_536, 65_537])
def test_an_index_is_wide_enough_for_the_last_class(classes: int) -> None:
    form = Form(classes, 2)
    values = np.full((1, 1, classes), -20.0)
    values[0, 0, [classes - 1, 2049]] = [-0.1, -2.5]
    assert form.sparse(form.encoded(values)[:, 0]).indices.tolist() == [[classes - 1, 2049]]
    assert form.cell.itemsize == 2 * (2 if classes <= 65_536 else 4) + 2 * 2 + 2
    assert form.index == ("uint16" if classes <= 65_536 else "uint32")


def test_a_cell_of_ten_classes_takes_forty_two_bytes() -> None:
    assert Form(1000, 10).cell.itemsize == 42
    assert Form(1000, 0).cell.itemsize / 42 > 30
    assert Form(100_000, 10).cell.itemsize == 62


@pytest.mark.parametrize(("classes", "k", "kept"), [(1000, 0, 0), (1000, 10, 10), (10, 4, 4), (10, 5, 0), (3, 3, 0),
                                                    (1000, 499, 499), (1000, 500, 0)])
def test_a_task_is_kept_whole_where_that_takes_no_more_room(classes: int, k: int, kept: int) -> None:
    task = Task("kind", "single", tuple(map(str, range(classes))))
    form = form_of(task, k, "float16")
    assert form.k == kept
    assert read_form(task, form.to_json()) == form


def test_log_probabilities_of_nothing_and_of_certainty_are_kept() -> None:
    values = np.array([[[0.0, -np.inf, -np.inf, -np.inf]]])
    for form in (Form(4, 0), Form(4, 1)):
        found = form.decoded(form.encoded(values))
        assert np.isfinite(found).all()
        assert np.allclose(np.exp(found), [[[1, 0, 0, 0]]])


@settings(deadline=None, max_examples=60)
@given(arrays(np.float64, (2, 1, 9), elements=st.floats(-4e-3, 4e-3)), st.integers(1, 3), st.booleans())
def test_no_class_that_is_not_kept_is_as_likely_as_one_that_is(noise: np.ndarray, k: int, single: bool) -> None:
    """Classes so nearly equal that half precision cannot tell them apart."""
    values = noise - 1
    values = values - np.log(np.exp(values).sum(axis=2, keepdims=True)) if single else values
    form = Form(9, k)
    cells = form.encoded(values)
    found = form.decoded(cells)
    kept = np.zeros(found.shape, bool)
    np.put_along_axis(kept, cells["index"].astype(np.int64), True, axis=2)
    assert (np.where(kept, np.inf, found).max(axis=2, where=~kept, initial=-np.inf)
            < np.where(kept, found, np.inf).min(axis=2)).all()
    assert found[~kept].min() > values.min() - 0.02


def test_spreading_needs_no_other_class() -> None:
    assert spread(np.array([[1, 0]]), np.array([[-0.1, -3.0]]), np.array([FLOOR]), 2).tolist() == [
        [pytest.approx(-3.0), pytest.approx(-0.1)]]
