"""Harmonised gradients (GHM-C) against an explicit loop, over steps, ranks and duplicates."""

import oracles
import pytest
import torch
from cases import KIND, NAN, TAGS, about_of, judged, labels_of, loss_of, numbers, on_ranks

from components.losses.case import case_of
from components.losses.criterion import build_criterion
from components.losses.densities import Densities
from components.losses.ranks import ALONE

BINS = oracles.BINS


def wish(base="softmax", momentum=0.75):
    return {"base": base, "ghm": {"bins": BINS, "momentum": momentum}}


def steps(about, batches):
    """The losses of a training's steps."""
    criterion, found = build_criterion(about), []
    for logits, labels in batches:
        found.append(criterion(logits.clone().requires_grad_(), labels, torch.ones(len(logits))).detach())
        about.densities.settle()
    return found


def batches_of(count, size=16):
    return [(2 * numbers(seed, size, 4), labels_of(KIND, 100 + seed, size)) for seed in range(count)]


@pytest.mark.parametrize("momentum", [0.0, 0.75, 0.9])
@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
def test_regression_6_every_step_of_a_training_is_what_a_plain_loop_says(base, momentum):
    batches, lengths = batches_of(5), []
    about = about_of(KIND, **wish(base, momentum))
    for found, (logits, labels) in zip(steps(about, batches), batches, strict=True):
        z, y = logits.tolist(), oracles.one_hot(labels.tolist(), 4)
        lengths.append(oracles.lengths(oracles.said(z, base == "softmax"), y, base == "softmax"))
        factor, shares = oracles.harmonised(lengths, momentum)
        terms = (oracles.softmax_terms if base == "softmax" else oracles.sigmoid_terms)(z, y)
        assert found.tolist() == pytest.approx([sum(row) for row in oracles.times(terms, factor)])
    assert about.densities.shares.tolist() == pytest.approx(shares) and about.densities.steps == 5


def test_regression_6_the_average_is_corrected_for_its_start():
    """The same batch again and again weighs the same from the first step on, and 1 on the average."""
    one = batches_of(1) * 6
    found = steps(about_of(KIND, **wish()), one)
    assert all(torch.allclose(losses, found[0]) for losses in found)
    logits, labels = one[0]
    case = case_of(KIND, True, (logits, labels, torch.ones(16)), 0.0)
    assert Densities.of(BINS, 0.9).factor(case, ALONE).mean().item() == pytest.approx(1)


def test_regression_6_what_is_not_trained_on_leaves_no_trace():
    about, batches = about_of(KIND, **wish()), batches_of(4)
    steps(about, batches[:2])
    shares = about.densities.shares.clone()
    with torch.no_grad():
        for logits, labels in batches[2:]:
            judged(about, logits, labels)
            about.densities.settle()
    assert torch.equal(about.densities.shares, shares) and about.densities.steps == 2


def test_regression_6_a_batch_given_twice_has_the_same_mean_loss_and_leaves_the_same_trace():
    once, twice = about_of(KIND, **wish()), about_of(KIND, **wish())
    batches = batches_of(4)
    doubled = [(torch.cat([logits] * 2), torch.cat([labels] * 2)) for logits, labels in batches]
    means = [[losses.mean().item() for losses in steps(*one)] for one in ((once, batches), (twice, doubled))]
    assert means[0] == pytest.approx(means[1])
    assert torch.allclose(once.densities.shares, twice.densities.shares)


def test_regression_6_counts_are_added_up_over_ranks():
    batches, whole = batches_of(3), about_of(KIND, **wish("sigmoid"))
    expected = steps(whole, batches)
    pieces = [slice(0, 5), slice(5, 16)]

    def work(ranks, own):
        about = about_of(KIND, ranks=ranks, **wish("sigmoid"))
        return steps(about, [(logits[own], labels[own]) for logits, labels in batches]), about.densities.shares

    found = on_ranks([lambda ranks, own=own: work(ranks, own) for own in pieces])
    for step, losses in enumerate(expected):
        assert torch.allclose(torch.cat([found[rank][0][step] for rank in range(2)]), losses)
    assert all(torch.allclose(shares, whole.densities.shares) for _, shares in found)


def test_samples_count_as_they_weigh():
    """A sample of weight 3 is as good as three samples; one of weight 0 as none."""
    logits, labels = 2 * numbers(1, 6, 4), labels_of(KIND, 2, 6)
    weight = torch.tensor([3.0, 1, 0, 1, 2, 1])
    order = torch.tensor([0, 0, 0, 1, 3, 4, 4, 5])
    single, repeated = about_of(KIND, **wish()), about_of(KIND, **wish())
    ours = judged(single, logits.requires_grad_(), labels, weight)
    theirs = judged(repeated, logits[order], labels[order])
    assert torch.allclose(ours[order], theirs) and torch.equal(single.densities.pending / 8,
                                                               repeated.densities.pending / 8)


def test_the_two_halves_of_a_mixed_step_are_remembered_as_one():
    (logits, labels), (_, others) = batches_of(2)
    about, together = about_of(KIND, **wish()), about_of(KIND, **wish())
    for given, share in ((labels, 0.3), (others, 0.7)):
        judged(about, logits.requires_grad_(), given, torch.full((16,), share))
    about.densities.settle()
    judged(together, torch.cat([logits] * 2), torch.cat([labels, others]), torch.tensor([0.3] * 16 + [0.7] * 16))
    together.densities.settle()
    assert about.densities.steps == 1 and torch.allclose(about.densities.shares, together.densities.shares)


def test_steps_without_a_label_are_no_steps():
    about = about_of(TAGS, ghm={"bins": BINS})
    losses = judged(about, numbers(1, 5, 3).requires_grad_(), torch.full((5, 3), NAN))
    about.densities.settle()
    about.densities.settle()
    assert losses.tolist() == [0] * 5 and about.densities.steps == 0 and about.densities.shares.sum() == 0


def test_a_length_of_1_falls_into_the_last_bin_and_no_number_into_none_beyond():
    logits = torch.tensor([[200.0, -200, -200, -200], [200, -200, -200, -200], [NAN, 0, 0, 0]])
    losses = loss_of(KIND, logits, torch.tensor([1, 0, 2]), ghm={"bins": BINS})
    assert torch.isfinite(losses[:2]).all() and losses[2].isnan()  # the loop stops where a loss is no number


def test_what_is_rare_counts_more_than_what_is_common():
    logits = torch.tensor([[4.0, 0, 0, 0]] * 9 + [[0.0, 1.5, 0, 0]], dtype=torch.float64)
    labels = torch.zeros(10, dtype=torch.int64)
    factor = loss_of(KIND, logits, labels, **wish()) / loss_of(KIND, logits, labels)
    assert factor.tolist() == pytest.approx([10 / 9 / 2] * 9 + [5.0])
