"""Every figure is recomputed by scikit-learn, torchmetrics or an explicit loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn import metrics as oracle
from torchmetrics.functional import classification as second_oracle

from components.evaluation import metrics


def single(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(count, classes)).astype(np.float32) * 3
    return logits, chance.integers(0, classes, count)


def several(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    logits = np.round(chance.normal(size=(count, classes)) * 2, 1)  # rounded, so that scores are equal now and then
    return logits, (chance.uniform(size=logits.shape) < 0.4).astype(np.float32)


cases = given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 8))


@cases
def test_single_label_figures_are_those_of_scikit_learn(seed, count, classes):
    logits, labels = single(seed, count, classes)
    measured = metrics.measure(metrics.log_probabilities(logits, 1.0, "single"), labels, "single", 3)
    said, present = logits.argmax(axis=1), np.unique(labels)
    names = range(classes)
    assert (measured.confusion == oracle.confusion_matrix(labels, said, labels=names)).all()
    values = measured.values
    assert values["accuracy"] == pytest.approx(oracle.accuracy_score(labels, said))
    recalls = oracle.recall_score(labels, said, labels=present, average=None, zero_division=0)
    assert values["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert values["f1_macro"] == pytest.approx(oracle.f1_score(labels, said, average="macro", zero_division=0))
    assert values["log_loss"] == pytest.approx(oracle.log_loss(labels, softmax(logits.astype(float), 1), labels=names))
    table = oracle.precision_recall_fscore_support(labels, said, labels=names, zero_division=0)
    found = measured.classes
    for ours, theirs in zip((found.precision, found.recall, found.f1, found.support), table, strict=True):
        assert ours == pytest.approx(theirs)


@cases
def test_top_k_is_what_a_loop_over_sorted_scores_finds(seed, count, classes):
    logits, labels = single(seed, count, classes)
    logits = np.round(logits)  # ties
    for k in (1, 3, 20):
        hits = 0
        for row, label in zip(logits, labels, strict=True):
            hits += int(label) in sorted(range(classes), key=lambda c: (-row[c], c))[:k]
        assert metrics.top_k_accuracy(logits.astype(float), labels, k) == hits / count


def test_top_one_is_the_accuracy_and_top_all_is_one():
    logits, labels = single(1, 50, 4)
    values = metrics.measure(metrics.log_probabilities(logits, 1.0, "single"), labels, "single", 1).values
    assert values["top1_accuracy"] == values["accuracy"]
    assert metrics.top_k_accuracy(logits.astype(float), labels, 9) == 1.0


@cases
def test_calibration_error_is_that_of_torchmetrics_and_of_a_loop(seed, count, classes):
    logits, labels = single(seed, count, classes)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    found = metrics.measure(metrics.log_probabilities(logits, 1.0, "single"), labels, "single").values["ece"]
    theirs = second_oracle.multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), classes, n_bins=15, norm="l1")
    assert found == pytest.approx(float(theirs), abs=1e-5)
    total = 0.0
    for m in range(15):
        inside = [i for i in range(count) if m / 15 < probabilities[i].max() <= (m + 1) / 15]
        if inside:
            confidence = sum(probabilities[i].max() for i in inside) / len(inside)
            right = sum(probabilities[i].argmax() == labels[i] for i in inside) / len(inside)
            total += abs(confidence - right) * len(inside) / count
    assert found == pytest.approx(total, abs=1e-12)


@cases
def test_several_label_figures_are_those_of_scikit_learn(seed, count, classes):
    logits, labels = several(seed, count, classes)
    measured = metrics.measure(metrics.log_probabilities(logits, 1.0, "multi"), labels, "multi")
    said, values = logits >= 0, measured.values
    assert (measured.confusion == oracle.multilabel_confusion_matrix(labels, said)).all()
    assert values["subset_accuracy"] == pytest.approx((said == labels).all(axis=1).mean())
    assert values["f1_micro"] == pytest.approx(oracle.f1_score(labels, said, average="micro", zero_division=0))
    each = oracle.f1_score(labels, said, average=None, zero_division=0)
    assert measured.classes.f1 == pytest.approx(each)
    occurs = (labels.any(axis=0)) | said.any(axis=0)
    assert values["f1_macro"] == pytest.approx(each[occurs].mean() if occurs.any() else 0.0)
    bits = [oracle.log_loss(labels[:, c], expit(logits[:, c]), labels=[0, 1]) for c in range(classes)]
    assert values["log_loss"] == pytest.approx(np.mean(bits))
    positive = [c for c in range(classes) if labels[:, c].any()]
    precise = [oracle.average_precision_score(labels[:, c], expit(logits[:, c])) for c in positive]
    assert values["mean_average_precision"] == pytest.approx(np.mean(precise) if precise else 0.0)
    theirs = second_oracle.binary_calibration_error(
        torch.from_numpy(expit(logits).ravel()), torch.from_numpy(labels.ravel()).long(), n_bins=15, norm="l1")
    assert values["ece"] == pytest.approx(float(theirs), abs=1e-5)


@given(st.integers(0, 1000), st.sampled_from(["single", "multi"]))
def test_the_order_of_samples_changes_no_bit(seed, kind):
    logits, labels = (single if kind == "single" else several)(seed, 200, 5)
    order = np.random.default_rng(seed).permutation(200)
    first = metrics.measure(metrics.log_probabilities(logits, 1.7, kind), labels, kind)
    second = metrics.measure(metrics.log_probabilities(logits[order], 1.7, kind), labels[order], kind)
    assert first.values == second.values
    assert (first.confusion == second.confusion).all()
    assert first.bins.confidence.tolist() == second.bins.confidence.tolist()


def test_samples_without_a_label_take_no_part():
    logits, labels = single(7, 80, 4)
    kept = metrics.measure(metrics.log_probabilities(logits[:60], 1.0, "single"), labels[:60], "single")
    labels[60:] = -1
    masked = metrics.measure(metrics.log_probabilities(logits, 1.0, "single"), labels, "single")
    assert masked.values == kept.values
    assert masked.confusion.sum() == 60
    logits, labels = several(7, 80, 4)
    kept = metrics.measure(metrics.log_probabilities(logits[:60], 1.0, "multi"), labels[:60], "multi")
    labels[60:] = np.nan
    assert metrics.measure(metrics.log_probabilities(logits, 1.0, "multi"), labels, "multi").values == kept.values


def test_a_class_never_seen_and_never_named_has_zeros_and_no_say_in_the_means():
    said = metrics.log_probabilities(np.array([[5.0, 0, 0], [5.0, 0, 0], [0, 5.0, 0]]), 1.0, "single")
    measured = metrics.measure(said, np.array([0, 0, 1]), "single")
    assert measured.values["f1_macro"] == measured.values["balanced_accuracy"] == 1.0
    assert measured.classes.f1.tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_certain_and_wrong_costs_a_finite_amount(kind):
    labels = np.array([1, 1]) if kind == "single" else np.array([[0.0, 1.0], [0.0, 1.0]])
    said = metrics.log_probabilities(np.array([[5000.0, -5000.0]] * 2), 0.05, kind)
    assert np.isfinite(metrics.measure(said, labels, kind).values["log_loss"])


def test_bins_are_closed_above_as_the_paper_has_them():
    bins = metrics.reliability(np.array([1 / 15, 0.0, 1.0, 0.5]), np.array([True, False, True, False]))
    assert np.flatnonzero(bins.count).tolist() == [0, 7, 14]
    assert bins.count[0] == 2
    assert bins.accuracy[0] == 0.5


def test_fifty_thousand_samples_of_a_thousand_classes_are_counted_exactly():
    chance = np.random.default_rng(0)
    said, labels = chance.integers(0, 1000, 50_000), chance.integers(0, 1000, 50_000)
    matrix = metrics.confusion(said, labels, 1000)
    assert matrix.dtype == np.int64
    assert matrix.sum() == 50_000
    assert metrics.accuracy(matrix) == (said == labels).mean()
