import numpy as np
import pytest
import torch

from components.data.augment_settings import Augment
from components.data.loader import Batches, epoch_batches, load


def plan(dataset):
    rows = dataset.rows("train")
    return [(rows[:5], 1), (rows[5:9], 2), (rows[9:10], 1), (rows[:5], 0)]


@pytest.mark.parametrize("policy", [
    "none", "randaugment", "trivialaugment", "autoaugment_imagenet", "autoaugment_cifar10", "autoaugment_svhn",
    "augmix", "myaugment"])
def test_batches_are_the_same_with_and_without_workers(dataset, policy):
    batches = Batches(dataset, plan(dataset), 3, Augment(policy=policy))
    for alone, helped in zip(load(batches, 0), load(batches, 2), strict=True):
        assert (
            torch.equal(alone.pixels, helped.pixels)
            and np.array_equal(alone.rows, helped.rows)
            and np.array_equal(alone.view, helped.view)
        )


def test_a_policy_depends_on_the_sample_and_the_view_and_leaves_the_global_state_alone(dataset):
    rows = dataset.rows("train")[:6]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    forth = Batches(dataset, [(rows, 1)], 3, Augment(policy="randaugment"))[0][2]
    back = Batches(dataset, [(rows[::-1], 1)], 3, Augment(policy="randaugment"))[0][2]
    other = Batches(dataset, [(rows, 2)], 3, Augment(policy="randaugment"))[0][2]
    assert np.array_equal(forth, back[::-1]) and not np.array_equal(forth, other)
    assert torch.equal(before, torch.get_rng_state())


def test_view_0_is_the_untouched_image(dataset):
    rows = dataset.rows("train")[:6]
    assert np.array_equal(Batches(dataset, [(rows, 0)], 3, Augment(policy="randaugment"))[0][2], dataset.pixels(rows))


def test_an_epoch_visits_each_row_at_most_once_and_epochs_differ():
    rows = np.arange(100, 150)
    first, second = (epoch_batches(rows, 8, 0, epoch) for epoch in (0, 1))
    seen = np.concatenate(first)
    assert len(seen) == len(set(seen)) == 48 and set(seen) <= set(rows)
    assert not np.array_equal(seen, np.concatenate(second))
    assert [len(part) for part in epoch_batches(rows[:5], 8, 0, 0)] == [5]


def test_pixels_come_from_the_right_shard(dataset):
    whole = np.concatenate([np.load(dataset.path / "shards" / name) for name in dataset.head["shards"]["files"]])
    rows = np.random.default_rng(0).permutation(len(dataset))
    assert np.array_equal(dataset.pixels(rows), whole[rows])
