"""What weighs the terms of a loss, alone and multiplied: loops, torchvision."""

from itertools import combinations

import numpy as np
import oracles
import pytest
import torch
from cases import COSTS, COUNTS, KIND, NAN, TAGS, labels_of, loss_of, numbers
from torchvision.ops import sigmoid_focal_loss

from components.data.dataset import Dataset
from components.losses.frequencies import class_counts

LOW = [[-0.1 if true == said else 0.05 + 0.05 * said for said in range(4)] for true in range(4)]
UP = [[0.6 if true == said else 1.1 - 0.2 * true for said in range(4)] for true in range(4)]
LABEL_COSTS = [[2.0, 0.5, 1.0], [3.0, 1.0, 0.25], [1.0, 4.0, 0.5]]


@pytest.mark.parametrize("soft", [False, True])
def test_regression_7_binary_problems_are_weighed_by_what_their_error_costs(soft):
    logits, labels = numbers(1, 12, 4), labels_of(KIND, 2, 12, soft)
    truth = labels.tolist() if soft else oracles.one_hot(labels.tolist(), 4)
    terms = oracles.times(oracles.sigmoid_terms(logits.tolist(), truth), oracles.looked_up(truth, COSTS))
    found = loss_of(KIND, logits, labels, base="sigmoid", cost={"rows": COSTS})
    assert found.tolist() == pytest.approx([sum(row) for row in terms])


def test_regression_7_costs_and_bounds_of_several_labels_are_means_over_those_that_are_true():
    logits, labels = numbers(1, 16, 3), labels_of(TAGS, 2, 16)
    assert {0, 3} <= set(labels.sum(dim=1).tolist())
    costs = oracles.looked_up_of_labels(labels.tolist(), LABEL_COSTS)
    plain = oracles.sigmoid_terms(logits.tolist(), labels.tolist())
    expected = [sum(row) / 3 for row in oracles.times(plain, costs)]
    assert loss_of(TAGS, logits, labels, cost={"rows": LABEL_COSTS}).tolist() == pytest.approx(expected)
    low, up = [[0.1 * value for value in row] for row in LABEL_COSTS], [[0.9] * 3] * 3
    bounds = [oracles.looked_up_of_labels(labels.tolist(), table) for table in (low, up)]
    inside = oracles.between(oracles.said(logits.tolist(), False), *bounds)
    found = loss_of(TAGS, logits, labels, threshold={"low": {"rows": low}, "up": {"rows": up}})
    assert found.tolist() == pytest.approx([sum(row) / 3 for row in oracles.times(plain, inside)])
    assert 0 < sum(map(sum, inside)) < 48


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
def test_only_what_is_between_two_bounds_counts(base, soft):
    logits, labels = 2 * numbers(1, 20, 4), labels_of(KIND, 2, 20, soft)
    truth = labels.tolist() if soft else oracles.one_hot(labels.tolist(), 4)
    terms = oracles.softmax_terms if base == "softmax" else oracles.sigmoid_terms
    inside = oracles.between(oracles.said(logits.tolist(), base == "softmax"),
                             oracles.looked_up(truth, LOW), oracles.looked_up(truth, UP))
    expected = [sum(row) for row in oracles.times(terms(logits.tolist(), truth), inside)]
    found = loss_of(KIND, logits, labels, base=base, threshold={"low": {"rows": LOW}, "up": {"rows": UP}})
    assert found.tolist() == pytest.approx(expected) and 0 < sum(map(sum, inside)) < 80


def test_bounds_that_are_met_exactly_do_not_count():
    logits = torch.zeros(1, 4, dtype=torch.float64)  # every binary problem says one half
    plain = loss_of(KIND, logits, torch.tensor([2]), base="sigmoid")
    shares = (({"up": {"diagonal": 0.5}}, 0.75), ({"low": {"other": 0.5}}, 0.25), ({"up": {"other": 0.6}}, 1))
    for wish, share in shares:
        found = loss_of(KIND, logits, torch.tensor([2]), base="sigmoid", threshold=wish)
        assert found.item() == pytest.approx(share * plain.item())


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.0), (0.0, 0.7), (3.0, 0.0)])
@pytest.mark.parametrize("soft", [False, True])
def test_the_focal_loss_of_a_sigmoid_is_that_of_torchvision(soft, gamma, alpha):
    for task, parts in ((KIND, {"base": "sigmoid"}), (TAGS, {})):
        logits, labels = 2 * numbers(1, 12, len(task.classes)), labels_of(task, 2, 12, soft)
        target = labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels, 4).double()
        theirs = sigmoid_focal_loss(logits, target, alpha if alpha > 0 else -1, gamma)
        expected = theirs.mean(dim=1) if task is TAGS else theirs.sum(dim=1)
        assert torch.allclose(loss_of(task, logits, labels, focal={"gamma": gamma, "alpha": alpha}, **parts), expected)


