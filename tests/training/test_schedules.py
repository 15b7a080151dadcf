"""The rate as a function of the step, against torch's schedulers, written-out rules, and restarts."""

import json
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim import lr_scheduler

from components.training.schedule_settings import Name, Schedule
from components.training.schedules import CURVES, rate_factor
from components.training.settings import Recipe

# One of each name, as they would stand in a file; 12 epochs.
ONE_OF_EACH = {
    "cosine": Schedule(minimum=0.01, hold=0.1),
    "linear": Schedule(name="linear", minimum=0.05),
    "constant": Schedule(name="constant"),
    "step": Schedule(name="step", phases=4, gamma=0.5),
    "multi_step": Schedule(name="multi_step", steps=(4, 7.5), gamma=0.3),
    "every_n": Schedule(name="every_n", every=5),
    "piecewise": Schedule(name="piecewise", steps=(3, 9), ratios=(1.0, 0.4, 2.0)),
    "one_cycle": Schedule(name="one_cycle", rise=0.25),
}


def factors(schedule: Schedule, per_epoch: int, epochs: int) -> list[float]:
    total = per_epoch * epochs
    return [rate_factor(schedule, step, total, epochs) for step in range(total)]


def scheduled(make, total: int) -> list[float]:
    """What a scheduler of torch makes of a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_every_name_has_a_curve_and_an_example() -> None:
    assert set(CURVES) == set(get_args(Name)) == set(ONE_OF_EACH)


def test_the_default_is_a_rise_and_half_a_cosine_to_the_bit() -> None:
    for total, warmup in [(10, 0.0), (100, 0.08), (37, 0.5), (1234, 0.08)]:
        rise = round(total * warmup)
        plain = [(step + 1) / rise if step < rise
                 else 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / max(total - rise, 1))) for step in range(total)]
        assert [rate_factor(Schedule(warmup=warmup), step, total, 3) for step in range(total)] == plain


def test_a_cosine_with_a_minimum_is_torch_s_and_stays_there() -> None:
    wish = Schedule(warmup=0.0, minimum=0.1, hold=0.25)
    theirs = scheduled(lambda one: lr_scheduler.CosineAnnealingLR(one, 90, eta_min=0.1), 91)
    ours = factors(wish, 10, 12)
    assert np.allclose(ours[:90], theirs[1:], atol=1e-12) and np.allclose(ours[90:], 0.1)


def test_linear_is_torch_s() -> None:
    theirs = scheduled(lambda one: lr_scheduler.LinearLR(one, 1.0, 0.2, 60), 61)
    assert np.allclose(factors(Schedule(name="linear", warmup=0.0, minimum=0.2), 5, 12), theirs[1:], atol=1e-12)


def test_multi_step_and_every_n_are_torch_s_epoch_by_epoch() -> None:
    per_epoch, epochs = 7, 90
    many = scheduled(lambda one: lr_scheduler.MultiStepLR(one, [30, 60], 0.1), epochs)
    wish = Schedule(name="multi_step", warmup=0.0, steps=(30, 60))
    assert np.allclose(factors(wish, per_epoch, epochs), np.repeat(many, per_epoch), rtol=1e-12)
    tenth = scheduled(lambda one: lr_scheduler.StepLR(one, 40, 0.1), epochs)
    wish = Schedule(name="every_n", warmup=0.0)
    assert np.allclose(factors(wish, per_epoch, epochs), np.repeat(tenth, per_epoch), rtol=1e-12)


def test_one_cycle_is_torch_s() -> None:
    total = 200
    theirs = scheduled(lambda one: lr_scheduler.OneCycleLR(one, 1.0, total, pct_start=0.3, div_factor=25,
                                                           final_div_factor=1e4, cycle_momentum=False), total - 1)
    ours = factors(Schedule(name="one_cycle", minimum=0.04 / 1e4), 20, 10)
    assert np.allclose(ours[: total - 1], theirs, atol=1e-12) and ours[-1] == pytest.approx(4e-6)
    assert max(ours) == pytest.approx(1.0)


def test_phases_are_equally_long_and_lower_each() -> None:
    found = factors(Schedule(name="step", warmup=0.1, phases=3, gamma=0.2), 10, 10)
    assert found[10:] == pytest.approx([1.0] * 30 + [0.2] * 30 + [0.04] * 30)


def test_the_rule_of_five_phases_is_reproduced_by_ratios_and_steps() -> None:
    """A tenth for 5 epochs of 85, then, with s a quarter of the rest, 1.5 s at 1 and s each at .1, .01; then .001."""
    epochs, warm = 85, 5
    s = (epochs - warm) / 4
    ends = [warm, warm + int(1.5 * s), warm + int(2.5 * s), warm + int(3.5 * s)]
    assert ends == [5, 35, 55, 75]
    plain = [next((ratio for end, ratio in zip(ends, (0.1, 1.0, 0.1, 0.01), strict=True) if epoch < end), 0.001)
             for epoch in range(epochs)]
    wish = Schedule(name="piecewise", warmup=0.0, steps=(5, 35, 55, 75), ratios=(0.1, 1.0, 0.1, 0.01, 0.001))
    assert factors(wish, 6, epochs) == list(np.repeat(plain, 6))
    default = factors(Schedule(name="piecewise", warmup=5 / 85), 6, epochs)
    assert default[30:] == pytest.approx(np.repeat(plain, 6)[30:]) and default[29] == 1.0


@pytest.mark.parametrize("name", get_args(Name))
@pytest.mark.parametrize("warmup", [0.05, 0.08, 0.2])
def test_regression_4_the_rate_is_continuous_where_the_warm_up_ends(name: str, warmup: float) -> None:
    """The leaps that are meant apart, no step changes the rate by more than the steepest slope; none is at the seam."""
    wish = ONE_OF_EACH[name]
    if name != "one_cycle":
        wish = wish.model_copy(update={"warmup": warmup})
    found = factors(wish, 50, 12)
    rise = round(600 * warmup)
    steepest = max(1 / rise, math.pi / 2 / (0.25 * 600)) + 1e-12
    leaps = np.flatnonzero(np.abs(np.diff(found)) > steepest) + 1
    meant = {"step": [rise + math.ceil(k * (600 - rise) / 4) for k in (1, 2, 3)], "multi_step": [200, 375],
             "every_n": [250, 500], "piecewise": [150, 450]}.get(name, [])
    assert leaps.tolist() == meant
    if name != "one_cycle":
        assert found[rise - 1] == 1.0 and found[rise] > 1 - steepest
        assert np.allclose(np.diff(found[:rise]), 1 / rise)


@pytest.mark.parametrize("name", get_args(Name))
def test_regression_4_a_restart_anywhere_goes_on_with_the_same_rates(name: str) -> None:
    """Settings through a file and back, and nothing remembered: the rates from any step on are those of the whole."""
    wish = ONE_OF_EACH[name]
    whole = factors(wish, 9, 12)
    again = Schedule.model_validate_json(json.dumps(wish.model_dump(mode="json")))
    for begin in (1, 13, 54, 107):
        assert [rate_factor(again, step, 108, 12) for step in range(begin, 108)] == whole[begin:]


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(get_args(Name)), per_epoch=st.integers(1, 40))
def test_the_share_of_epochs_counts_and_not_the_number_of_steps(name: str, per_epoch: int) -> None:
    """Where an epoch begins the rate is that of an epoch of any other length, up to a step's worth of slope."""
    wish = ONE_OF_EACH[name].model_copy(update={"warmup": 0.0})
    slack = 2 * math.pi / 2 / (0.25 * 12 * per_epoch)
    for epoch in range(12):
        found = rate_factor(wish, epoch * per_epoch, 12 * per_epoch, 12)
        near = [rate_factor(wish, max(step, 0), 48_000, 12) for step in (epoch * 4000 - 1, epoch * 4000)]
        assert min(abs(found - one) for one in near) <= slack
        assert found >= 0


