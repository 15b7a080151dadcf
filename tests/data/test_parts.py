"""Batches in parts: every sample once, groups whole, gradients those of the whole batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.augment_settings import Augment, Overlay
from components.data.batch_settings import Mix
from components.data.loader import Batches, load
from components.data.mixing import cut_out, draw_mixture, draw_plan
from components.data.parts import Division, Share, located, with_partners
from components.losses.objective import supervised
from components.models.settings import Architecture
from components.training.goals import Goal, fresh_state
from components.training.loop import run
from components.training.optimizer_settings import Optimizer
from components.training.settings import Recipe
from components.training.step import Job

QUICK = settings(max_examples=25, deadline=None)


@QUICK
@given(count=st.integers(1, 40), size=st.integers(1, 5), passes=st.integers(1, 4), grain=st.integers(1, 4))
def test_parts_of_all_ranks_are_the_batch_in_its_order_and_groups_stay_whole(count, size, passes, grain):
    parts = [part for rank in range(size) for part in Division(rank, size, passes, grain).parts(count)]
    assert len(parts) == size * passes and all(len(part.own) for part in parts)
    counted = [part.own for part in parts if part.counts]
    assert np.concatenate(counted).tolist() == list(range(count))
    assert all(own[0] % grain == 0 for own in counted)
    lengths = [len(part.own) if part.counts else 0 for part in parts]
    assert max(lengths) - min(lengths) <= grain + grain - 1  # the last group of a batch may be cut short


@QUICK
@given(count=st.integers(1, 30), size=st.integers(2, 4), passes=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_rank_holds_its_own_samples_and_the_partners_of_them(count, size, passes, seed):
    partners = np.random.default_rng(seed).permutation(count)
    for rank in range(size):
        division = Division(rank, size, passes)
        own = {int(place) for part in division.parts(count) for place in part.own}
        assert set(division.held(count, None).tolist()) == own
        held = division.held(count, partners).tolist()
        assert sorted(held) == sorted(own | {int(partners[place]) for place in own})


@QUICK
@given(count=st.integers(1, 30), seed=st.integers(0, 99))
def test_places_are_found_again(count, seed):
    chance = np.random.default_rng(seed)
    among = chance.permutation(100)[:count]
    wanted = chance.choice(among, 7)
    assert (among[located(wanted, among)] == wanted).all()
    own = np.arange(count // 2 + 1)
    assert with_partners(own, chance.permutation(count))[: len(own)].tolist() == own.tolist()


@pytest.mark.parametrize("each", ["batch", "sample"])
def test_a_share_mixes_its_samples_with_the_partners_that_the_whole_batch_gives_them(dataset, each):
    wish, rows = Mix(mixup=0.5, cutmix=0.5, each=each), dataset.rows("train")[:9]
    for step in range(6):
        whole, plan = draw_mixture(wish, 3, step, 9, (16, 13)), draw_plan(wish, 3, step, 9)
        assert plan is not None and whole is not None and (plan.partners == whole.partners).all()
        for rank in range(3):
            division = Division(rank, 3)
            places = division.held(9, plan.partners)
            batch = next(load(Batches(dataset, [(rows[places], 1)], 5, None)))
            share = type(batch)(batch.rows, batch.view, batch.pixels, batch.labels, batch.weight,
                                share=Share(rows, places))
            (part,) = division.parts(9)
            found, mixture = cut_out(share, part, whole)
            assert found.rows[: len(part.own)].tolist() == rows[part.own].tolist()
            assert found.rows[mixture.partners].tolist() == rows[whole.partners[part.own]].tolist()
            assert (mixture.kept == whole.kept[part.own]).all() and (mixture.box == whole.box[part.own]).all()


def test_a_rank_without_work_looks_at_a_sample_that_weighs_nothing(dataset):
    batch = next(load(Batches(dataset, [(dataset.rows("train")[:1], 1)], 5, None)))
    parts = [Division(rank, 2).parts(1)[0] for rank in range(2)]
    assert [float(cut_out(batch, part, None)[0].weight.sum()) for part in parts] == [0.0, 1.0]


def after_two_steps(dataset, **changes):
    """Weights after two steps in double precision, without norms that look at whole batches."""
    model = Architecture(name="convnext_atto", options={"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]})
    wish = Recipe(**({"model": model, "batch": 7, "sizes": ((32, 32),), "precision": "fp64",
                      "memory_format": "contiguous", "optimizer": Optimizer(name="sgd", lr=0.05)} | changes))
    goal, rows = Goal("x", wish, supervised(dataset.tasks, 0.1), 3), dataset.rows("train")
    state, _ = fresh_state(goal, dataset, rows, torch.device("cpu"))
    job = Job(dataset, rows, wish, goal.objective, 3, torch.device("cpu"), lambda epoch: 1, lambda epoch, figures: {},
              lambda now: None, lambda: state.step >= 2, lambda batches, total: batches, save_seconds=1e9)
    run(job, state)
    return [*state.network.parameters(), *state.sums.values()]


@pytest.mark.parametrize("changes", [
    {}, {"mix": Mix(mixup=0.5, cutmix=0.5)}, {"augment": Augment(mix=Overlay(mixup=0.3, cutmix=0.3))}, {"clip": 0.1}])
def test_a_batch_in_three_parts_is_one_step_of_the_whole_batch(dataset, changes):
    once, thrice = (after_two_steps(dataset, accumulate=parts, **changes) for parts in (1, 3))
    assert max(float((one - other).detach().abs().max()) for one, other in zip(once, thrice, strict=True)) < 1e-12


def test_parts_of_less_than_two_images_are_refused():
    with pytest.raises(ValueError, match="accumulate of at most 4"):
        Recipe(batch=8, accumulate=5)
