"""Only the hardest share of a batch teaches: counted, sorted and scaled by hand."""

import oracles
import pytest
import torch
from cases import KIND, NAN, TAGS, about_of, judged, labels_of, loss_of, numbers, on_ranks
from hypothesis import given, settings
from hypothesis import strategies as st

from components.losses.hardest import kept
from components.losses.ranks import ALONE

WAYS = [("softmax", "sample", "loss"), ("softmax", "sample", "gradient"), ("sigmoid", "sample", "loss"),
        ("sigmoid", "sample", "gradient"), ("sigmoid", "problem", "loss"), ("sigmoid", "problem", "gradient")]


@pytest.mark.parametrize(("base", "unit", "by"), WAYS)
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.7, 0.95])
def test_regression_5_exactly_the_hardest_share_is_kept(base, unit, by, ratio):
    logits, labels = 2 * numbers(1, 20, 4), labels_of(KIND, 2, 20)
    truth, p = oracles.one_hot(labels.tolist(), 4), oracles.said(logits.tolist(), base == "softmax")
    terms = (oracles.softmax_terms if base == "softmax" else oracles.sigmoid_terms)(logits.tolist(), truth)
    hard = terms if by == "loss" else oracles.lengths(p, truth, base == "softmax")
    if unit == "sample":
        factor = [[value] for value in oracles.hardest([sum(row) for row in hard], ratio)]
    else:
        flat = oracles.hardest([value for row in hard for value in row], ratio)
        factor = [flat[4 * row : 4 * row + 4] for row in range(20)]
    expected = [sum(row) for row in oracles.times(terms, factor)]
    found = loss_of(KIND, logits, labels, base=base, ohem={"ratio": ratio, "unit": unit, "by": by})
    assert found.tolist() == pytest.approx(expected)
    if unit == "sample":
        assert (found > 0).sum() == round(20 * ratio)


@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
@pytest.mark.parametrize("by", ["loss", "gradient"])
def test_regression_5_nothing_that_is_left_out_is_harder_than_what_is_kept(base, by):
    logits, labels = 2 * numbers(3, 10, 4), labels_of(KIND, 4, 10)
    plain = loss_of(KIND, logits, labels, base=base)
    found = loss_of(KIND, logits, labels, base=base, ohem={"ratio": 0.7, "by": by})
    hardness = plain if by == "loss" else torch.tensor([
        sum(row) for row in oracles.lengths(oracles.said(logits.tolist(), base == "softmax"),
                                            oracles.one_hot(labels.tolist(), 4), base == "softmax")])
    assert (found > 0).sum() == 7 and hardness[found > 0].min() > hardness[found == 0].max()
    assert found.mean().item() == pytest.approx(plain[found > 0].mean().item())


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=12), ratio=st.floats(0.01, 1))
def test_regression_5_of_equals_the_first_are_kept(values, ratio):
    found = kept(torch.tensor(values, dtype=torch.float64), torch.ones(len(values)), ratio, ALONE)
    assert found.tolist() == pytest.approx(oracles.hardest(values, ratio))


def test_regression_5_only_what_is_labelled_and_weighs_is_counted():
    logits, labels = 2 * numbers(1, 10, 4), labels_of(KIND, 2, 10)
    labels[[1, 5]] = -1
    weight = torch.tensor([1.0, 1, 1, 0, 1, 1, 1, 0, 1, 1])
    counted = [0, 2, 4, 6, 8, 9]
    found = loss_of(KIND, logits, labels, weight=weight, ohem={"ratio": 0.5})
    hardest = oracles.hardest(loss_of(KIND, logits, labels)[counted].tolist(), 0.5)
    assert [(found[row] > 0).item() for row in counted] == [factor > 0 for factor in hardest]
    assert (found * weight).nonzero().flatten().tolist() == [row for row, f in zip(counted, hardest, strict=True) if f]


@pytest.mark.parametrize("unit", ["sample", "problem"])
def test_the_weighted_mean_of_all_is_that_of_the_kept(unit):
    logits, labels = 2 * numbers(1, 12, 3), labels_of(TAGS, 2, 12)
    weight = torch.linspace(0.2, 3, 12)
    found = loss_of(TAGS, logits, labels, weight=weight, ohem={"ratio": 0.25, "unit": unit})
    terms = torch.tensor(oracles.sigmoid_terms(logits.tolist(), labels.tolist()))
    hardness = (terms if unit == "problem" else terms.sum(dim=1, keepdim=True)).flatten().tolist()
    chosen = torch.tensor(oracles.hardest(hardness, 0.25)).view(12, -1).expand(12, 3) > 0
    weights = weight[:, None].expand(12, 3)[chosen]
    mean = (weights * terms[chosen]).sum() / weights.sum()
    assert ((found * weight).sum() / weight.sum()).item() == pytest.approx(mean.item(), rel=1e-5)


def test_the_hardest_are_chosen_after_all_other_factors():
    logits, labels = 2 * numbers(1, 12, 4), labels_of(KIND, 2, 12)
    parts = {"focal": {"gamma": 3.0}, "balance": 0.99}
    expected = oracles.hardest(loss_of(KIND, logits, labels, **parts).tolist(), 0.5)
    found = loss_of(KIND, logits, labels, ohem={"ratio": 0.5}, **parts)
    assert (found > 0).tolist() == [factor > 0 for factor in expected]
    assert (found > 0).tolist() != (loss_of(KIND, logits, labels, ohem={"ratio": 0.5}) > 0).tolist()


@pytest.mark.parametrize("parts", [{"ratio": 0.3}, {"ratio": 0.5, "by": "gradient"}], ids=["loss", "gradient"])
def test_several_ranks_keep_what_one_would(parts):
    logits, labels, weight = 2 * numbers(1, 11, 4), labels_of(KIND, 2, 11), torch.linspace(0.5, 2, 11)
    whole = loss_of(KIND, logits, labels, weight=weight, ohem=parts)
    pieces = [slice(0, 4), slice(4, 5), slice(5, 11)]
    found = on_ranks([lambda ranks, own=own: judged(about_of(KIND, ranks=ranks, ohem=parts), logits[own], labels[own],
                                                    weight[own]) for own in pieces])
    assert torch.allclose(torch.cat(found), whole)


def test_a_batch_without_a_label_costs_nothing():
    logits = numbers(1, 5, 3).requires_grad_()
    losses = loss_of(TAGS, logits, torch.full((5, 3), NAN), ohem={"ratio": 0.5})
    losses.sum().backward()
    assert losses.tolist() == [0] * 5 and logits.grad.abs().sum() == 0
