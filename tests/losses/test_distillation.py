"""Losses of imitation against loops, torch's own divergence, scipy's correlation and finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from components.data.loader import Batch
from components.data.tasks import Task
from components.losses.distillation import Blend, blended, distilled
from components.losses.imitation import IMITATIONS, Manner, Said, halves, soft_loss
from components.losses.imitation_settings import Decoupled, Relations
from components.losses.kept import Kept, kept_loss, mean_kept, softened_kept
from components.losses.objective import hard_loss, plain_losses
from components.losses.ranks import Ranks
from components.models.outputs import Outputs

SINGLE, MULTI = Task("kind", "single", ("a", "b", "c", "d")), Task("tags", "multi", ("x", "y", "z"))


def drawn(seed, rows, count):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, count, generator=generator, dtype=torch.float64)


def said(logits, target, task=SINGLE, **changes):
    base = {"labels": torch.zeros(len(logits), dtype=torch.int64), "weight": torch.ones(len(logits)).double(),
            "temperature": 1.0}
    return Said(task, logits, target, **(base | changes))


def outputs(logits):
    return Outputs(logits, torch.zeros(1), torch.zeros(1))


def batch(labels, weight=None):
    count = len(next(iter(labels.values())))
    return Batch(np.arange(count), np.ones(count, np.int64), torch.zeros(count, 1), labels,
                 torch.ones(count) if weight is None else weight)


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_regression_8_the_mean_of_the_soft_loss_is_torchs_batchmean_divergence(temperature):
    logits, teacher = drawn(0, 7, 4), drawn(1, 7, 4)
    target = (teacher / temperature).softmax(dim=1)
    whole = torch.nn.functional.kl_div((logits / temperature).log_softmax(dim=1), target, reduction="batchmean")
    found = soft_loss(SINGLE, logits, target, temperature)
    assert found.mean().item() == pytest.approx(temperature**2 * whole.item(), rel=1e-9)


def test_regression_8_teachers_and_labels_share_the_loss_as_a_temperature_and_a_weight_say():
    """003's online loss, a T^2 batchmean(KL) + (1 - a) CE with T = 10 and a = .5, as the mean over a batch."""
    logits, teacher, labels = drawn(0, 7, 4), drawn(1, 7, 4), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    objective = distilled((SINGLE,), lambda task, _: (teacher / 10).softmax(dim=1), Blend(10.0, 0.5))
    found, _ = objective(outputs({"kind": logits}), batch({"kind": labels}))
    soft = torch.nn.KLDivLoss(reduction="batchmean")((logits / 10).log_softmax(1), (teacher / 10).softmax(1))
    hard = torch.nn.CrossEntropyLoss()(logits, labels)
    assert found.mean().item() == pytest.approx((0.5 * 100 * soft + 0.5 * hard).item(), rel=1e-9)


def loop_of_halves(logits, target, own):
    """Equation 7 of the paper by loops over classes."""
    powers = [math.exp(value) for value in logits]
    student = [power / sum(powers) for power in powers]
    others = [place for place in range(len(target)) if place != own]
    left_t, left_s = sum(target[k] for k in others), sum(student[k] for k in others)
    first = target[own] * math.log(target[own] / student[own]) + left_t * math.log(left_t / left_s)
    second = sum(target[k] / left_t * math.log((target[k] / left_t) / (student[k] / left_s)) for k in others)
    return first, second


def test_decoupled_halves_are_those_of_the_paper_and_add_up_to_the_divergence():
    logits, target, own = drawn(0, 6, 4), drawn(1, 6, 4).softmax(1), torch.tensor([0, 1, 2, 3, 0, 2])
    first, second = halves(logits, target, own)
    for row in range(6):
        expected = loop_of_halves(logits[row].tolist(), target[row].tolist(), int(own[row]))
        assert (first[row].item(), second[row].item()) == pytest.approx(expected, rel=1e-9)
    left = 1 - target.gather(1, own[:, None])[:, 0]
    assert torch.allclose(first + left * second, soft_loss(SINGLE, logits, target, 1.0), atol=1e-12)


def test_decoupled_distillation_weighs_the_halves_and_takes_the_likeliest_class_where_no_label_is():
    logits, target = drawn(0, 3, 4), drawn(1, 3, 4).softmax(1)
    manner = Manner(dkd=Decoupled(target=0.5, others=3.0))
    found = IMITATIONS["dkd"](manner)(said(logits, target, labels=torch.tensor([1, -1, 3]), temperature=2.0))
    own = torch.tensor([1, int(target[1].argmax()), 3])
    first, second = halves(logits / 2, target, own)
    assert torch.allclose(found, 4 * (0.5 * first + 3 * second))


