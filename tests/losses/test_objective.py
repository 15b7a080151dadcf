import math

import numpy as np
import pytest
import torch

from components.data.loader import Batch
from components.data.tasks import Task
from components.errors import UserError
from components.losses.distillation import Blend, distilled, soft_loss
from components.losses.objective import hard_loss, supervised
from components.models.outputs import Outputs

SINGLE, MULTI = Task("kind", "single", ("a", "b", "c")), Task("tags", "multi", ("x", "y"))


def softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_single_label_loss_is_the_smoothed_cross_entropy_and_0_without_a_label(smoothing):
    logits, labels = torch.randn(6, 3), torch.tensor([0, 2, -1, 1, -1, 2])
    found = hard_loss(SINGLE, logits, labels, smoothing)
    for row, label, loss in zip(logits.tolist(), labels.tolist(), found.tolist(), strict=True):
        target = [smoothing / 3 + (1 - smoothing) * (k == label) for k in range(3)]
        expected = -sum(t * math.log(p) for t, p in zip(target, softmax(row), strict=True)) if label >= 0 else 0.0
        assert loss == pytest.approx(expected, abs=1e-6)


def test_multi_label_loss_is_the_mean_binary_cross_entropy_and_0_without_labels():
    logits = torch.randn(3, 2)
    labels = torch.tensor([[1.0, 0.0], [math.nan, math.nan], [1.0, 1.0]])
    found = hard_loss(MULTI, logits, labels)
    for row, truth, loss in zip(logits.tolist(), labels.tolist(), found.tolist(), strict=True):
        terms = [-math.log(sigmoid(z) if y else 1 - sigmoid(z)) for z, y in zip(row, truth, strict=True)]
        assert loss == pytest.approx(0.0 if math.isnan(truth[0]) else sum(terms) / 2, abs=1e-6)


def test_unlabelled_rows_send_no_gradient():
    logits = {"kind": torch.randn(4, 3, requires_grad=True), "tags": torch.randn(4, 2, requires_grad=True)}
    labels = {
        "kind": torch.tensor([0, -1, 2, -1]),
        "tags": torch.tensor([[math.nan] * 2, [1, 0], [math.nan] * 2, [0, 1]]),
    }
    losses, _ = supervised((SINGLE, MULTI))(outputs(logits), batch(labels))
    losses.sum().backward()
    assert (logits["kind"].grad.abs().sum(dim=1) > 0).tolist() == [True, False, True, False]
    assert (logits["tags"].grad.abs().sum(dim=1) > 0).tolist() == [False, True, False, True]


def test_task_weights_scale_their_task_only():
    logits = {"kind": torch.randn(4, 3), "tags": torch.randn(4, 2)}
    labels = {"kind": torch.tensor([0, 1, 2, 0]), "tags": torch.ones(4, 2)}
    plain, parts = supervised((SINGLE, MULTI))(outputs(logits), batch(labels))
    weighted, _ = supervised((SINGLE, MULTI), weights={"kind": 3.0})(outputs(logits), batch(labels))
    assert torch.allclose(weighted - plain, 2 * parts["kind"])


def test_a_weight_for_a_task_that_is_none_is_refused_by_name():
    with pytest.raises(UserError, match="task_weights names kid, which is no task") as raised:
        supervised((SINGLE, MULTI), weights={"kid": 2.0})
    assert "kind, tags" in raised.value.remedy


def test_distillation_weighs_tasks_as_plain_training_does():
    logits = {"kind": torch.randn(4, 3), "tags": torch.randn(4, 2)}
    labels = {"kind": torch.tensor([0, 1, 2, 0]), "tags": torch.ones(4, 2)}
    targets = {"kind": torch.softmax(torch.randn(4, 3), dim=1), "tags": torch.rand(4, 2)}

    def asked(blend):
        return distilled((SINGLE, MULTI), lambda task, _: targets[task], blend)(outputs(logits), batch(labels))

    plain, parts = asked(Blend(2.0, 0.5))
    weighted, _ = asked(Blend(2.0, 0.5, tasks={"tags": 4.0}))
    assert torch.allclose(weighted - plain, 3 * parts["tags"], atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_loss_is_the_divergence_times_the_squared_temperature(temperature):
    logits, target = torch.randn(5, 3), torch.softmax(torch.randn(5, 3), dim=1)
    for row, goal, loss in zip(
        logits.tolist(), target.tolist(), soft_loss(SINGLE, logits, target, temperature).tolist(), strict=True
    ):
        said = softmax([value / temperature for value in row])
        assert loss == pytest.approx(
            temperature**2 * sum(g * math.log(g / s) for g, s in zip(goal, said, strict=True)), abs=1e-4
        )


def test_soft_loss_of_labels_is_the_mean_binary_divergence():
    logits, target = torch.randn(5, 2), torch.rand(5, 2)
    for row, goal, loss in zip(
        logits.tolist(), target.tolist(), soft_loss(MULTI, logits, target, 2.0).tolist(), strict=True
    ):
        terms = [
            g * math.log(g / sigmoid(z / 2)) + (1 - g) * math.log((1 - g) / (1 - sigmoid(z / 2)))
            for z, g in zip(row, goal, strict=True)
        ]
        assert loss == pytest.approx(4 * sum(terms) / 2, abs=1e-4)


def test_imitating_exactly_costs_nothing_and_the_gradient_vanishes():
    logits = torch.randn(5, 3, requires_grad=True)
    loss = soft_loss(SINGLE, logits, torch.softmax(logits.detach() / 3, dim=1), 3.0).sum()
    loss.backward()
    assert abs(loss.item()) < 1e-5 and logits.grad.abs().max() < 1e-5


def test_the_teachers_speak_also_where_there_is_no_label():
    logits = {"kind": torch.randn(2, 3)}
    target = torch.softmax(torch.randn(2, 3), dim=1)
    objective = distilled((SINGLE,), lambda task, batch: target, Blend(2.0, 0.25, 0.1))
    found, _ = objective(outputs(logits), batch({"kind": torch.tensor([1, -1])}))
    soft, hard = (
        soft_loss(SINGLE, logits["kind"], target, 2.0),
        hard_loss(SINGLE, logits["kind"], torch.tensor([1, -1]), 0.1),
    )
    assert torch.allclose(found, 0.25 * soft + 0.75 * hard) and hard[1] == 0 and found[1] > 0


def outputs(logits):
    return Outputs(logits, torch.zeros(1), torch.zeros(1))


def batch(labels):
    count = len(next(iter(labels.values())))
    return Batch(np.arange(count), np.ones(count, np.int64), torch.zeros(count, 1), labels, torch.ones(count))
