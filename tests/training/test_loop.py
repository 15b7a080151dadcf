import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.data.augment_settings import Augment
from components.errors import UserError
from components.losses.objective import supervised
from components.models.network import build_network
from components.models.settings import Architecture
from components.training import checkpoints
from components.training.averaging import follow
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.optimizer_settings import Optimizer
from components.training.optimizers import build_optimizer
from components.training.schedule_settings import Schedule
from components.training.schedules import rate_factor
from components.training.settings import Recipe
from components.training.step import size_of

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}, dropout=0.2)


def recipe(**changes):
    base = {
        "model": TINY,
        "epochs": 4,
        "batch": 8,
        "sizes": (16, 20),
        "precision": "fp32",
        "memory_format": "contiguous",
    }
    return Recipe(**(base | changes))


def surroundings(work: Path, stop=lambda: False, seconds: float = 1e9, reports=None):
    report = (
        (lambda metrics, epoch: reports.append((epoch, metrics)))
        if reports is not None
        else (lambda metrics, epoch: None)
    )
    return Surroundings(torch.device("cpu"), work, stop, report, lambda batches, total: batches, save_seconds=seconds)


@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer(name="sgd", lr=0.05)])
@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_a_training_stopped_anywhere_goes_on_to_the_same_bits(dataset, tmp_path, optimizer, stop_at):
    wish = recipe(optimizer=optimizer, clip=1.0, augment=Augment(policy="trivialaugment"))
    goal = Goal("x", wish, supervised(dataset.tasks, 0.1), 0)
    whole = fit(goal, dataset, surroundings(tmp_path / "whole"))
    asked = iter(range(10_000))
    assert fit(goal, dataset, surroundings(tmp_path / "parts", stop=lambda: next(asked) >= stop_at)) is None
    assert len(list((tmp_path / "parts").glob("state-*"))) == 1
    resumed = fit(goal, dataset, surroundings(tmp_path / "parts"))
    assert whole is not None and resumed is not None
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.head == resumed.head and whole.history == resumed.history


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(dataset, tmp_path, capsys):
    goal = Goal("x", recipe(), supervised(dataset.tasks), 0)
    whole = fit(goal, dataset, surroundings(tmp_path / "whole"))
    asked = iter(range(10_000))
    assert fit(goal, dataset, surroundings(tmp_path / "parts", stop=lambda: next(asked) >= 7, seconds=0.0)) is None
    newest = max((tmp_path / "parts").glob("state-*")) / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    resumed = fit(goal, dataset, surroundings(tmp_path / "parts"))
    assert "is damaged" in capsys.readouterr().err
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    )


def test_the_last_epoch_is_kept_beside_an_earlier_best_one(dataset, tmp_path):
    for select in ("best", "last"):
        goal = Goal("x", recipe(epochs=6, select=select), supervised(dataset.tasks), 0)
        fitted = fit(goal, dataset, surroundings(tmp_path / f"work-{select}"))
        fitted.save(tmp_path / select)
    final = load_file(tmp_path / "last" / "model.safetensors")
    assert not (tmp_path / "last" / "last.safetensors").exists()
    best_epoch = json.loads((tmp_path / "best" / "model.json").read_text())["training"]["best_epoch"]
    kept = tmp_path / "best" / ("model.safetensors" if best_epoch == 6 else "last.safetensors")
    assert all(torch.equal(tensor, final[name]) for name, tensor in load_file(kept).items())


def test_at_most_two_states_are_kept(dataset, tmp_path):
    fit(Goal("x", recipe(), supervised(dataset.tasks), 0), dataset, surroundings(tmp_path, seconds=0.0))
    assert len(list(tmp_path.glob("state-*"))) == checkpoints.KEPT
    assert not list(tmp_path.glob(".*"))


def test_a_diverging_loss_names_the_step_and_the_remedy(dataset):
    wish = recipe(optimizer=Optimizer(name="sgd", lr=1e30), epochs=30)
    with pytest.raises(UserError, match="not finite at step") as raised:
        fit(Goal("x", wish, supervised(dataset.tasks), 0), dataset, surroundings(Path("/nonexistent")))
    assert "lr" in raised.value.remedy


def test_the_average_follows_with_a_decay_that_starts_low():
    network = build_network(TINY, (), (32, 32), 0)
    average = copy.deepcopy(network)
    expected = {name: value.double() for name, value in network.state_dict().items()}
    for step in range(1, 6):
        for value in network.state_dict().values():
            value.copy_(value + 1)
        follow(average, network, 0.3, step)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = {
            name: decay * kept + (1 - decay) * network.state_dict()[name].double() for name, kept in expected.items()
        }
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value.double(), expected[name], atol=1e-5)
        else:
            assert torch.equal(value, network.state_dict()[name])


@pytest.mark.parametrize(("total", "warmup"), [(10, 0.0), (100, 0.08), (37, 0.5)])
def test_the_rate_rises_in_a_line_falls_as_a_cosine_and_never_jumps(total, warmup):
    factors = [rate_factor(Schedule(warmup=warmup), step, total, 7) for step in range(total)]
    rise = round(total * warmup)
    assert max(factors) <= 1.0 and factors[-1] == pytest.approx(0.0, abs=1e-12)
    steepest = max(1 / rise if rise else 0, math.pi / 2 / (total - rise))
    assert max(abs(np.diff(factors))) <= steepest + 1e-9
    assert np.allclose(np.diff(factors[:rise]), 1 / rise if rise else [])


def test_sizes_are_phases_of_equal_length_in_the_stored_proportion():
    wish = recipe(epochs=6, sizes=(16, 24, 32))
    assert [size_of(wish, epoch, (40, 20)) for epoch in range(6)] == [(16, 8)] * 2 + [(24, 12)] * 2 + [(32, 16)] * 2


def test_biases_and_norms_are_not_decayed():
    network = build_network(TINY, (), (32, 32), 0)
    decayed, plain = build_optimizer(Optimizer(), network).param_groups
    assert decayed["weight_decay"] == 0.05 and plain["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decayed["params"]) and all(p.ndim == 1 for p in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(network.parameters()))


def test_more_pixels_than_are_stored_are_warned_of(dataset, tmp_path, capsys):
    fit(Goal("x", recipe(epochs=1, sizes=(16, 32)), supervised(dataset.tasks), 0), dataset, surroundings(tmp_path))
    assert "x looks at 32 x 27 pixels, but 24 x 20 are stored; raise index.size" in capsys.readouterr().err


def test_samples_without_weight_teach_nothing(dataset, tmp_path):
    dataset.samples["weight"] = 0.0
    goal = Goal("x", recipe(optimizer=Optimizer(weight_decay=0.0), epochs=2), supervised(dataset.tasks), 0)
    fitted = fit(goal, dataset, surroundings(tmp_path))
    start = build_network(TINY, dataset.tasks, size_of(goal.recipe, 1, dataset.size), 0)
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), fitted.network.parameters(), strict=True))


def test_learning_happens_and_every_epoch_is_reported(dataset, tmp_path):
    reports = []
    wish = recipe(epochs=25, sizes=(20,), augment=Augment(saturation=0, brightness=0.1, contrast=0.1, erase=0))
    fitted = fit(Goal("x", wish, supervised(dataset.tasks), 0), dataset, surroundings(tmp_path, reports=reports))
    assert [epoch for epoch, _ in reports] == list(range(1, 26))
    assert fitted.head["training"]["val"]["val/shade/accuracy"] >= 0.9
    assert set(fitted.head["calibration"]) == {"shade", "hue"}
