"""The bases of losses and the costs of a softmax: loops, closed forms, finite differences, timm."""

import math

import oracles
import pytest
import torch
from cases import COSTS, COUNTS, EVERY, KIND, NAMES, TAGS, labels_of, loss_of, numbers
from timm.loss import AsymmetricLossMultiLabel

from components.losses.objective import hard_loss


def rows(tensor):
    return tensor.tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("soft", [False, True])
def test_softmax_is_the_cross_entropy_with_hard_soft_and_smoothed_targets(soft, smoothing):
    logits, labels = numbers(1, 9, 4), labels_of(KIND, 2, 9, soft)
    truth = rows(labels) if soft else oracles.one_hot(labels.tolist(), 4)
    expected = [sum(row) for row in oracles.softmax_terms(rows(logits), oracles.smoothed(truth, smoothing, 1 / 4))]
    assert loss_of(KIND, logits, labels, smoothing).tolist() == pytest.approx(expected)
    assert hard_loss(KIND, logits, labels, smoothing).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("soft", [False, True])
def test_a_sigmoid_is_one_binary_problem_a_class_added_up_for_one_label_and_averaged_for_several(soft, smoothing):
    for task, to, parts in ((KIND, 1 / 4, {"base": "sigmoid"}), (TAGS, 1 / 2, {})):
        count = len(task.classes)
        logits, labels = numbers(1, 9, count), labels_of(task, 2, 9, soft)
        truth = rows(labels) if labels.ndim == 2 else oracles.one_hot(labels.tolist(), count)
        terms = oracles.sigmoid_terms(rows(logits), oracles.smoothed(truth, smoothing, to))
        expected = [sum(row) / (count if task is TAGS else 1) for row in terms]
        assert loss_of(task, logits, labels, smoothing, **parts).tolist() == pytest.approx(expected)
        if task is TAGS:
            assert hard_loss(task, logits, labels, smoothing).tolist() == pytest.approx(expected)


def test_a_soft_label_that_is_certain_is_the_hard_label_for_every_loss():
    for name, (task, parts) in zip(NAMES, EVERY, strict=True):
        if task is KIND:
            logits, labels = numbers(3, 8, 4), labels_of(KIND, 4, 8)
            soft = torch.nn.functional.one_hot(labels, 4).double()
            assert torch.allclose(loss_of(task, logits, labels, **parts), loss_of(task, logits, soft, **parts)), name


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("task", "parts"), EVERY, ids=NAMES)
def test_gradients_are_what_finite_differences_say(task, parts, soft):
    logits = numbers(5, 6, len(task.classes)).requires_grad_()
    labels = labels_of(task, 6, 6, soft)
    assert torch.autograd.gradcheck(lambda values: loss_of(task, values, labels, 0.1, **parts), logits)


@pytest.mark.parametrize("soft", [False, True])
def test_regression_7_a_softmax_weighs_its_rivals_by_their_costs(soft):
    logits, labels = numbers(1, 12, 4), labels_of(KIND, 2, 12, soft)
    truth = rows(labels) if soft else oracles.one_hot(labels.tolist(), 4)
    expected = [sum(row) for row in oracles.costly_terms(rows(logits), truth, COSTS)]
    assert loss_of(KIND, logits, labels, cost={"rows": COSTS}).tolist() == pytest.approx(expected)


def test_regression_7_a_cost_beside_the_diagonal_matters_to_a_softmax_with_hard_labels():
    logits, labels = numbers(1, 4, 4).requires_grad_(), torch.arange(4)
    found = {}
    for cost in (0.0, 1.0, 2.0, 8.0):
        losses = loss_of(KIND, logits, labels, cost={"cells": {"dress": {"shirt": cost}}})
        found[cost] = losses, torch.autograd.grad(losses.sum(), logits)[0]
    losses = [found[cost][0][1].item() for cost in found]
    pushes = [found[cost][1][1, 2].item() for cost in found]
    assert losses == sorted(losses) and len(set(losses)) == 4
    assert pushes == sorted(pushes) and abs(pushes[0]) < 1e-12  # dearer is pushed down harder
    others = [0, 2, 3]
    assert torch.allclose(found[8.0][0][others], found[1.0][0][others])


