"""Heads are independent of each other, and their norms see the samples that are labelled for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from components.data.tasks import Task
from components.losses.objective import supervised
from components.models.heads import EmbeddingHead, LabelledNorm
from components.models.network import build_network
from components.models.settings import Architecture, Head
from components.training.step import Job, taught

TASKS = (Task("shade", "single", ("dark", "light")), Task("hue", "multi", ("red", "green", "blue")),
         Task("cut", "single", ("a", "b", "c", "d")))
TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]},
                    head=Head(kind="embedding"))
LABELLED = {"shade": torch.tensor([1, 1, 0, 0, 1, 1], dtype=torch.bool),
            "hue": torch.tensor([0, 0, 1, 1, 1, 0], dtype=torch.bool),
            "cut": torch.tensor([0, 1, 0, 0, 0, 0], dtype=torch.bool)}


def trained(tasks, architecture=TINY, steps=3):
    """A network after some steps on one batch, each task's loss over its own labelled samples."""
    torch.manual_seed(7)
    images = torch.randn(6, 3, 32, 32)
    targets = {task.name: torch.randn(6, len(task.classes)) for task in TASKS}
    network = build_network(architecture, tasks, (32, 32), 4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(steps):
        torch.manual_seed(step)
        outputs = network(images, LABELLED)
        losses = [((outputs.logits[name] - targets[name])[known] ** 2).sum() for name, known in LABELLED.items()
                  if name in outputs.logits]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_regression_1_permuting_tasks_changes_neither_a_heads_function_nor_its_statistics(dropout):
    architecture = TINY.model_copy(update={"head": Head(kind="embedding", width=12, dropout=dropout)})
    forward, backward = trained(TASKS, architecture), trained(TASKS[::-1], architecture)
    fresh = build_network(architecture, TASKS, (32, 32), 4).state_dict()
    turned = build_network(architecture, TASKS[::-1], (32, 32), 4).state_dict()
    assert fresh.keys() == turned.keys() and all(torch.equal(fresh[name], turned[name]) for name in fresh)
    ours, theirs = forward.state_dict(), backward.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-5) for name in ours)
    moved = {name.split(".")[1] for name in ours
             if name.startswith("heads.") and "running" in name and not torch.equal(ours[name], fresh[name])}
    assert moved == {"shade", "hue"}  # one labelled sample has no spread
    images = torch.randn(4, 3, 32, 32)
    for name, logits in forward.eval()(images).logits.items():
        assert torch.allclose(logits, backward.eval()(images).logits[name], atol=1e-5)


def test_regression_1_a_head_is_the_same_function_whether_other_heads_stand_beside_it():
    alone, among = (build_network(TINY, tasks, (32, 32), 4).eval() for tasks in (TASKS[1:2], TASKS))
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(alone(images).logits["hue"], among(images).logits["hue"])


def test_regression_1_a_heads_norm_sees_its_own_labelled_samples_alone():
    network = build_network(TINY, TASKS, (32, 32), 4)
    twin = build_network(TINY, TASKS, (32, 32), 4)
    first, second = torch.randn(6, 16), torch.randn(6, 16)
    known = LABELLED["shade"]
    second[known] = first[known]
    ours, theirs = network.heads["shade"](first, known), twin.heads["shade"](second, known)
    assert torch.equal(ours[known], theirs[known])
    assert torch.equal(network.heads["shade"].norm.running_var, twin.heads["shade"].norm.running_var)


@pytest.mark.parametrize("known", [None, [1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0]])
def test_the_norm_is_that_of_torch_on_the_labelled_samples(known):
    chosen = torch.ones(6, dtype=torch.bool) if known is None else torch.tensor(known, dtype=torch.bool)
    ours, theirs = LabelledNorm(5).double(), nn.BatchNorm1d(5).double()
    for norm in (ours, theirs):
        torch.manual_seed(1)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    values = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    copy = values.detach().clone().requires_grad_()
    pull = torch.randn(int(chosen.sum()), 5, dtype=torch.float64)
    for _ in range(2):
        told, expected = ours(values, None if known is None else chosen), theirs(copy[chosen])
    assert torch.allclose(told[chosen], expected)
    (told[chosen] * pull).sum().backward()
    (expected * pull).sum().backward()
    assert torch.allclose(values.grad, copy.grad) and torch.allclose(ours.weight.grad, theirs.weight.grad)
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.running_var, theirs.running_var)
    assert torch.allclose(ours.eval()(values), theirs.eval()(values))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_labelled_samples_are_normed_by_the_running_statistics(count):
    norm = LabelledNorm(5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    values = torch.randn(4, 5, requires_grad=True)
    told = norm(values, torch.arange(4) < count)
    expected = nn.functional.batch_norm(values, before["running_mean"], before["running_var"])
    assert torch.allclose(told, expected, atol=1e-6)
    told.sum().backward()
    assert torch.isfinite(values.grad).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_a_norm_in_half_precision_reckons_in_single():
    norm, values = LabelledNorm(4), torch.randn(8, 4).bfloat16()
    told = norm(values)
    assert told.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
    assert torch.allclose(norm.running_mean, 0.1 * values.float().mean(dim=0), atol=1e-6)


def test_an_embedding_head_is_drawn_from_wide_and_narrow_normals():
    head = EmbeddingHead(512, 400, Head(kind="embedding", width=800))
    torch.manual_seed(0)
    head.draw()
    assert head.hidden.weight.std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.02)  # by what it feeds
    assert head.last.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert not head.hidden.bias.any() and not head.last.bias.any()


def test_a_mixed_image_teaches_the_tasks_of_either_label(dataset):
    from components.data.loader import Batches, load
    from components.data.mixing import Mixture, shares
    from components.training.settings import Recipe

    recipe = Recipe(model=TINY)
    job = Job(dataset, dataset.rows("train"), recipe, supervised(dataset.tasks), 5, torch.device("cpu"),
              lambda epoch: 1, lambda epoch, figures: {}, lambda state: None, lambda: False, lambda batches, _: batches)
    rows = dataset.rows("train")[:4]
    batch = next(load(Batches(dataset, [(rows, 1)], 5, recipe.augment)))
    name = next(task.name for task in dataset.tasks if task.kind == "single")
    batch = replace(batch, labels=batch.labels | {name: torch.tensor([0, -1, 1, -1])})
    box = np.zeros((4, 4), np.int64)
    kept = np.array([0.5, 0.5, 1.0, 1.0], np.float32)
    mixed = shares(batch, Mixture(np.array([1, 0, 3, 2]), kept, box, kept))
    assert taught(job, [batch])[name].tolist() == [True, False, True, False]
    assert taught(job, mixed)[name].tolist() == [True, True, True, False]
    plain = replace(job, recipe=Recipe())
    assert taught(plain, [batch]) is None