def test_decoupled_distillation_of_labels_is_their_binary_divergence():
    logits, target = drawn(0, 3, 3), torch.rand(3, 3, dtype=torch.float64)
    manner = Manner(dkd=Decoupled(target=2.0))
    found = IMITATIONS["dkd"](manner)(said(logits, target, MULTI, temperature=3.0))
    assert torch.allclose(found, 2 * soft_loss(MULTI, logits, target, 3.0))


def test_decoupled_distillation_stays_a_number_where_a_teacher_is_certain():
    logits = drawn(0, 2, 4).float().mul(40).requires_grad_()
    target = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0]])
    found = IMITATIONS["dkd"](Manner())(said(logits, target, labels=torch.tensor([0, 0])))
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("task", [SINGLE, MULTI])
def test_dist_is_one_less_pearsons_correlations_over_classes_and_over_samples(task):
    count = len(task.classes)
    logits, teacher = drawn(0, 9, count), drawn(1, 9, count)
    soft = (lambda z: z.softmax(1)) if task is SINGLE else torch.sigmoid
    student, target = soft(logits / 2).numpy(), soft(teacher / 2)
    found = IMITATIONS["dist"](Manner(dist=Relations(classes=2.0, samples=3.0)))(
        said(logits, target, task, temperature=2.0))
    along = np.mean([pearsonr(student[:, k], target.numpy()[:, k])[0] for k in range(count)])
    for row in range(9):
        across = pearsonr(student[row], target.numpy()[row])[0]
        assert found[row].item() == pytest.approx(4 * (2 * (1 - across) + 3 * (1 - along)), rel=1e-7)


def test_in_dist_a_sample_counts_in_the_batch_as_often_as_it_weighs():
    logits, target = drawn(0, 4, 4), drawn(1, 4, 4).softmax(1)
    only = Manner(dist=Relations(classes=0.0))
    weighed = IMITATIONS["dist"](only)(said(logits, target, weight=torch.tensor([1.0, 2, 0, 3]).double()))
    rows = [0, 1, 1, 3, 3, 3]
    assert torch.allclose(weighed[0], IMITATIONS["dist"](only)(said(logits[rows], target[rows]))[0])


def test_dist_of_a_teacher_who_tells_nothing_apart_is_constant_and_sends_no_gradient():
    logits = drawn(0, 5, 4).requires_grad_()
    found = IMITATIONS["dist"](Manner())(said(logits, torch.full((5, 4), 0.25).double()))
    found.sum().backward()
    assert torch.allclose(found, torch.full_like(found, 2.0), atol=1e-6) and logits.grad.abs().max() < 1e-6


def test_dist_over_two_ranks_has_the_value_and_the_gradient_of_the_whole_batch():
    """Two halves, each told the sums of both: weighted means over the whole batch, gradients added up."""
    logits, target, weight = drawn(0, 8, 4), drawn(1, 8, 4).softmax(1), torch.rand(8, dtype=torch.float64) + 0.1
    whole = logits.clone().requires_grad_()
    (IMITATIONS["dist"](Manner())(said(whole, target, weight=weight)) * weight).sum().div(weight.sum()).backward()
    sent = [[], []]
    for place, part in enumerate([slice(0, 3), slice(3, 8)]):
        note = Ranks(lambda tensor, log=sent[place]: log.append(tensor) or tensor, lambda tensor: (tensor, 0))
        IMITATIONS["dist"](Manner(ranks=note))(said(logits[part], target[part], weight=weight[part]))
    totals = [one + other for one, other in zip(*sent, strict=True)]
    gradients = []
    for part in [slice(0, 3), slice(3, 8)]:
        answers = iter(totals)
        ranks = Ranks(lambda tensor, answers=answers: next(answers), lambda tensor: (tensor, 0))
        own = logits[part].clone().requires_grad_()
        losses = IMITATIONS["dist"](Manner(ranks=ranks))(said(own, target[part], weight=weight[part]))
        (losses * weight[part]).sum().div(weight.sum()).backward()
        gradients.append(own.grad)
    assert torch.allclose(torch.cat(gradients), whole.grad, atol=1e-12)


@pytest.mark.parametrize("name", list(IMITATIONS))
@pytest.mark.parametrize("task", [SINGLE, MULTI])
def test_the_gradient_of_every_imitation_is_that_of_finite_differences(name, task):
    count = len(task.classes)
    logits, target = drawn(0, 3, count).requires_grad_(), drawn(1, 3, count).softmax(1)
    imitation = IMITATIONS[name](Manner())
    assert torch.autograd.gradcheck(lambda z: imitation(said(z, target, task, temperature=2.0)), (logits,))


