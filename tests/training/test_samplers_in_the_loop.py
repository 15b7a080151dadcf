"""Samplers and curriculum weights where they count: in a training, across interruptions, epochs of any length."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.augment_settings import Augment
from components.data.curriculum import curriculum_factor
from components.data.curriculum_settings import Curriculum
from components.data.dataset import Dataset
from components.data.sampler_settings import Sampler
from components.data.samplers.choice import STRIDE
from components.losses.distillation import Blend, distilled
from components.losses.objective import supervised
from components.models.network import build_network
from components.models.settings import Architecture
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.loop import run
from components.training.optimizers import build_optimizer
from components.training.schedule_settings import Schedule
from components.training.schedules import rate_factor
from components.training.settings import Recipe
from components.training.state import State
from components.training.step import Job

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})

SAMPLERS = {
    "balanced": Sampler(name="balanced", power=0.5),
    "adaptive": Sampler(name="adaptive", refresh=1, smoothing=0.3),
    "interleaved": Sampler(name="adaptive", refresh=2, interleave=True),
    "tasks": Sampler(name="tasks", weights={"hue": 2.0}),
    "identities": Sampler(name="identities", images=4, task="hue"),
}


def recipe(**changes):
    base = {"model": TINY, "epochs": 4, "batch": 8, "sizes": (16,), "precision": "fp32", "memory_format": "contiguous",
            "augment": Augment(policy="trivialaugment")}
    return Recipe(**(base | changes))


def surroundings(work: Path, stop=lambda: False, workers=0):
    return Surroundings(torch.device("cpu"), work, stop, lambda metrics, epoch: None, lambda batches, total: batches,
                        workers, save_seconds=1e9)


def batches_of(dataset, wish, recalls=dict, objective=None, factor=None, view_of=lambda epoch: epoch + 1):
    """Run a training; every batch with its place, the epoch's length and the rate of the step, and the final state."""
    seen = []
    network = build_network(wish.model, dataset.tasks, (16, 13), 0)
    state = State.fresh(network, build_optimizer(wish.optimizer, network))

    def watch(moments, total):
        for moment in moments:
            yield moment
            seen.append((*moment, state.optimizer.param_groups[0]["lr"]))

    job = Job(dataset, dataset.rows("train"), wish, objective or supervised(dataset.tasks), 0, torch.device("cpu"),
              view_of, lambda epoch, figures: {}, lambda state: None, lambda: False, watch,
              recalls=recalls, factor=factor)
    assert run(job, state)
    return seen, state


