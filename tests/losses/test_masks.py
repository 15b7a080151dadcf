"""What a loss must not depend on: samples without a label, the order of a batch, its size."""

import pytest
import torch
from cases import EVERY, NAMES, NAN, about_of, judged, labels_of, loss_of, numbers


@pytest.mark.parametrize("place", [0, 3, 7])
@pytest.mark.parametrize(("task", "parts"), EVERY, ids=NAMES)
def test_a_sample_without_a_label_changes_nothing_of_the_others(task, parts, place):
    """Nor one that weighs nothing: neither losses, nor gradients, nor statistics."""
    count = len(task.classes)
    logits, labels = numbers(7, 7, count), labels_of(task, 8, 7)
    none = torch.full_like(labels[:1], NAN if labels.is_floating_point() else -1)
    strange = torch.cat([logits[:place], 9 * numbers(9, 1, count), logits[place:]])
    others = torch.arange(8) != place
    plain = weighed(task, parts, logits, labels, torch.ones(7))
    for added, weight in ((none, 1.0), (labels[:1], 0.0)):
        given = torch.cat([labels[:place], added, labels[place:]])
        weights = torch.where(others, 1.0, weight)
        losses, gradient, shares = weighed(task, parts, strange, given, weights)
        assert torch.allclose(losses[others], plain[0]) and torch.allclose(gradient[others], plain[1])
        assert torch.allclose(shares, plain[2])
        assert gradient[place].abs().sum() == 0 and (losses[place] == 0 or weight == 0)


def weighed(task, parts, logits, labels, weight):
    """Losses, the gradient of their weighted sum, and the shares of densities, if any."""
    about, logits = about_of(task, 0.1, **parts), logits.clone().requires_grad_()
    losses = judged(about, logits, labels, weight)
    gradient = torch.autograd.grad((losses * weight).sum(), logits)[0]
    if about.densities is None:
        return losses, gradient, torch.zeros(1)
    about.densities.settle()
    return losses, gradient, about.densities.shares


@pytest.mark.parametrize(("task", "parts"), EVERY, ids=NAMES)
def test_the_order_of_a_batch_changes_nothing(task, parts):
    logits, labels = numbers(11, 13, len(task.classes)), labels_of(task, 12, 13)
    order = numbers(13, 13).argsort()
    assert torch.allclose(loss_of(task, logits, labels, **parts)[order],
                          loss_of(task, logits[order], labels[order], **parts))


@pytest.mark.parametrize(("task", "parts"), EVERY, ids=NAMES)
def test_a_batch_given_twice_has_the_same_mean_loss(task, parts):
    logits, labels = numbers(11, 10, len(task.classes)), labels_of(task, 12, 10)
    once, twice = loss_of(task, logits, labels, **parts), loss_of(
        task, torch.cat([logits] * 2), torch.cat([labels] * 2), **parts)
    assert once.mean().item() == pytest.approx(twice.mean().item())