@pytest.mark.parametrize("name", ["kd", "meal", "dkd", "dist"])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(name):
    logits = drawn(0, 6, 4).requires_grad_()
    found = IMITATIONS[name](Manner())(said(logits, (logits.detach() / 3).softmax(1), temperature=3.0))
    found.sum().backward()
    assert found.abs().max() < 1e-6 and logits.grad.abs().max() < 1e-6


def spread(classes, told, residual, count, temperature):
    """The whole distribution of a top-k row at a temperature, by a loop."""
    others = [place for place in range(count) if place not in classes]
    log = dict(zip(classes, told, strict=True))
    log |= {k: residual - math.log(len(others)) for k in others}
    powers = [math.exp(log[k] / temperature) for k in range(count)]
    return [power / sum(powers) for power in powers]


def top(seed, rows, count, k):
    values, classes = drawn(seed, rows, count).mul(2).log_softmax(dim=1).topk(k, dim=1)
    residual = (1 - values.exp().sum(dim=1)).clamp_min(0) if k < count else torch.zeros(rows)
    return classes, values.float(), residual.log().clamp_min(-6e4).float()


@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([1.0, 2.5, 8.0]))
@settings(max_examples=12, deadline=None)
def test_the_loss_of_few_classes_is_that_of_the_distribution_they_stand_for(seed, k, temperature):
    count = 12
    classes, told, residual = top(seed, 5, count, k)
    target = softened_kept(classes, told, residual, count, temperature)
    whole = torch.tensor([spread(*row, count, temperature) for row in
                          zip(classes.tolist(), told.tolist(), residual.tolist(), strict=True)])
    task = Task("many", "single", tuple(map(str, range(count))))
    logits = drawn(seed + 1, 5, count).float()
    assert torch.allclose(target.dense(), whole, atol=1e-6)
    expected = soft_loss(task, logits.double(), whole.double(), temperature).float()
    assert torch.allclose(kept_loss(logits, target, temperature), expected, atol=1e-6 * temperature**2, rtol=1e-5)


@pytest.mark.parametrize("weights", [(), (0.25, 0.125, 0.625)])
def test_the_mean_of_several_teachers_with_few_classes_each_is_the_mean_of_their_distributions(weights):
    parts = [softened_kept(*top(seed, 6, 12, k), 12, 2.0) for seed, k in ((0, 3), (1, 5), (2, 1))]
    mean = mean_kept(parts, weights)
    whole = sum(part.dense() * weight for part, weight in zip(parts, weights or [1 / 3] * 3, strict=True))
    assert torch.allclose(mean.dense(), whole, atol=1e-7)
    logits = drawn(9, 6, 12).float()
    task = Task("many", "single", tuple(map(str, range(12))))
    assert torch.allclose(kept_loss(logits, mean, 2.0), soft_loss(task, logits, whole, 2.0), atol=2e-6)


def test_no_array_of_the_targets_of_all_classes_is_made(monkeypatch):
    monkeypatch.setattr(Kept, "dense", lambda self: pytest.fail("made dense"))
    target = softened_kept(*top(0, 4, 4, 2), 4, 2.0)
    objective = distilled((SINGLE,), lambda task, _: target, Blend(2.0, 1.0))
    found, _ = objective(outputs({"kind": drawn(1, 4, 4).float()}), batch({"kind": torch.tensor([0, 1, 2, -1])}))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("form", ["dense", "kept"])
@pytest.mark.parametrize("name", list(IMITATIONS))
def test_regression_8_where_teachers_say_nothing_the_label_counts_alone_and_wholly(name, form):
    logits, labels = drawn(0, 4, 4).float().requires_grad_(), torch.tensor([0, -1, 2, -1])
    kept = softened_kept(*top(0, 4, 4, 2), 4, 2.0)
    silent = torch.tensor([False, False, True, True])
    kept = Kept(4, kept.classes, kept.values, kept.first, kept.rest.masked_fill(silent, math.nan))
    dense = kept.dense().masked_fill(silent[:, None], math.nan)
    objective = blended(plain_losses((SINGLE,)), lambda task, _: kept if form == "kept" else dense, (2.0, 0.7),
                        IMITATIONS[name](Manner()))
    found, _ = objective(outputs({"kind": logits}), batch({"kind": labels}))
    found.sum().backward()
    assert torch.equal(found[2:], hard_loss(SINGLE, logits, labels)[2:]) and found[3] == 0 and found[1] != 0
    assert torch.isfinite(logits.grad).all() and logits.grad[3].abs().sum() < 1e-6
