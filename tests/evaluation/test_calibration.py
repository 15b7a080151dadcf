"""Temperatures are held against a fine grid search, SciPy's minimiser and known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax
from sklearn.metrics import log_loss

from components.errors import UserError
from components.evaluation.calibration import fit_temperature


def drawn(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are calibrated by construction: each label is drawn from its own softmax."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(count, classes)) * 2
    noise = chance.gumbel(size=logits.shape)
    return logits, (logits + noise).argmax(axis=1)


@given(st.integers(0, 10_000), st.integers(20, 200), st.integers(2, 7), st.floats(0.2, 5))
def test_the_temperature_is_where_scipy_finds_the_least_log_loss(seed, count, classes, scale):
    logits, labels = drawn(seed, count, classes)
    logits *= scale

    def loss(log_temperature: float) -> float:
        return log_loss(labels, np.exp(log_softmax(logits / np.exp(log_temperature), axis=1)), labels=range(classes))

    found = fit_temperature(logits, labels, "single")
    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-9})
    assert 0.05 <= found <= 20
    assert loss(np.log(found)) <= best.fun + 1e-9


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_an_overconfident_network_is_cooled_by_what_it_was_heated(scale):
    logits, labels = drawn(3, 20_000, 5)
    assert fit_temperature(logits * scale, labels, "single") == pytest.approx(scale, rel=0.03)


def test_several_true_labels_are_calibrated_through_the_sigmoid():
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(4000, 6)) * 2
    labels = (chance.uniform(size=logits.shape) < expit(logits)).astype(np.float32)
    labels[::7] = np.nan
    found = fit_temperature(logits * 3, labels, "multi")
    grid = np.linspace(2, 4, 401)
    kept = ~np.isnan(labels).any(axis=1)
    losses = [log_loss(labels[kept].ravel(), expit(logits[kept] * 3 / t).ravel()) for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], abs=0.006)


def test_samples_without_a_label_and_their_order_change_nothing():
    logits, labels = drawn(5, 500, 4)
    expected = fit_temperature(logits, labels, "single")
    order = np.random.default_rng(0).permutation(500)
    assert fit_temperature(logits[order], labels[order], "single") == expected
    more = np.concatenate([logits, 100 * logits[:50]])
    assert fit_temperature(more, np.concatenate([labels, np.full(50, -1)]), "single") == expected


@pytest.mark.parametrize("labels", [np.full(6, -1), np.array([-1, 2, -1, -1, -1, -1])])
def test_too_few_labels_leave_the_temperature_at_one_and_say_so(labels, capsys):
    assert fit_temperature(np.random.default_rng(0).normal(size=(6, 3)), labels, "single") == 1.0
    assert "too few to fit a temperature" in capsys.readouterr().err


@pytest.mark.parametrize(("sign", "bound"), [(1.0, 0.05), (-1.0, 20.0)])
def test_a_network_always_right_or_always_wrong_stops_at_the_bound_and_says_so(sign, bound, capsys):
    assert fit_temperature(sign * np.eye(3, dtype=np.float32), np.arange(3), "single") == bound
    assert "bound" in capsys.readouterr().err


def test_equal_scores_for_every_class_leave_the_temperature_at_one():
    assert fit_temperature(np.zeros((5, 3)), np.zeros(5, np.int64), "single") == 1.0


def test_huge_logits_do_not_overflow():
    logits, labels = drawn(2, 300, 3)
    assert fit_temperature(logits * 1e6, labels, "single") == 20.0
    assert 0.05 <= fit_temperature(logits[:, :2] * 1e6, np.eye(2)[labels % 2], "multi") <= 20.0


def test_a_diverged_network_is_an_error_of_the_user():
    with pytest.raises(UserError, match="not finite"):
        fit_temperature(np.full((3, 2), np.nan), np.array([0, 1, 0]), "single")
