import numpy as np
import pytest
import torch

from components.data.augment_settings import Augment
from components.data.loader import Batches, load, only_of
from components.data.samplers.shuffled import epoch_batches


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


def test_a_batch_about_one_task_shows_no_label_of_another(dataset):
    rows = dataset.rows("train")
    batches = Batches(dataset, [(rows[:9], 1), (rows[9:], 1), (rows, 1)], 0, None)
    only, other, all_of_them = load(batches, tasks=["hue", "shade", None])
    assert (only.task, other.task, all_of_them.task) == ("hue", "shade", None)
    assert (only.labels["shade"] == -1).all() and (other.labels["hue"] == -1).all()
    for batch, names in ((only, ["hue"]), (other, ["shade"]), (all_of_them, ["hue", "shade"])):
        for task in dataset.tasks:
            if task.name in names:
                assert np.array_equal(batch.labels[task.name], dataset.labels(task)[batch.rows])


def test_labels_of_a_multi_task_are_masked_by_nan():
    labels = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    assert only_of("colour", "parts", labels).isnan().all()
    assert torch.equal(only_of("parts", "parts", labels), labels) and torch.equal(only_of(None, "x", labels), labels)


def test_each_sample_of_a_batch_has_its_own_view(dataset):
    rows, view = dataset.rows("train")[[3, 5, 3, 8]], np.array([1, 2, 4, 0])
    augment = Augment(policy="randaugment")
    (mixed,) = load(Batches(dataset, [(rows, view)], 3, augment))
    for place, (row, number) in enumerate(zip(rows, view, strict=True)):
        (alone,) = load(Batches(dataset, [(np.array([row]), int(number))], 3, augment))
        assert torch.equal(mixed.pixels[place], alone.pixels[0])
    assert np.array_equal(mixed.view, view) and not torch.equal(mixed.pixels[0], mixed.pixels[2])


def test_weights_are_those_given_or_those_of_the_dataset(dataset):
    rows = dataset.rows("train")[[4, 1]]
    given = np.arange(len(dataset), dtype=np.float32)
    (batch,) = load(Batches(dataset, [(rows, 1)], 0, None), weights=given)
    (plain,) = load(Batches(dataset, [(rows, 1)], 0, None))
    assert batch.weight.tolist() == rows.tolist() and plain.weight.tolist() == [1.0, 1.0]


def test_regression_9_samples_taken_in_another_order_keep_their_weight_view_and_labels(dataset):
    rows, order = dataset.rows("train")[:6], np.array([3, 3, 0, 5])
    view = np.arange(1, 7)
    weights = np.linspace(0, 1, len(dataset), dtype=np.float32)
    (batch,) = load(Batches(dataset, [(rows, view)], 0, None), weights=weights)
    taken = batch.taken(order)
    (expected,) = load(Batches(dataset, [(rows[order], view[order])], 0, None), weights=weights)
    assert np.array_equal(taken.rows, expected.rows) and np.array_equal(taken.view, expected.view)
    assert torch.equal(taken.weight, expected.weight) and torch.equal(taken.pixels, expected.pixels)
    assert all(torch.equal(taken.labels[name], expected.labels[name]) for name in ("hue", "shade"))
