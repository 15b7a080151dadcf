"""What a loss must not depend on: samples without a label, the order of a batch, its size, its device."""

import pytest
import torch
from cases import EVERY, NAMES, NAN, TAGS, about_of, judged, labels_of, loss_of, numbers
from torch._subclasses.fake_tensor import FakeTensorMode

from components.losses.criterion import build_criterion


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


@pytest.mark.parametrize(("task", "parts"), EVERY, ids=NAMES)
def test_everything_about_a_loss_is_where_its_logits_are(task, parts):
    """A device that is only feigned refuses what is elsewhere as a real one does."""
    about = about_of(task, 0.1, **parts)
    criterion = build_criterion(about)
    with FakeTensorMode(allow_non_fake_inputs=True):
        if about.densities is not None:
            about.densities.shares = torch.zeros(about.densities.shares.shape, dtype=torch.float64, device="cuda")
            about.densities.steps = torch.zeros((), dtype=torch.float64, device="cuda")
        logits = torch.zeros(6, len(task.classes), device="cuda", requires_grad=True)
        labels = torch.zeros_like(logits) if task is TAGS else torch.zeros(6, dtype=torch.int64, device="cuda")
        assert criterion(logits, labels, torch.ones(6, device="cuda")).device.type == "cuda"
        if about.densities is not None:
            about.densities.settle()
            assert about.densities.shares.device.type == "cuda"
