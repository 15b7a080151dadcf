"""Ends of exact intervals, against sums of binomial probabilities, scipy's own test and closed forms."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.evaluation.shares import lower, reaches, upper

CASES = [(8, 10, 0.95), (0, 5, 0.9), (19, 20, 0.99), (1, 1, 0.5), (7, 7, 0.9), (3, 400, 0.9), (397, 400, 0.95)]


@pytest.mark.parametrize(("right", "of", "confidence"), CASES)
def test_at_an_end_what_was_seen_is_as_rare_as_the_confidence_says(right: int, of: int, confidence: float) -> None:
    low, high = float(lower(right, of, confidence)), float(upper(right, of, confidence))
    if right > 0:
        assert binomial(low, of, range(right, of + 1)) == pytest.approx(1 - confidence, abs=1e-9)
    if right < of:
        assert binomial(high, of, range(right + 1)) == pytest.approx(1 - confidence, abs=1e-9)


def binomial(share: float, of: int, hits: range) -> float:
    return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in hits)


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 0.999))
def test_ends_are_those_of_scipy(right: int, of: int, confidence: float) -> None:
    right = min(right, of)
    below = stats.binomtest(right, of, alternative="greater").proportion_ci(confidence, "exact").low
    above = stats.binomtest(right, of, alternative="less").proportion_ci(confidence, "exact").high
    assert float(lower(right, of, confidence)) == pytest.approx(below, abs=1e-9)
    assert float(upper(right, of, confidence)) == pytest.approx(above, abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0, 1), st.floats(0.5, 0.999))
def test_a_share_is_reached_where_the_lower_end_is_not_below_it(right: int, of: int, share: float,
                                                                confidence: float) -> None:
    end = float(lower(min(right, of), of, confidence))
    assert bool(reaches(min(right, of), of, share, confidence)) == (end >= share) or abs(end - share) < 1e-9


def test_where_all_nothing_or_no_answer_is_right_the_ends_have_a_closed_form() -> None:
    of = np.arange(1, 80)
    assert np.allclose(lower(of, of, 0.9), 0.1 ** (1 / of)) and np.array_equal(upper(of, of, 0.9), np.ones(79))
    assert np.allclose(upper(0 * of, of, 0.9), 1 - 0.1 ** (1 / of)) and not lower(0 * of, of, 0.9).any()
    assert (float(lower(0, 0, 0.9)), float(upper(0, 0, 0.9))) == (0.0, 1.0)