def test_a_run_of_a_single_step_has_a_rate() -> None:
    for wish in ONE_OF_EACH.values():
        assert math.isfinite(rate_factor(wish.model_copy(update={"warmup": 0.0}), 0, 1, 1))


@pytest.mark.parametrize(("given", "told"), [
    ({"name": "constant", "gamma": 0.5}, "no gamma, which the schedule constant does not read"),
    ({"name": "one_cycle", "warmup": 0.2}, "no warmup"),
    ({"name": "multi_step"}, "steps, the epochs after which"),
    ({"name": "multi_step", "steps": [30.0, 20.0]}, "each later than the one before"),
    ({"name": "piecewise", "steps": [3.0], "ratios": [1.0]}, "one more of ratios than of steps"),
    ({"name": "piecewise", "ratios": [-1.0], "steps": []}, "ratios of at least 0"),
    ({"warmup": 0.5, "hold": 0.5}, "together they are 1"),
])
def test_what_makes_no_schedule_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Schedule.model_validate_json(json.dumps(given))


def test_a_change_inside_the_warm_up_is_refused_and_one_after_the_end_is_told() -> None:
    wish = Schedule(name="multi_step", steps=(2, 30), warmup=0.2)
    with pytest.raises(ValidationError, match="at epoch 2; it lasts 2 of 10 epochs"):
        Recipe(epochs=10, schedule=wish)
    late = Schedule(name="multi_step", steps=(3, 30), warmup=0.1)
    assert Recipe(epochs=10, schedule=late).schedule.notes(10) == [
        "the rate is to change after epoch 30, yet the run has 10: it never does so"]
    assert not late.notes(31) and not Schedule().notes(1)
    with pytest.raises(ValidationError, match="at epoch 1"):
        Recipe(epochs=20, schedule=Schedule(name="every_n", every=1))