def test_regression_7_equal_costs_are_the_plain_loss_times_their_height():
    logits, labels = numbers(1, 12, 4), labels_of(KIND, 2, 12)
    plain = loss_of(KIND, logits, labels)
    for height in (1.0, 2.5):
        found = loss_of(KIND, logits, labels, cost={"diagonal": height, "other": height})
        assert torch.allclose(found, height * plain)


def test_regression_7_an_error_that_costs_more_is_made_less_often():
    """Where nothing can be told apart, what is said follows from frequencies and costs alone."""
    labels = torch.tensor([0] * 6 + [1] * 4)

    def said(**parts):
        logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([logits], lr=0.5)
        for _ in range(300):
            optimizer.zero_grad()
            loss_of(KIND, logits.expand(10, 4), labels, **parts).mean().backward()
            optimizer.step()
        return logits.detach().softmax(dim=0)

    assert said()[0].item() == pytest.approx(0.6, abs=0.01)
    dear = said(cost={"cells": {"dress": {"coat": 6.0}}})
    assert dear[1] > dear[0]


def test_costs_stay_finite_where_a_softmax_is_certain_of_the_wrong_class():
    logits = torch.tensor([[-80.0, 80.0, 0.0, 0.0]], requires_grad=True)
    loss = loss_of(KIND, logits, torch.tensor([0]), cost={"other": 3.0})
    loss.sum().backward()
    assert loss.item() == pytest.approx(160 + math.log(3), rel=1e-5) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("positive", "negative", "margin"), [(0, 4, 0.05), (1, 4, 0.05), (2, 2, 0.0), (0, 0, 0.2)])
def test_the_asymmetric_loss_is_that_of_timm(positive, negative, margin):
    logits, labels = numbers(1, 16, 3).mul(3).float().requires_grad_(), labels_of(TAGS, 2, 16).float()
    wish = {"positive": positive, "negative": negative, "margin": margin}
    ours = loss_of(TAGS, logits, labels, asymmetric=wish)
    theirs = AsymmetricLossMultiLabel(negative, positive, margin, reduction="none")(logits, labels).mean(dim=1)
    assert torch.allclose(ours, theirs, atol=1e-6)
    gradients = [torch.autograd.grad(losses.sum(), logits, retain_graph=True)[0] for losses in (ours, theirs)]
    assert torch.allclose(*gradients, atol=1e-5)


@pytest.mark.parametrize("power", [1.0, 0.4])
def test_logits_are_adjusted_by_class_frequencies(power):
    """Equation 11 of Menon et al. 2021: what a rival weighs is how much more frequent it is."""
    logits, labels = numbers(1, 9, 4), labels_of(KIND, 2, 9)
    expected = [math.log(1 + sum((n / COUNTS[y]) ** power * math.exp(v - row[y])
                                 for k, (n, v) in enumerate(zip(COUNTS, row, strict=True)) if k != y))
                for row, y in zip(rows(logits), labels.tolist(), strict=True)]
    assert loss_of(KIND, logits, labels, adjust=power).tolist() == pytest.approx(expected, rel=1e-5)


def test_an_adjusted_loss_leaves_the_network_to_learn_what_does_not_depend_on_frequencies():
    labels = torch.tensor([0] * 40 + [1] * 3 + [2] * 7 + [3] * 10)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(400):
        optimizer.zero_grad()
        loss_of(KIND, logits.expand(60, 4), labels, counts=(40, 3, 7, 10), adjust=1.0).mean().backward()
        optimizer.step()
    assert logits.detach().softmax(dim=0).tolist() == pytest.approx([0.25] * 4, abs=1e-3)


def test_a_class_without_an_image_counts_as_one_of_a_single_image():
    logits, labels = numbers(1, 9, 4), labels_of(KIND, 2, 9)
    for parts in ({"adjust": 1.0}, {"balance": 0.99}):
        found = [loss_of(KIND, logits, labels, counts=(50, 20, 3, none), **parts) for none in (0, 1)]
        assert torch.equal(*found) and torch.isfinite(found[0]).all()
