"""Confident learning against the paper's definitions, written as loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.probabilities.confidence import Verdicts, confident_joint, estimated, flagged, judge


def judged(values: np.ndarray, labels: np.ndarray, block: int = 7) -> Verdicts:
    blocks = [slice(start, min(start + block, len(values))) for start in range(0, len(values), block)]
    return judge(lambda: ((one, values[one]) for one in blocks), labels, values.shape[1])


def by_loops(values: np.ndarray, labels: np.ndarray) -> tuple[list[float], dict[tuple[int, int], int]]:
    """Thresholds and confident joint, sample by sample."""
    classes = values.shape[1]
    limits = []
    for label in range(classes):
        own = [row[label] for row, name in zip(values, labels, strict=True) if name == label]
        limits.append(float(np.mean(own)) if own else float("nan"))
    counts: dict[tuple[int, int], int] = {}
    for row, name in zip(values, labels, strict=True):
        confident = [label for label in range(classes) if row[label] >= limits[label] - 1e-6]
        if confident:
            best = max(confident, key=lambda label: (row[label], -label))
            counts[int(name), best] = counts.get((int(name), best), 0) + 1
    return limits, counts


@pytest.mark.parametrize("seed", range(6))
def test_thresholds_and_the_confident_joint_are_those_of_a_plain_loop(seed: int) -> None:
    chance = np.random.default_rng(seed)
    labels = chance.choice([0, 1, 3], 80, p=[0.6, 0.3, 0.1])  # nobody is given class 2
    values = np.round(chance.dirichlet([0.7] * 4, 80), 1 + seed % 3)  # rounded: with ties
    found = judged(values, labels)
    limits, counts = by_loops(values, labels)
    assert np.allclose(found.thresholds, limits, equal_nan=True)
    assert {(i, j): n for i, j, n in confident_joint(found).tolist()} == counts


@pytest.mark.parametrize("digits", [1, 2, 12])
@pytest.mark.parametrize("seed", range(4))
def test_of_each_pair_as_many_labels_are_flagged_as_are_estimated_wrong(seed: int, digits: int) -> None:
    chance = np.random.default_rng(seed)
    labels, values = chance.integers(0, 3, 60), np.round(chance.dirichlet([0.5] * 3, 60), digits)
    found = judged(values, labels)
    _, counts = by_loops(values, labels)
    expected = set()
    for given_label in range(3):
        counted = sum(number for (i, _), number in counts.items() if i == given_label)
        for other in range(3):
            share = counts.get((given_label, other), 0) / max(1, counted)
            wanted = int(share * (labels == given_label).sum() + 0.5)
            pair = []
            for row in np.flatnonzero(labels == given_label):
                rivals = [label for label in range(3) if label != given_label]
                rival = max(rivals, key=lambda label: (values[row, label], -label))
                if rival == other and values[row, rival] > values[row, given_label]:
                    pair.append((values[row, given_label] - values[row, rival], row))
            last = sorted(pair)[min(wanted, len(pair)) - 1][0] if pair and wanted else -2.0
            expected |= {int(row) for margin, row in pair if margin <= last}
    assert set(np.flatnonzero(flagged(found)).tolist()) == expected
    assert expected


def test_the_suggestion_is_the_likeliest_other_class_and_the_score_its_lead() -> None:
    chance = np.random.default_rng(9)
    labels, values = chance.integers(0, 4, 50), chance.dirichlet([0.5] * 4, 50)
    found = judged(values, labels)
    for row, label in enumerate(labels):
        rivals = {other: values[row, other] for other in range(4) if other != label}
        assert found.suggested[row] == max(rivals, key=rivals.__getitem__)
        assert found.margin[row] == pytest.approx(values[row, label] - max(rivals.values()))
        assert found.score[row] == pytest.approx((1 + max(rivals.values()) - values[row, label]) / 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 5), st.integers(1, 50))
def test_verdicts_depend_on_no_order_and_no_block(seed: int, count: int, classes: int, block: int) -> None:
    chance = np.random.default_rng(seed)
    labels, values = chance.integers(0, classes, count), chance.dirichlet([0.5] * classes, count)
    order = chance.permutation(count)
    one, other = judged(values, labels, count), judged(values[order], labels[order], block)
    for name in ("confident", "suggested", "own", "other", "score"):
        assert np.array_equal(getattr(one, name)[order], getattr(other, name)), name
    assert np.array_equal(flagged(one)[order], flagged(other))
    assert np.array_equal(one.thresholds, other.thresholds, equal_nan=True)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_the_estimate_shares_every_given_label_out_among_true_ones(seed: int, count: int) -> None:
    chance = np.random.default_rng(seed)
    labels, values = chance.integers(0, 4, count), chance.dirichlet([0.5] * 4, count)
    found = judged(values, labels)
    joint = confident_joint(found)
    numbers = estimated(found, joint)
    for label in set(joint[:, 0].tolist()):
        assert numbers[joint[:, 0] == label].sum() == pytest.approx((labels == label).sum())


def test_the_estimate_finds_the_noise_that_was_put_in() -> None:
    chance = np.random.default_rng(3)
    truth = chance.integers(0, 3, 6000)
    given_labels = np.where((truth == 1) & (chance.uniform(size=6000) < 0.2), 2, truth)  # a fifth of 1 is called 2
    seen = 4 * np.eye(3)[truth] + chance.normal(size=(6000, 3))
    powers = np.exp(4 * seen)
    found = judged(powers / powers.sum(axis=1, keepdims=True), given_labels, 1000)
    joint = confident_joint(found)
    numbers = dict(zip(map(tuple, joint[:, :2].tolist()), estimated(found, joint), strict=True))
    wrong = int((given_labels != truth).sum())
    assert numbers[2, 1] == pytest.approx(wrong, rel=0.1)
    assert sum(number for (i, j), number in numbers.items() if i != j and (i, j) != (2, 1)) < 0.1 * wrong


def test_one_class_alone_cannot_be_doubted() -> None:
    found = judged(np.ones((5, 1)), np.zeros(5, np.int64))
    assert not flagged(found).any()
    assert (found.score == 0).all()
