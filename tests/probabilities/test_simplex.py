"""Weights that sum to 1, against an independent optimiser, expectation-maximisation and exhaustive search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from components.probabilities.simplex import least, projected
from components.probabilities.voices import fitted, linear_loss, logarithmic_loss


def softmax(values):
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def told(seed, kind, sources=3, count=120, classes=4):
    """What sources of different skill say, as log-probabilities, and the labels."""
    chance = np.random.default_rng(seed)
    if kind == "single":
        labels = chance.integers(0, classes, count)
        truth = np.eye(classes)[labels]
        said = [np.log(softmax(skill * truth + chance.normal(size=truth.shape))) for skill in range(1, sources + 1)]
        return said, labels
    labels = chance.integers(0, 2, (count, classes)).astype(np.float32)
    return [-np.logaddexp(0, -(skill * (labels - 0.5) + chance.normal(size=labels.shape)))
            for skill in range(1, sources + 1)], labels


def by_hand(weights, said, labels, kind, mean):
    """The log-loss of a mean, written out."""
    if kind == "single":
        if mean == "probabilities":
            p = sum(w * np.exp(one) for w, one in zip(weights, said, strict=True))
        else:
            p = softmax(sum(w * one for w, one in zip(weights, said, strict=True)))
        return -np.mean([np.log(p[row, label]) for row, label in enumerate(labels)])
    if mean == "probabilities":
        p = sum(w * np.exp(one) for w, one in zip(weights, said, strict=True))
    else:
        odds = [one - np.log1p(-np.exp(one)) for one in said]
        p = 1 / (1 + np.exp(-sum(w * one for w, one in zip(weights, odds, strict=True))))
    return -np.mean(np.where(labels > 0.5, np.log(p), np.log1p(-p)))


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("mean", ["probabilities", "logits"])
@pytest.mark.parametrize("seed", [0, 1])
def test_fitted_weights_are_those_of_another_optimiser(kind, mean, seed):
    said, labels = told(seed, kind)
    found = fitted(said, labels, kind, mean)
    other = minimize(by_hand, np.full(3, 1 / 3), (said, labels, kind, mean), method="SLSQP", bounds=[(0, 1)] * 3,
                     constraints=LinearConstraint(np.ones(3), 1, 1), options={"ftol": 1e-12, "maxiter": 500})
    assert other.success and found.min() >= 0 and found.sum() == pytest.approx(1, abs=1e-5)
    assert by_hand(found, said, labels, kind, mean) <= other.fun + 1e-7
    assert found == pytest.approx(other.x, abs=2e-3)


def test_weights_of_probabilities_are_those_of_expectation_maximisation():
    said, labels = told(5, "single", sources=4)
    right = np.stack([np.exp(one[np.arange(len(labels)), labels]) for one in said], axis=1)
    weights = np.full(4, 0.25)
    for _ in range(20000):
        parts = right * weights
        weights = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    assert fitted(said, labels, "single", "probabilities") == pytest.approx(weights, abs=1e-4)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_a_source_that_knows_nothing_gets_no_weight_and_twins_share_theirs(mean):
    said, labels = told(2, "single", sources=1)
    nothing = np.log(softmax(4 * np.random.default_rng(9).normal(size=said[0].shape)))
    sure = fitted([said[0], nothing], labels, "single", mean)
    assert sure[1] < 0.15 and sure[0] > 0.85
    assert fitted([said[0], said[0].copy()], labels, "single", mean).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_gradients_are_those_of_finite_differences(mean):
    said, labels = told(3, "single")
    rows = np.arange(len(labels))
    if mean == "probabilities":
        right = np.exp(np.stack([one[rows, labels] for one in said], axis=-1))

        def loss(weights):
            return linear_loss(right, weights)
    else:
        def loss(weights):
            return logarithmic_loss(np.stack(said, axis=-1), labels, weights)
    here, step = np.array([0.5, 0.2, 0.3]), 1e-6
    slopes = [(loss(here + step * one)[0] - loss(here - step * one)[0]) / (2 * step) for one in np.eye(3)]
    assert loss(here)[1] == pytest.approx(slopes, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_a_projection_is_on_the_simplex_and_nearer_than_any_corner_or_mean(point):
    values = np.array(point)
    found = projected(values)
    assert found.min() >= 0 and found.sum() == pytest.approx(1)
    distance = ((found - values) ** 2).sum()
    for other in [*np.eye(len(point)), np.full(len(point), 1 / len(point))]:
        assert distance <= ((other - values) ** 2).sum() + 1e-9
        assert (values - found) @ (other - found) <= 1e-9, "the angle of a nearest point is never sharp"


def test_a_quadratic_is_least_where_a_grid_says():
    target = np.array([0.9, -0.4, 0.3])
    found = least(lambda w: (float(((w - target) ** 2).sum()), 2 * (w - target)), 3)
    grid = [(a / 200, b / 200, 1 - (a + b) / 200) for a in range(201) for b in range(201 - a)]
    best = min(grid, key=lambda w: ((np.array(w) - target) ** 2).sum())
    assert found == pytest.approx(best, abs=5e-3)