def same(ours, theirs):
    """Whether two fitted models are equal to the bit."""
    weights = ours.network.state_dict(), theirs.network.state_dict()
    return ours.head == theirs.head and ours.history == theirs.history and all(
        torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(("name", "stop_at"), zip(SAMPLERS, [1, 11, 6, 9, 10], strict=True))
def test_a_training_stopped_in_an_epoch_goes_on_to_the_same_bits(dataset, tmp_path, name, stop_at):
    goal = Goal("x", recipe(sampler=SAMPLERS[name]), supervised(dataset.tasks, 0.1), 0)
    whole = fit(goal, dataset, surroundings(tmp_path / "whole"))
    asked = iter(range(10_000))
    assert fit(goal, dataset, surroundings(tmp_path / "parts", lambda: next(asked) >= stop_at)) is None
    assert same(whole, fit(goal, dataset, surroundings(tmp_path / "parts")))


def test_an_adaptive_training_stopped_at_every_step_is_the_uninterrupted_one(dataset, tmp_path):
    goal = Goal("x", recipe(sampler=SAMPLERS["adaptive"], epochs=3), supervised(dataset.tasks), 0)
    whole = fit(goal, dataset, surroundings(tmp_path / "whole"))
    fitted, runs = None, 0
    while fitted is None:
        asked = iter(range(10_000))
        fitted = fit(goal, dataset, surroundings(tmp_path / "parts", lambda: next(asked) >= 1))  # noqa: B023
        runs += 1
    assert same(whole, fitted) and runs > 3 * len(dataset.rows("train")) // 8


def test_the_memory_of_the_sampler_stands_in_the_checkpoint_as_numbers(dataset, tmp_path):
    goal = Goal("x", recipe(sampler=SAMPLERS["adaptive"]), supervised(dataset.tasks), 0)
    asked = iter(range(10_000))
    fit(goal, dataset, surroundings(tmp_path, lambda: next(asked) >= 7))
    counters = json.loads((max(tmp_path.glob("state-*")) / "counters.json").read_text())
    assert set(counters["sampler"]) == {"quota", "cursor", "recall"} and counters["began"] > 0
    assert {len(values) for values in counters["sampler"].values()} == {5}


def test_workers_do_not_change_what_a_sampler_gives(dataset, tmp_path):
    goal = Goal("x", recipe(sampler=SAMPLERS["interleaved"], epochs=2), supervised(dataset.tasks), 0)
    alone, helped = (fit(goal, dataset, surroundings(tmp_path / str(number), workers=number)) for number in (0, 2))
    assert same(alone, helped)


def test_the_recall_of_val_decides_the_quotas_that_the_model_reports(dataset, tmp_path):
    goal = Goal("x", recipe(sampler=Sampler(name="adaptive", refresh=1, smoothing=0.0), epochs=2),
                supervised(dataset.tasks), 0)
    told = []
    around = surroundings(tmp_path)
    fitted = fit(goal, dataset, Surroundings(around.device, around.work, around.stop,
                                             lambda metrics, epoch: told.append(metrics), around.show))
    quotas = fitted.head["training"]["quotas"]
    assert set(quotas) == {"shade", "hue"} and list(quotas["shade"]) == ["dark", "light"]
    base, rows = 24 // 4, dataset.rows("val")
    shade = dataset.labels(dataset.tasks[0])[rows]
    recalls = [2 - quota / base for quota in quotas["shade"].values()]
    hits = sum(recall * (shade == place).sum() for place, recall in enumerate(recalls))
    assert hits / len(rows) == pytest.approx(told[-1]["val/shade/accuracy"], abs=0.12)
    assert "quotas" not in fit(Goal("x", recipe(epochs=1), supervised(dataset.tasks), 0), dataset,
                               surroundings(tmp_path / "plain")).head["training"]


def test_epochs_may_change_in_length_and_the_rate_still_falls_from_one_to_nothing(dataset):
    worse = iter([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    wish = recipe(sampler=Sampler(name="adaptive", refresh=1, smoothing=0.0), epochs=6, schedule=Schedule(warmup=0.0))

    def recalls():
        value = next(worse)
        return {task.name: np.full(len(task.classes), value) for task in dataset.tasks}

    seen, state = batches_of(dataset, wish, recalls)
    lengths = [steps for place, steps, _, _ in seen if place == 0]
    assert lengths == [3, 3, 3, 6, 6, 3] and len(seen) == sum(lengths) == state.step
    rates = np.array([rate for *_, rate in seen]) / wish.optimizer.lr
    assert (np.diff(rates) < 0).all() and rates[-1] == pytest.approx(0, abs=1e-12)
    assert max(-np.diff(rates)) <= np.pi / 2 / (6 * 3) + 1e-9


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=9), warmup=st.sampled_from([0.0, 0.1, 0.3]))
def test_the_rate_never_leaps_from_one_epoch_to_the_next(lengths, warmup):
    epochs, wish = len(lengths), Schedule(warmup=warmup)
    rates = [rate_factor(wish, epoch * steps + place, epochs * steps, epochs) for epoch, steps in enumerate(lengths)
             for place in range(steps)]
    assert all(0 <= rate <= 1 for rate in rates)
    # Whole steps of warm-up round to whole steps of the epoch's own length, half a step each.
    steepest = max(np.pi / 2 / (1 - warmup), 2 / max(warmup, 0.1)) / (epochs * min(lengths))
    assert max(abs(np.diff(rates)), default=0) <= 2 * steepest


def test_a_repeat_within_an_epoch_is_another_view_and_no_later_one(dataset):
    seen, _ = batches_of(dataset, recipe(sampler=SAMPLERS["identities"], epochs=5))
    pairs = [pair for _, _, batch, _ in seen for pair in zip(batch.rows.tolist(), batch.view.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs)
    assert {(view - 1) % STRIDE for _, view in pairs} == set(range(5))


def test_stored_views_are_passed_through_by_repeats(dataset):
    wish = recipe(sampler=Sampler(name="balanced", samples_per_epoch=24 * 16), epochs=2)
    seen, _ = batches_of(dataset, wish, view_of=lambda epoch: 1 + epoch % 3)
    views = {}
    for _, _, batch, _ in seen:
        for row, view in zip(batch.rows.tolist(), batch.view.tolist(), strict=True):
            views.setdefault(row, []).append(view)
    assert all(set(found) == {1, 2, 3} for found in views.values())


def test_a_batch_of_one_task_trains_the_head_of_that_task_alone(dataset):
    wish = recipe(sampler=SAMPLERS["tasks"], epochs=1)
    parts, plain = {}, supervised(dataset.tasks)

    def watched(outputs, batch):
        losses, by_name = plain(outputs, batch)
        parts.setdefault(batch.task, []).append({name: float(part.detach().sum()) for name, part in by_name.items()})
        return losses, by_name

    batches_of(dataset, wish, objective=watched)
    assert set(parts) == {"shade", "hue"}
    for task, found in parts.items():
        assert all(sums[task] > 0 and sum(sums.values()) == sums[task] for sums in found)


def test_a_teacher_says_nothing_of_a_task_that_a_batch_is_not_about(dataset):
    wish = recipe(sampler=SAMPLERS["tasks"], epochs=1)
    even = {task.name: torch.full((1, len(task.classes)), 1 / len(task.classes)) for task in dataset.tasks}
    plain = distilled(dataset.tasks, lambda task, batch: even[task].expand(len(batch.rows), -1), Blend(2.0, 0.5))
    parts = {}

    def watched(outputs, batch):
        losses, by_name = plain(outputs, batch)
        parts.setdefault(batch.task, []).append({name: float(part.detach().sum()) for name, part in by_name.items()})
        return losses, by_name

    batches_of(dataset, wish, objective=watched)
    for task, found in parts.items():
        assert all(sums[task] > 0 and sum(sums.values()) == sums[task] for sums in found)


def test_curriculum_weights_multiply_those_of_the_dataset_epoch_by_epoch(dataset):
    chance = np.random.default_rng(0)
    dataset.samples["weight"] = chance.uniform(0.5, 2, len(dataset))
    probabilities = chance.random(len(dataset))
    factor = curriculum_factor(probabilities, dataset.rows("train"),
                               Curriculum(thresholds=(0.5, 0.0), weights=(1.0, 0.2), ramp=4))
    seen, _ = batches_of(dataset, recipe(epochs=6), factor=factor)
    assert dataset.weights.std() > 0.1
    epoch = -1
    for place, _, batch, _ in seen:
        epoch += place == 0
        own = np.where(probabilities[batch.rows] >= 0.5, 1.0, 0.2)
        expected = dataset.weights[batch.rows] * (own + (1 - own) * min(epoch / 4, 1))
        assert np.allclose(batch.weight.numpy(), expected, rtol=1e-6)


def test_weights_of_a_curriculum_count_as_those_of_a_column_do(dataset):
    rows = dataset.rows("train")
    keep = np.zeros(len(dataset))
    keep[rows[::2]] = 1.0
    wish = recipe(epochs=1, batch=24, model=TINY.model_copy(update={"dropout": 0.0}), augment=Augment())
    factor = curriculum_factor(keep, rows, Curriculum(thresholds=(0.5, 0.0), weights=(1.0, 0.0)))
    _, state = batches_of(dataset, wish, factor=factor)
    given = Dataset.open(dataset.path)
    given.samples["weight"] = keep
    _, named = batches_of(given, wish)
    _, plain = batches_of(dataset, wish)
    assert state.history == named.history != plain.history
