"""Weights by thresholds of probability: every value has one, the boundary belongs to the threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.curriculum import curriculum_factor, make, paced
from components.data.curriculum_settings import Curriculum
from components.errors import UserError
from components.settings import Params

STEPS, WEIGHTS = (0.7, 0.5, 0.3, 0.0), (1.0, 0.7, 0.4, 0.1)


def test_regression_9_a_probability_that_equals_a_threshold_reaches_it_and_zero_has_a_weight():
    below = np.nextafter(np.array(STEPS), -1)[:3]
    assert make(np.array(STEPS), STEPS, WEIGHTS).tolist() == np.float32(WEIGHTS).tolist()
    assert make(below, STEPS, WEIGHTS).tolist() == np.float32(WEIGHTS[1:]).tolist()
    assert make(np.array([1.0, 0.0, -0.0]), STEPS, WEIGHTS).tolist() == np.float32([1.0, 0.1, 0.1]).tolist()
    assert make(np.array(STEPS, np.float32), STEPS, WEIGHTS).tolist() == np.float32(WEIGHTS).tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sets(st.floats(0.001, 1), max_size=5), st.randoms())
def test_the_weight_is_that_of_the_first_threshold_reached(probabilities, inner, chance):
    steps = [*sorted(inner, reverse=True), 0.0]
    weights = [chance.uniform(0, 2) for _ in steps]
    expected = [next(w for step, w in zip(steps, weights, strict=True) if p >= step) for p in probabilities]
    assert np.array_equal(make(np.array(probabilities), steps, weights), np.float32(expected))


@pytest.mark.parametrize(("steps", "weights", "said"), [
    ((0.3, 0.5, 0.0), (1, 1, 1), "expected falling values"),
    ((0.5, 0.5, 0.0), (1, 1, 1), "expected falling values"),
    ((0.7, 0.5), (1, 1), "down to 0"),
    ((1.2, 0.0), (1, 1), "expected falling values"),
    ((float("nan"), 0.0), (1, 1), "expected falling values"),
    ((), (), "expected falling values"),
    ((0.5, 0.0), (1,), "expected 2 numbers"),
    ((0.5, 0.0), (1, -1), "expected 2 numbers of at least 0"),
])
def test_regression_9_thresholds_out_of_order_are_refused(steps, weights, said):
    with pytest.raises(UserError) as caught:
        make(np.array([0.5]), steps, weights)
    assert said in caught.value.cause and caught.value.remedy


def test_regression_9_a_sample_without_a_probability_is_an_error_unless_it_has_a_weight():
    known = np.array([0.9, np.nan, 0.1, np.nan])
    with pytest.raises(UserError, match="2 of 4 samples have no probability") as caught:
        make(known, STEPS, WEIGHTS)
    assert "curriculum.missing" in caught.value.remedy
    assert make(known, STEPS, WEIGHTS, 0.25).tolist() == np.float32([1.0, 0.25, 0.1, 0.25]).tolist()
    assert make(known, STEPS, WEIGHTS, 0.0).tolist() == np.float32([1.0, 0.0, 0.1, 0.0]).tolist()


def test_weights_move_in_a_line_to_one_and_stay_there():
    weights = np.float32([0.1, 1.0, 3.0])
    walk = np.stack([paced(weights, epoch, 4) for epoch in range(8)])
    assert np.array_equal(walk[0], weights) and np.allclose(walk[4:], 1.0)
    assert np.allclose(np.diff(walk[:5], axis=0), (1 - weights) / 4)
    assert all(np.array_equal(paced(weights, epoch, 0), weights) for epoch in (0, 5, 500))


def test_only_rows_that_are_trained_on_need_a_probability():
    probabilities = np.array([np.nan, 0.6, 0.2, np.nan])
    wish = Curriculum(thresholds=STEPS, weights=WEIGHTS, ramp=2)
    factor = curriculum_factor(probabilities, np.array([1, 2]), wish)
    assert factor(0).tolist() == np.float32([1.0, 0.7, 0.1, 1.0]).tolist() and np.allclose(factor(2), 1.0)
    with pytest.raises(UserError, match="1 of 2 samples"):
        curriculum_factor(probabilities, np.array([1, 3]), wish)


@pytest.mark.parametrize(("text", "said"), [
    ("{thresholds: [0.5, 0.7, 0.0], weights: [1, 1, 1]}", "each below the one before"),
    ("{thresholds: [1.5, 0.0], weights: [1, 1]}", "expected thresholds in [0, 1]"),
    ("{thresholds: [0.7, 0.3], weights: [1, 1]}", "expected thresholds that end with 0"),
    ("{thresholds: [0.7, 0.0], weights: [1]}", "a weight of at least 0 for each of 2 thresholds"),
    ("{thresholds: [0.7, 0.0], weights: [1, -1]}", "a weight of at least 0"),
    ("{weights: [1]}", "for each of 0 thresholds"),
    ("{missing: -1}", "distill.curriculum.missing is -1; expected greater than or equal to 0"),
])
def test_a_wrong_curriculum_is_refused_with_an_example(tmp_path, text, said):
    (tmp_path / "params.yaml").write_text(f"distill: {{curriculum: {text}}}")
    with pytest.raises(UserError) as caught:
        Params.load(tmp_path / "params.yaml")
    assert said in caught.value.cause
