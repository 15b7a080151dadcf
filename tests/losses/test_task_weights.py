"""Weights of tasks, given or learnt from how uncertain each is: closed forms and finite differences."""

import math

import numpy as np
import pytest
import torch
from cases import KIND, NAN, TAGS, labels_of, numbers

from components.data.loader import Batch
from components.errors import UserError
from components.losses.distillation import blended
from components.losses.objective import Wish, build_losses, memory_of, supervised, trained
from components.losses.settings import Loss, Parts
from components.models.outputs import Outputs

TASKS = (KIND, TAGS)
COUNTS = {"kind": np.array([5, 5, 5, 5]), "tags": np.array([3, 3, 3])}
LEARNT = Loss(task_weighting="learnt")


def given(count=6, unlabelled=()):
    """Outputs and a batch; some samples without a label for `tags`."""
    logits = {task.name: numbers(place, count, len(task.classes)).float() for place, task in enumerate(TASKS)}
    labels = {task.name: labels_of(task, 7, count) for task in TASKS}
    labels["tags"] = labels["tags"].float()
    labels["tags"][list(unlabelled)] = NAN
    rows = np.arange(count)
    return Outputs(logits, torch.zeros(1), torch.zeros(1)), Batch(
        rows, np.ones(count, np.int64), torch.zeros(count, 1), labels, torch.ones(count))


def learning(variances, **changes):
    """The objective of learnt weights at some logarithms of variances."""
    losses = build_losses(TASKS, Wish(LEARNT, 0.1, **changes), COUNTS)
    for name, value in variances.items():
        losses.memory.variances[name].data.fill_(value)
    return trained(losses), losses


def test_a_learnt_weight_is_the_inverse_of_the_variance_beside_its_logarithm():
    outputs, batch = given()
    _, parts = supervised(TASKS, 0.1)(outputs, batch)
    objective, _ = learning({"kind": 0.8, "tags": -0.5})
    found, shown = objective(outputs, batch)
    expected = sum(part / math.exp(s) + math.log(math.sqrt(math.exp(s)))
                   for s, part in ((0.8, parts["kind"]), (-0.5, parts["tags"])))
    assert torch.allclose(found, expected)
    assert torch.equal(shown["kind"], parts["kind"]) and torch.equal(shown["tags"], parts["tags"])
    assert shown["tags/weight"].tolist() == pytest.approx([math.exp(0.5)] * 6)


def test_the_gradient_of_a_variance_is_what_finite_differences_say():
    outputs, batch = given(unlabelled=[0, 4])
    objective, losses = learning({"kind": 0.3, "tags": -0.2})
    objective(outputs, batch)[0].mean().backward()
    for name, variance in losses.memory.variances.items():
        at, step = variance.item(), 1e-2
        values = [learning({"kind": 0.3, "tags": -0.2, name: at + side * step})[0](outputs, batch)[0].double().mean()
                  for side in (-1, 1)]
        assert variance.grad.item() == pytest.approx(((values[1] - values[0]) / (2 * step)).item(), abs=1e-4)


