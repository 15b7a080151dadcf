"""Every loss where it counts: in a training of one tiny model, stopped and resumed, with its state in checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_models import write_photographs

from components.data.dataset import Dataset
from components.data.sampler_settings import Sampler
from components.errors import UserError
from components.losses.distillation import blended
from components.losses.objective import trained
from components.losses.settings import Loss
from components.models.settings import Architecture
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal, losses_of
from components.training.optimizer_settings import Optimizer
from components.training.settings import Recipe

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})

# The `loss` of a data set with a single task, kind, and one of several labels, trim.
LOSSES = {
    "plain": {},
    "sigmoid": {"base": "sigmoid"},
    "cost": {"cost": {"other": 0.5}},
    "sigmoid_cost": {"base": "sigmoid", "cost": {"other": 0.5}},
    "cells": {"tasks": {"kind": {"cost": {"cells": {"ドレス": {"$x_1$": 5.0}}}}}},
    "rows": {"tasks": {"trim": {"cost": {"rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}}}},
    "threshold": {"base": "sigmoid", "threshold": {"low": {"other": 0.05}, "up": {"diagonal": 0.95}}},
    "softmax_threshold": {"threshold": {"up": {"diagonal": 0.5}}},
    "ohem": {"ohem": {"ratio": 0.7}},
    "ohem_gradient": {"base": "sigmoid", "ohem": {"ratio": 0.7, "by": "gradient"}},
    "ohem_problem": {"base": "sigmoid", "ohem": {"ratio": 0.7, "unit": "problem"}},
    "ghm": {"ghm": {"bins": 30}},
    "sigmoid_ghm": {"base": "sigmoid", "ghm": {"bins": 30, "momentum": 0.9}},
    "focal": {"focal": {"gamma": 2.0}},
    "sigmoid_focal": {"base": "sigmoid", "focal": {"gamma": 2.0, "alpha": 0.25}},
    "asymmetric": {"base": "sigmoid", "asymmetric": {"positive": 1, "negative": 4, "margin": 0.05}},
    "adjust": {"tasks": {"kind": {"adjust": 1.0}}},
    "balance": {"tasks": {"kind": {"balance": 0.99}}},
    "learnt": {"task_weighting": "learnt"},
    "all": {"cost": {"other": 0.5}, "threshold": {"up": {"diagonal": 0.99}}, "ohem": {"ratio": 0.8},
            "ghm": {"bins": 10}, "focal": {"gamma": 1.0}, "task_weighting": "learnt"},
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return Dataset.open(write_photographs(tmp_path_factory.mktemp("losses") / "dataset", 30))


def recipe(loss, **changes):
    base = {"model": TINY, "epochs": 2, "batch": 5, "sizes": (16,), "precision": "fp32", "memory_format": "contiguous",
            "loss": Loss.model_validate_json(json.dumps(loss))}
    return Recipe(**(base | changes))


def goal(dataset, wish):
    return Goal("x", wish, trained(losses_of(wish, dataset, "x")), 0)


def surroundings(work: Path, stop=lambda: False):
    return Surroundings(torch.device("cpu"), work, stop, lambda metrics, epoch: None, lambda batches, total: batches,
                        save_seconds=1e9)


def stopped_at(step):
    asked = iter(range(10_000))
    return lambda: next(asked) >= step


@pytest.fixture(scope="module")
def plain(photographs, tmp_path_factory):
    return fit(goal(photographs, recipe({})), photographs, surroundings(tmp_path_factory.mktemp("plain")))


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_trains_and_goes_on_after_a_stop_to_the_same_bits(photographs, plain, tmp_path, name):
    one = goal(photographs, recipe(LOSSES[name]))
    whole = fit(one, photographs, surroundings(tmp_path / "whole"))
    assert fit(one, photographs, surroundings(tmp_path / "parts", stopped_at(3))) is None
    resumed = fit(goal(photographs, one.recipe), photographs, surroundings(tmp_path / "parts"))
    assert whole.history == resumed.history and whole.head == resumed.head
    assert (whole.history == plain.history) is (name == "plain")
    weights = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    figures = [row[f"train/{task}"] for row in whole.history for task in ("kind", "trim")]
    assert np.isfinite(figures).all() and min(figures) > 0
    assert not any(key.startswith("losses") for key in weights[0])


def test_an_objective_that_went_through_a_training_begins_the_next_anew(photographs, tmp_path):
    one = goal(photographs, recipe(LOSSES["all"], epochs=1))
    first, second = (fit(one, photographs, surroundings(tmp_path / name)) for name in ("first", "second"))
    assert first.history == second.history


def test_regression_6_densities_stand_in_the_checkpoint_and_stop_with_training(photographs, tmp_path):
    one = goal(photographs, recipe(LOSSES["all"]))
    assert fit(one, photographs, surroundings(tmp_path, stopped_at(3))) is None
    folder = max(tmp_path.glob("state-*"))
    saved, steps = load_file(folder / "tensors.safetensors"), json.loads((folder / "counters.json").read_text())["step"]
    for task in ("kind", "trim"):
        assert saved[f"losses.steps.{task}"] == steps > 1
        shares = saved[f"losses.shares.{task}"]
        assert shares.shape == (10,) and shares.sum().item() == pytest.approx(1 - 0.75**steps)


def test_the_optimiser_learns_the_weights_of_tasks(photographs, tmp_path):
    fitted = fit(goal(photographs, recipe(LOSSES["learnt"], epochs=3)), photographs, surroundings(tmp_path))
    weights = {task: [row[f"train/{task}/weight"] for row in fitted.history] for task in ("kind", "trim")}
    # Twice the loss of four classes is above 1: its weight falls; both go where their loss says.
    assert weights["kind"][0] > weights["kind"][1] > weights["kind"][2] and len(set(weights["trim"])) == 3


@pytest.mark.parametrize("name", ["ranger", "novograd", "muon"])
def test_weights_of_tasks_are_learnt_and_resumed_under_other_optimisers(photographs, tmp_path, name):
    wish = recipe(LOSSES["learnt"], optimizer=Optimizer(name=name))
    whole = fit(goal(photographs, wish), photographs, surroundings(tmp_path / "whole"))
    assert fit(goal(photographs, wish), photographs, surroundings(tmp_path / "parts", stopped_at(3))) is None
    resumed = fit(goal(photographs, wish), photographs, surroundings(tmp_path / "parts"))
    weights = [row["train/kind/weight"] for row in whole.history]
    assert 1 > weights[0] > weights[1] and whole.history == resumed.history


@pytest.mark.parametrize(("loss", "said"), [
    ({"cost": {"rows": [[1, 2], [3, 4]]}}, "kind has 4 classes: expected 4 x 4"),
    ({"tasks": {"knd": {}}}, "loss.tasks names knd"), ({"adjust": 1.0}, "trim is 3 binary problems")])
def test_a_loss_that_does_not_fit_the_data_set_is_refused_before_training(photographs, loss, said):
    with pytest.raises(UserError) as raised:
        losses_of(recipe(loss), photographs, "x")
    assert said in raised.value.cause


def test_a_sampler_and_a_loss_that_both_balance_classes_are_warned_of(photographs, capsys):
    wish = recipe(LOSSES["balance"], sampler=Sampler(name="balanced", task="kind"))
    losses_of(wish, photographs, "x")
    assert "warning: x: the sampler balanced and loss.adjust or loss.balance both make up" in capsys.readouterr().err
    losses_of(recipe(LOSSES["balance"]), photographs, "x")
    losses_of(recipe({}, sampler=wish.sampler), photographs, "x")
    assert capsys.readouterr().err == ""


def test_a_student_learns_from_teachers_beside_any_loss(photographs, tmp_path):
    wish = recipe(LOSSES["all"], epochs=1)
    said = {task.name: torch.full((len(photographs), len(task.classes)), 1 / len(task.classes))
            for task in photographs.tasks}
    objective = blended(losses_of(wish, photographs, "x"), lambda task, batch: said[task][batch.rows], (2.0, 0.5))
    fitted = fit(Goal("x", wish, objective, 0), photographs, surroundings(tmp_path))
    assert np.isfinite(fitted.history[0]["train/loss"]) and fitted.history[0]["train/trim/weight"] != 1
