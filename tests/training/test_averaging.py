"""What is evaluated and kept: averages by steps and by epochs, and their batch norms."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment
from components.data.chance import generator
from components.data.dataset import Dataset
from components.losses.objective import supervised
from components.models.network import build_network
from components.models.settings import Architecture, Head
from components.training.averaging import after_epoch, after_step, estimate_norms, follow
from components.training.averaging_settings import Averaging
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.loop import run
from components.training.optimizers import build_optimizer
from components.training.schedule_settings import Schedule
from components.training.settings import Recipe
from components.training.state import State
from components.training.step import Job

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}, dropout=0.2)
VIT = Architecture(name="vit_tiny_patch16_224", options={"depth": 1, "embed_dim": 12, "num_heads": 2, "patch_size": 8,
                                                         "img_size": [16, 16]})
SWA = Averaging(name="swa", start=0.5, samples=17)


def recipe(**changes) -> Recipe:
    base = {"model": TINY, "epochs": 5, "batch": 8, "sizes": (16,), "precision": "fp32", "select": "last",
            "memory_format": "contiguous", "averaging": SWA, "schedule": Schedule(hold=0.3, minimum=0.2)}
    return Recipe(**(base | changes))


def test_swa_is_the_mean_of_the_last_epochs_and_its_norms_have_seen_training_views(dataset: Dataset) -> None:
    """The ends of epochs 3 to 5 (from half of five, rounded), and norms by plain code from the same draws."""
    wish, ends = recipe(), []
    network = build_network(wish.model, dataset.tasks, (16, 13), 0)
    state = State.fresh(network, build_optimizer(wish.optimizer, network))

    def after(epoch: int, figures: dict[str, float]) -> dict[str, float]:
        ends.append((copy.deepcopy(network.state_dict()), copy.deepcopy(state.average.state_dict())))
        return {}

    job = Job(dataset, dataset.rows("train"), wish, supervised(dataset.tasks), 7, torch.device("cpu"),
              lambda epoch: epoch + 1, after, lambda state: None, lambda: False, lambda batches, total: batches)
    assert run(job, state)
    for live, kept in ends[:2]:
        assert all(torch.equal(kept[name], value) for name, value in live.items())
    parameters = [name for name, _ in network.named_parameters()]
    for last in (2, 3, 4):
        for name in parameters:
            mean = torch.stack([live[name].double() for live, _ in ends[2 : last + 1]]).mean(0)
            assert torch.allclose(ends[last][1][name].double(), mean, atol=1e-6)
    oracle = build_network(wish.model, dataset.tasks, (16, 13), 0)
    oracle.load_state_dict(ends[4][1])
    seen, hooks = {}, []
    for name, module in oracle.eval().named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
            hooks.append(module.register_forward_pre_hook(
                lambda module, inputs, name=name: seen.setdefault(name, []).append(inputs[0].detach())))
    rows = generator(7, "norms", 4).permutation(dataset.rows("train"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for part in (rows[:8], rows[8:16]):  # 17 images are two batches of 8
        views = draw_views(wish.augment, 7, dataset.ids[part], 5, dataset.size[1] / dataset.size[0])
        images = render(torch.from_numpy(dataset.pixels(part)), views, (16, 13))
        with torch.no_grad():
            oracle((images - mean[:, None, None]) / std[:, None, None])
    for name, inputs in seen.items():
        means = torch.stack([one.mean((0, 2, 3)) for one in inputs]).mean(0)
        spread = torch.stack([one.var((0, 2, 3)) for one in inputs]).mean(0)
        assert torch.allclose(ends[4][1][f"{name}.running_mean"], means, atol=1e-5)
        assert torch.allclose(ends[4][1][f"{name}.running_var"], spread, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("averaging", "stop_at"), [(SWA, 4), (SWA, 9), (Averaging(name="none"), 5)])
def test_an_average_goes_on_to_the_same_bits(dataset: Dataset, tmp_path: Path, averaging: Averaging,
                                             stop_at: int) -> None:
    wish = recipe(averaging=averaging, augment=Augment(policy="trivialaugment"), select="best")
    goal = Goal("x", wish, supervised(dataset.tasks), 0)

    def around(folder: str, stop) -> Surroundings:
        return Surroundings(torch.device("cpu"), tmp_path / folder, stop, lambda metrics, epoch: None,
                            lambda batches, total: batches, save_seconds=1e9)

    whole, asked = fit(goal, dataset, around("whole", lambda: False)), iter(range(10_000))
    assert fit(goal, dataset, around("parts", lambda: next(asked) >= stop_at)) is None
    resumed = fit(goal, dataset, around("parts", lambda: False))
    assert whole is not None and resumed is not None and whole.history == resumed.history
    theirs = resumed.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in whole.network.state_dict().items())
    assert all(torch.equal(tensor, resumed.last[name]) for name, tensor in whole.last.items())


def test_workers_change_nothing_of_the_estimated_norms(dataset: Dataset, tmp_path: Path) -> None:
    found = []
    for workers in (0, 2):
        wish = recipe(epochs=2, augment=Augment(policy="randaugment"))
        around = Surroundings(torch.device("cpu"), tmp_path / str(workers), lambda: False, lambda metrics, epoch: None,
                              lambda batches, total: batches, workers)
        found.append(fit(Goal("x", wish, supervised(dataset.tasks), 0), dataset, around).network.state_dict())
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_a_frozen_norm_keeps_its_statistics() -> None:
    network = build_network(TINY, (), (32, 32), 0)
    average = copy.deepcopy(network).eval()
    norms = [name for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    network.get_submodule(norms[0]).eval()
    before = copy.deepcopy(average.state_dict())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    estimate_norms(average, network, [(images, None)] * 2)
    after = average.state_dict()
    changed = [not torch.equal(before[f"{name}.running_mean"], after[f"{name}.running_mean"]) for name in norms]
    assert changed == [False] + [True] * (len(norms) - 1)
    assert not any(module.training for module in average.modules())
    assert all(average.get_submodule(name).momentum == 0.1 for name in norms)


def test_a_network_without_batch_norms_asks_for_no_images() -> None:
    network = build_network(VIT, (), (16, 16), 0)
    estimate_norms(copy.deepcopy(network), network, (pytest.fail("asked") for _ in range(1)))


def test_norms_of_heads_are_means_over_batches_that_teach_their_task(dataset: Dataset) -> None:
    """By numpy, on what the hidden layer gives: batches with fewer than two labels of a task do not count for it."""
    wide = TINY.model_copy(update={"head": Head(kind="embedding", width=6)})
    network = build_network(wide, dataset.tasks, (32, 32), 0)
    average, chance = copy.deepcopy(network).eval(), torch.Generator().manual_seed(2)
    batches = [(torch.randn(6, 3, 32, 32, generator=chance), {"shade": shade, "hue": hue}) for shade, hue in (
        (torch.ones(6) > 0, torch.arange(6) < 1), (torch.arange(6) < 4, torch.arange(6) > 2),
        (torch.zeros(6) > 0, torch.arange(6) > 3))]
    estimate_norms(average, network, batches)
    hidden: dict[str, list[np.ndarray]] = {"shade": [], "hue": []}
    for module in average.backbone.modules():
        module.train(isinstance(module, torch.nn.BatchNorm2d))
    for images, known in batches:
        with torch.no_grad():
            embedding, _ = average.backbone(images)
            for task, found in hidden.items():
                found.append(average.heads[task].hidden(embedding)[known[task]].numpy())
    for task, found in hidden.items():
        counted = [rows for rows in found if len(rows) > 1]
        assert len(counted) == 2
        norm = average.heads[task].norm
        assert np.allclose(norm.running_mean, np.mean([rows.mean(0) for rows in counted], 0), atol=1e-5)
        assert np.allclose(norm.running_var, np.mean([rows.var(0, ddof=1) for rows in counted], 0), atol=1e-5)
        assert norm.momentum == 0.1 and not norm.training


def test_the_average_of_steps_starts_low_and_the_others_take_no_steps() -> None:
    network = torch.nn.Linear(3, 2)
    for wish in (Averaging(), SWA, Averaging(name="none")):
        ours, theirs = copy.deepcopy(network), copy.deepcopy(network)
        with torch.no_grad():
            network.weight.add_(1)
        after_step(wish, ours, network, 4)
        follow(theirs, network, 0.998 if wish.name == "ema" else 1.0, 4)
        if wish.name == "ema":
            assert torch.equal(ours.weight, theirs.weight) and not torch.equal(ours.weight, network.weight)
            assert not after_epoch(wish, ours, network, 3, 4) and torch.equal(ours.weight, theirs.weight)
        else:
            assert torch.equal(ours.weight + 1, network.weight)
            assert not after_epoch(wish, ours, network, 0, 4) and torch.equal(ours.weight, network.weight)


@pytest.mark.parametrize(("start", "epochs", "first"), [(0.75, 20, 15), (0.0, 3, 0), (0.99, 4, 3), (0.5, 1, 0)])
def test_an_average_of_epochs_has_at_least_the_last(start: float, epochs: int, first: int) -> None:
    assert Averaging(name="swa", start=start).first(epochs) == first


def test_what_an_average_does_not_read_is_refused() -> None:
    for given, told in ((("none", {"decay": 0.9}), "no decay"), (("ema", {"start": 0.2}), "no start")):
        with pytest.raises(ValidationError, match=told):
            Averaging(name=given[0], **given[1])


def test_the_mean_of_many_ends_does_not_drift() -> None:
    network, chance = torch.nn.Linear(50, 20), np.random.default_rng(0)
    average, ends = copy.deepcopy(network), []
    for epoch in range(40):
        with torch.no_grad():
            network.weight.copy_(torch.from_numpy(chance.normal(3, 1, (20, 50))))
        ends.append(network.weight.detach().numpy().astype(np.float64))
        after_epoch(Averaging(name="swa", start=0.0), average, network, epoch, 40)
    assert np.abs(average.weight.detach().numpy() - np.mean(ends, axis=0)).max() < 2e-6