def test_a_learnt_variance_settles_at_twice_the_loss():
    outputs, batch = given(unlabelled=[1])
    objective, losses = learning({})
    _, parts = supervised(TASKS, 0.1)(outputs, batch)
    optimizer = torch.optim.SGD(losses.memory.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        objective(outputs, batch)[0].mean().backward()
        optimizer.step()
    labelled = {"kind": parts["kind"], "tags": parts["tags"][[0, 2, 3, 4, 5]]}
    for name, variance in losses.memory.variances.items():
        assert variance.exp().item() == pytest.approx(2 * labelled[name].mean().item(), rel=1e-3)


def test_a_sample_without_a_label_says_nothing_of_the_variance_of_its_task():
    outputs, batch = given(unlabelled=range(6))
    objective, losses = learning({"kind": 0.0, "tags": 1.0})
    found, parts = objective(outputs, batch)
    found.sum().backward()
    assert torch.equal(found, parts["kind"]) and losses.memory.variances["tags"].grad == 0


def test_fixed_weights_multiply_learnt_ones():
    outputs, batch = given()
    plain, heavy = learning({"kind": 0.4}), learning({"kind": 0.4}, task_weights={"kind": 3.0})
    difference = heavy[0](outputs, batch)[0] - plain[0](outputs, batch)[0]
    _, parts = supervised(TASKS, 0.1)(outputs, batch)
    assert torch.allclose(difference, 2 * (parts["kind"] * math.exp(-0.4) + 0.2), atol=1e-6)


def test_teachers_speak_under_learnt_weights_also_where_there_is_no_label():
    outputs, batch = given(unlabelled=range(6))
    _, losses = learning({"tags": 0.6})
    said = {task.name: torch.full((6, len(task.classes)), 0.25) for task in TASKS}
    objective = blended(losses, lambda task, batch: said[task], (2.0, 0.7))
    found, parts = objective(outputs, batch)
    assert torch.allclose(found, parts["kind"] + math.exp(-0.6) * parts["tags"] + 0.3) and (parts["tags"] > 0).all()
    assert memory_of(objective) is losses.memory


def test_in_distillation_labels_are_judged_by_the_loss_that_is_asked_for():
    outputs, batch = given()
    wish = Wish(Loss.model_validate_json('{"cost": {"other": 3.0}, "task_weighting": "fixed"}'), 0.1)
    losses = build_losses(TASKS, wish, COUNTS)
    hard = trained(losses)(outputs, batch)[1]
    said = {task.name: torch.sigmoid(outputs.logits[task.name]) for task in TASKS}
    whole, none = (blended(losses, lambda task, batch: said[task], (2.0, weight))(outputs, batch)[1]
                   for weight in (1.0, 0.0))
    half = blended(losses, lambda task, batch: said[task], (2.0, 0.5))(outputs, batch)[1]
    for name in hard:
        assert torch.allclose(none[name], hard[name])
        assert torch.allclose(half[name], (hard[name] + whole[name]) / 2)


@pytest.mark.parametrize(("wish", "setting"), [
    (Wish(Loss(tasks={"knid": Parts()})), "loss.tasks"), (Wish(Loss(), task_weights={"knid": 2.0}), "task_weights")])
def test_a_setting_of_a_task_that_is_none_is_refused_by_name(wish, setting):
    with pytest.raises(UserError, match=f"{setting} names knid, which is no task") as raised:
        build_losses(TASKS, wish, COUNTS)
    assert "kind" in raised.value.remedy


def test_what_acts_on_little_or_nothing_is_said():
    wish = Loss.model_validate_json(
        '{"tasks": {"kind": {"adjust": 1.0, "threshold": {"low": {"other": 0.05}}}}}')
    notes = build_losses(TASKS, Wish(wish), COUNTS | {"kind": np.array([5, 0, 5, 0])}).notes
    assert [note.split(":")[0] for note in notes] == [
        "no training image of kind is dress, skirt",
        "loss.threshold beside the diagonal acts on kind only where labels are soft"]
    assert build_losses(TASKS, Wish(Loss(), 0.1), COUNTS).notes == ()


def test_the_default_is_the_plain_cross_entropy_to_the_bit():
    outputs, batch = given(unlabelled=[2])
    ours = trained(build_losses(TASKS, Wish(Loss(), 0.1), COUNTS))(outputs, batch)[0]
    kind = torch.nn.functional.cross_entropy(outputs.logits["kind"], batch.labels["kind"], reduction="none",
                                             label_smoothing=0.1)
    target = torch.nan_to_num(batch.labels["tags"]) * (1 - 0.1) + 0.1 / 2
    tags = torch.nn.functional.binary_cross_entropy_with_logits(outputs.logits["tags"], target, reduction="none")
    assert torch.equal(ours, kind + torch.where(torch.arange(6) == 2, 0.0, tags.mean(dim=1)))


def test_what_is_remembered_goes_into_tensors_and_comes_back():
    wish = Wish(Loss.model_validate_json('{"ghm": {"bins": 10}, "task_weighting": "learnt"}'), 0.1)
    outputs, batch = given()
    outputs.logits["kind"].requires_grad_()
    outputs.logits["tags"].requires_grad_()
    one, other = (build_losses(TASKS, wish, COUNTS) for _ in range(2))
    trained(one)(outputs, batch)
    one.memory.settle()
    one.memory.variances["kind"].data.fill_(0.7)
    saved = {name: tensor.clone() for name, tensor in one.memory.tensors().items()}
    other.memory.load(saved)
    assert set(saved) == {f"{what}.{name}" for what in ("shares", "steps", "variance") for name in ("kind", "tags")}
    assert all(torch.equal(tensor, saved[name]) for name, tensor in other.memory.tensors().items())
    assert torch.equal(trained(one)(outputs, batch)[0], trained(other)(outputs, batch)[0])
    other.memory.forget()
    fresh = build_losses(TASKS, wish, COUNTS).memory.tensors()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in other.memory.tensors().items())
