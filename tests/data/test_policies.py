from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import AutoAugmentPolicy, v2

from components.data import my_augment as mine
from components.data.augment_settings import Augment
from components.data.chance import sample_keys, uniforms
from components.data.policies import TORCHVISION, apply_policy

NAMES = [*TORCHVISION, "myaugment"]
RANGES = {  # of every argument, in order: what the policy promises
    "flip": [], "crop": [(0, 0.1)] * 4, "rotate": [(-20, 20), (0, 4), (0, 255)], "gaussian_blur": [(0, 2)],
    "average_blur": [(1, 5)], "motion_blur": [(3, 11), (0, 180)], "bilateral": [(3, 7), (10, 250)],
    "salt_and_pepper": [(0, 0.03), (0, 1)], "gaussian_noise": [(0, 12.75), (0, 1), (0, 1)], "contrast": [(0.6, 1.4)],
    "sharpen": [(0, 1), (0.75, 1.5)], "brightness": [(0.5, 1.5), (-30, 30)], "saturation": [(0, 3), (-75, 75)],
    "hue": [(-3, 3), (-255, 255)],
}
GROUPS = [("gaussian_blur", "average_blur"), ("motion_blur", "bilateral"), ("salt_and_pepper", "gaussian_noise"),
          ("contrast",), ("sharpen",), ("brightness",), ("saturation",), ("hue",)]


def some(count=8, size=(21, 34), seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    return sample_keys(3, "policy", ids, 1), rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)


def plans(count=6000):
    keys = some(count, (1, 1))[0]
    return [mine.plan(mine.Chance(draws)) for draws in uniforms(keys, mine.DRAWS)]


def names(plan):
    return [operation.function.__name__ for operation in plan]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6, deadline=None)
@given(order=st.permutations(range(8)), batch=st.integers(1, 8))
def test_a_sample_looks_the_same_in_any_order_and_batch(name, order, batch):
    keys, pixels = some()
    wish = Augment(policy=name)
    whole = apply_policy(wish, pixels, keys)
    assert whole.shape == pixels.shape and whole.dtype == np.uint8
    for start in range(0, 8, batch):
        part = list(order[start : start + batch])
        assert np.array_equal(apply_policy(wish, pixels[part], keys[part]), whole[part])


@pytest.mark.parametrize("name", NAMES)
def test_another_key_gives_another_look_and_the_pixels_given_stay_as_they_are(name):
    keys, pixels = some(24)
    before = pixels.copy()
    one, two = apply_policy(Augment(policy=name), pixels, keys), apply_policy(Augment(policy=name), pixels, keys[::-1])
    assert np.array_equal(pixels, before) and not np.array_equal(one, two)
    assert (one != pixels).any(axis=(1, 2, 3)).mean() > 0.5


@pytest.mark.parametrize(("name", "own"), [
    ("autoaugment_imagenet", v2.AutoAugment(AutoAugmentPolicy.IMAGENET, fill=128)),
    ("autoaugment_cifar10", v2.AutoAugment(AutoAugmentPolicy.CIFAR10, fill=128)),
    ("autoaugment_svhn", v2.AutoAugment(AutoAugmentPolicy.SVHN, fill=128)),
    ("trivialaugment", v2.TrivialAugmentWide(fill=128)), ("augmix", v2.AugMix(fill=128))])
def test_a_policy_is_the_one_of_torchvision_under_the_samples_seed(name, own):
    keys, pixels = some(12)
    found = apply_policy(Augment(policy=name), pixels, keys)
    with torch.random.fork_rng(devices=[]):
        for row in range(12):
            torch.manual_seed(int(keys[row]) // 2)
            expected = own(torch.from_numpy(pixels[row]).permute(2, 0, 1)).permute(1, 2, 0)
            assert np.array_equal(found[row], expected.numpy())


def test_randaugment_takes_its_number_of_operations_and_its_strength():
    keys, pixels = some(12)
    looks = [apply_policy(Augment(policy="randaugment", operations=number, magnitude=strength), pixels, keys)
             for number, strength in ((1, 9), (2, 9), (2, 30), (2, 0))]
    assert all(not np.array_equal(looks[i], looks[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("name", NAMES)
def test_torchs_own_state_belongs_to_the_network(name):
    keys, pixels = some(3)
    torch.manual_seed(4)
    before = torch.get_rng_state()
    apply_policy(Augment(policy=name), pixels, keys)
    assert torch.equal(before, torch.get_rng_state())


def test_myaugment_draws_every_value_within_its_range_and_near_both_ends_of_it():
    drawn = {name: [] for name in RANGES}
    for plan in plans():
        for operation in plan:
            drawn[operation.function.__name__].append(operation.values)
    for name, limits in RANGES.items():
        values = np.array(drawn[name])
        assert values.shape == (len(values), len(limits)) and len(values) > 100
        for column, (low, high) in zip(values.T, limits, strict=True):
            assert low <= column.min() <= low + 0.05 * (high - low), name
            assert high - 0.05 * (high - low) <= column.max() <= high, name
    assert set(np.array(drawn["motion_blur"])[:, 0]) == {3, 5, 7, 9, 11}
    assert set(np.array(drawn["average_blur"])[:, 0]) == {1, 2, 3, 4, 5}
    factor, offset = np.array(drawn["brightness"]).T
    kinds = Counter(zip((factor != 1).tolist(), (offset != 0).tolist(), strict=True))
    assert kinds.keys() == {(True, True), (True, False), (False, True)} and min(kinds.values()) > 0.25 * len(factor)


def test_myaugment_mirrors_crops_and_turns_half_of_the_images_and_changes_up_to_three_things():
    found = [names(plan) for plan in plans()]
    for name in ("flip", "crop", "rotate"):
        assert abs(np.mean([name in one for one in found]) - 0.5) < 0.03
    for group in GROUPS:  # three of eight at most, 1.5 of them on average, each with probability 0.8
        assert abs(np.mean([any(name in one for name in group) for one in found]) - 1.5 / 8 * 0.8) < 0.02
        assert all(sum(name in group for name in one) <= 1 for one in found)
    changes = Counter(sum(name not in ("flip", "crop", "rotate") for name in one) for one in found)
    binomial = {0: [1], 1: [0.2, 0.8], 2: [0.04, 0.32, 0.64], 3: [0.008, 0.096, 0.384, 0.512]}
    for count in range(4):
        expected = np.mean([chances[count] if count < len(chances) else 0 for chances in binomial.values()])
        assert abs(changes[count] / len(found) - expected) < 0.03


def test_myaugment_does_things_in_every_order():
    orders = Counter(tuple(name for name in names(plan) if name in ("flip", "crop", "rotate")) for plan in plans())
    whole = [count for order, count in orders.items() if len(order) == 3]
    assert len(whole) == 6 and min(whole) > 0.12 * sum(whole)
    assert {names(plan)[0] for plan in plans() if len(plan) > 2} == RANGES.keys()


def test_no_plan_asks_for_more_draws_than_are_made():
    """The mirror, the crop, the turn, the choice of changes, at most three of them, and the order of the four."""
    most = 1 + 5 + 4 + 9 + 3 * (4 + 1) + 4
    assert most <= mine.DRAWS
    for draws in uniforms(some(3000, (1, 1))[0], most):
        mine.plan(mine.Chance(draws))


def test_every_operation_changes_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    fired = {}
    for plan in plans(400):
        for operation in plan:
            changed = not np.array_equal(mine.apply(pixels, [operation]), pixels)
            fired[operation.function.__name__] = fired.get(operation.function.__name__, False) or changed
    assert fired.keys() == RANGES.keys() and all(fired.values())