@pytest.mark.parametrize("soft", [False, True])
def test_the_focal_loss_of_a_softmax_weighs_each_class_by_what_its_probability_lacks(soft):
    logits, labels = 2 * numbers(1, 12, 4), labels_of(KIND, 2, 12, soft)
    truth = labels.tolist() if soft else oracles.one_hot(labels.tolist(), 4)
    factor = oracles.focal(oracles.said(logits.tolist(), True), truth, 2.0, True)
    expected = [sum(row) for row in oracles.times(oracles.softmax_terms(logits.tolist(), truth), factor)]
    assert loss_of(KIND, logits, labels, focal={"gamma": 2.0}).tolist() == pytest.approx(expected)


def test_a_focal_loss_has_finite_gradients_where_all_is_right_or_all_is_wrong():
    for gamma in (0.5, 1.0, 2.0):
        for base in ("softmax", "sigmoid"):
            logits = torch.tensor([[200.0, -200.0, -200.0, -200.0]] * 2, requires_grad=True)
            losses = loss_of(KIND, logits, torch.tensor([0, 1]), base=base, focal={"gamma": gamma})
            losses.sum().backward()
            assert torch.isfinite(logits.grad).all() and losses[0] < 1e-6 and losses[1] > 100


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("beta", [0.5, 0.99, 0.9999])
def test_classes_weigh_by_their_effective_number_of_images(beta, soft):
    logits, labels = numbers(1, 12, 4), labels_of(KIND, 2, 12, soft)
    truth = labels.tolist() if soft else oracles.one_hot(labels.tolist(), 4)
    factor = oracles.balanced(truth, COUNTS, beta)
    expected = [sum(row) for row in oracles.times(oracles.softmax_terms(logits.tolist(), truth), factor)]
    assert loss_of(KIND, logits, labels, balance=beta).tolist() == pytest.approx(expected, rel=1e-5)


def test_classes_are_counted_in_the_split_that_is_trained_on(dataset: Dataset):
    rows = dataset.rows("train")
    found = class_counts(dataset, rows)
    for task in dataset.tasks:
        labels = dataset.labels(task)[rows].tolist()
        assert found[task.name].tolist() == [labels.count(place) for place in range(len(task.classes))]
    assert found["hue"].sum() < len(rows)


SMOOTHING = 0.1
WEIGHS = {
    "cost": {"cost": {"rows": COSTS}}, "threshold": {"threshold": {"low": {"rows": LOW}, "up": {"rows": UP}}},
    "focal": {"focal": {"gamma": 2.0}}, "balance": {"balance": 0.99},
    "ghm": {"ghm": {"bins": oracles.BINS}}, "ohem": {"ohem": {"ratio": 0.6}}, "adjust": {"adjust": 1.0},
}


def expected_of(chosen, base, logits, labels):
    """The product of a base's terms with every chosen factor, by loops; the hardest are chosen last."""
    is_softmax, truth = base == "softmax", oracles.one_hot(labels, 4)
    total = sum(COUNTS)
    z = [[v + (np.log(n / total) if "adjust" in chosen else 0) for v, n in zip(row, COUNTS, strict=True)]
         for row in logits]
    p, y = oracles.said(z, is_softmax), oracles.smoothed(truth, SMOOTHING, 1 / 4)
    tables = [oracles.softmax_terms(z, y) if is_softmax else oracles.sigmoid_terms(z, y)]
    if "cost" in chosen and is_softmax:
        tables = [oracles.costly_terms(z, y, COSTS)]
    elif "cost" in chosen:
        tables.append(oracles.looked_up(truth, COSTS))
    if "threshold" in chosen:
        tables.append(oracles.between(p, oracles.looked_up(truth, LOW), oracles.looked_up(truth, UP)))
    if "focal" in chosen:
        tables.append(oracles.focal(p, y, 2.0, is_softmax))
    if "balance" in chosen:
        tables.append(oracles.balanced(truth, COUNTS, 0.99))
    if "ghm" in chosen:
        tables.append(oracles.harmonised([oracles.lengths(p, y, is_softmax)], 0.75)[0])
    losses = [sum(row) for row in oracles.times(*tables)]
    keep = oracles.hardest(losses, 0.6) if "ohem" in chosen else [1.0] * len(losses)
    return [loss * factor for loss, factor in zip(losses, keep, strict=True)]


@pytest.mark.parametrize("count", range(8))
@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
def test_any_choice_of_factors_is_the_product_of_them(base, count):
    possible = [name for name in WEIGHS if base == "softmax" or name != "adjust"]
    logits, labels = 2 * numbers(1, 11, 4), labels_of(KIND, 2, 11)
    for chosen in combinations(possible, count):
        parts = {setting: value for name in chosen for setting, value in WEIGHS[name].items()}
        found = loss_of(KIND, logits, labels, SMOOTHING, base=base, **parts)
        expected = expected_of(chosen, base, logits.tolist(), labels.tolist())
        assert found.tolist() == pytest.approx(expected, rel=1e-5), chosen


def test_no_factor_turns_a_sample_without_a_label_into_one():
    logits = numbers(1, 3, 4)
    labels = torch.tensor([[0.2, 0.8, 0, 0], [NAN] * 4, [0, 0, 1, 0]], dtype=torch.float64)
    parts = {setting: value for values in WEIGHS.values() for setting, value in values.items()}
    losses = loss_of(KIND, logits, labels, SMOOTHING, **parts)
    assert losses[1] == 0 and torch.isfinite(losses).all()
