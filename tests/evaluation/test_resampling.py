"""Intervals, p values and figures under weights, against scipy, scikit-learn and explicit loops."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from components.evaluation.gate_settings import Metric
from components.evaluation.metrics import measure
from components.evaluation.resampling import at_most, interval, mcnemar, weights
from components.evaluation.weighted import answers, figure_name, figures

METRICS: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")


def units(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32)).astype(np.uint8)


def drawn(seed: int, ids: np.ndarray, resamples: int) -> np.ndarray:
    return np.concatenate(list(weights(seed, ids, resamples)))


def said_of(chance: np.random.Generator, labels: np.ndarray, classes: int, skill: float) -> np.ndarray:
    scores = chance.normal(size=(len(labels), classes)) + skill * np.eye(classes)[labels]
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def test_weights_are_those_of_a_poisson_distribution() -> None:
    table = drawn(3, units(400), 500).ravel()
    expected = stats.poisson(1).pmf(np.arange(5)) * len(table)
    counts = np.bincount(table.astype(int), minlength=5)[:5]
    assert stats.chisquare(np.append(counts, len(table) - counts.sum()),
                           np.append(expected, len(table) - expected.sum())).pvalue > 1e-3
    assert abs(np.corrcoef(drawn(3, units(400), 500).T[:40])[np.triu_indices(40, 1)]).max() < 0.25


def test_a_weight_hangs_on_seed_unit_and_resample_and_on_nothing_else() -> None:
    ids = units(60)
    whole = drawn(3, ids, 50)
    order = np.random.default_rng(1).permutation(60)[:45]
    assert (drawn(3, ids[order], 50) == whole[:, order]).all(), "order and company have no influence"
    assert (drawn(3, ids, 20) == whole[:20]).all()
    assert (drawn(4, ids, 50) != whole).any()
    assert len(whole) == 50 and (drawn(3, ids, 33)[32] == whole[32]).all()


def test_units_of_one_group_share_their_weight() -> None:
    ids = units(10)[np.array([0, 1, 1, 2])]
    table = drawn(0, ids, 40)
    assert (table[:, 1] == table[:, 2]).all() and (table[:, 0] != table[:, 1]).any()


@pytest.mark.parametrize("metric", METRICS)
def test_equal_weights_give_the_figures_that_evaluate_gives(metric: Metric) -> None:
    chance = np.random.default_rng(2)
    labels = chance.integers(0, 4, 90)
    said = said_of(chance, labels, 5, 1.0)
    name = figure_name(metric, "single")
    found = figures(name, answers(said, labels, "single"), np.ones((1, 90)))[0]
    assert found == pytest.approx(measure(said, labels, "single").values[name], abs=1e-12)
    truth = (chance.uniform(size=(90, 3)) < 0.4).astype(np.float32)
    likely = np.log(1 / (1 + np.exp(-chance.normal(size=(90, 3)) - 2 * truth)))
    name = figure_name(metric, "multi")
    found = figures(name, answers(likely, truth, "multi"), np.ones((1, 90)))[0]
    assert found == pytest.approx(measure(likely, truth, "multi").values[name], abs=1e-12)


def counted_out(row: np.ndarray) -> np.ndarray:
    """The places of samples, each as often as its weight says."""
    return np.repeat(np.arange(len(row)), row.astype(int))


@pytest.mark.parametrize("metric", METRICS)
def test_whole_weights_give_the_figure_of_the_samples_counted_out(metric: Metric) -> None:
    chance = np.random.default_rng(5)
    labels = chance.integers(0, 4, 70)
    said = said_of(chance, labels, 4, 0.7)
    table = drawn(0, units(70), 12)
    found = figures(figure_name(metric, "single"), answers(said, labels, "single"), table)
    for value, row in zip(found, table, strict=True):
        places = counted_out(row)
        true, named = labels[places], said.argmax(1)[places]
        occurring = sorted({*true, *named})
        expected = {
            "accuracy": oracle.accuracy_score(true, named),
            "balanced_accuracy": oracle.recall_score(true, named, labels=sorted(set(true)), average="macro"),
            "f1_macro": oracle.f1_score(true, named, labels=occurring, average="macro", zero_division=0),
            "log_loss": oracle.log_loss(true, np.exp(said[places]), labels=range(4)),
        }[metric]
        assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
def test_whole_weights_count_samples_out_where_several_labels_are_true(metric: Metric) -> None:
    chance = np.random.default_rng(6)
    truth = (chance.uniform(size=(60, 3)) < 0.4).astype(np.float32)
    said = np.log(1 / (1 + np.exp(-chance.normal(size=(60, 3)) - 2 * truth)))
    table = drawn(0, units(60), 9)
    found = figures(figure_name(metric, "multi"), answers(said, truth, "multi"), table)
    for value, row in zip(found, table, strict=True):
        places = counted_out(row)
        true, named = truth[places] > 0.5, said[places] >= np.log(0.5)
        expected = {
            "accuracy": oracle.accuracy_score(true, named),
            "f1_macro": oracle.f1_score(true, named, average="macro", zero_division=0),
            "log_loss": np.mean([oracle.log_loss(true[:, k], np.exp(said[places, k]), labels=[False, True])
                                 for k in range(3)]),
        }[metric]
        assert value == pytest.approx(expected, abs=1e-9)


def test_the_interval_of_a_mean_difference_is_that_of_scipy_and_of_the_closed_form() -> None:
    chance = np.random.default_rng(7)
    one, two = chance.uniform(size=900) < 0.80, chance.uniform(size=900) < 0.84
    changes = two.astype(float) - one
    table = drawn(0, units(900), 4000)
    found = interval(float(changes.mean()), table @ changes / table.sum(axis=1), 0.9)
    theirs = stats.bootstrap((changes,), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile",
                             rng=np.random.default_rng(0)).confidence_interval
    error = changes.std() / np.sqrt(len(changes))
    assert found.low == pytest.approx(theirs.low, abs=0.12 * error)
    assert found.high == pytest.approx(theirs.high, abs=0.12 * error)
    assert found.low == pytest.approx(changes.mean() - 1.645 * error, abs=0.12 * error)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(changes.mean()) / error), rel=0.35)


def test_an_interval_holds_the_truth_as_often_as_it_promises() -> None:
    chance, held = np.random.default_rng(8), 0
    for trial in range(200):
        right = chance.uniform(size=(150, 2)) < (0.7, 0.75)
        changes = right[:, 1].astype(float) - right[:, 0]
        table = drawn(0, units(150, trial), 300)
        found = interval(float(changes.mean()), table @ changes / table.sum(axis=1), 0.9)
        held += found.low <= 0.05 <= found.high
    assert 166 <= held <= 194  # 180 expected; beyond, one time in a thousand


def test_where_no_sample_differs_the_interval_is_nothing_and_chance_everything() -> None:
    found = interval(0.0, np.zeros(100), 0.95)
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)


def cases() -> Iterator[tuple[int, int]]:
    yield from [(0, 0), (1, 0), (0, 1), (5, 5), (3, 9), (40, 61), (700, 801), (5000, 5300)]


@pytest.mark.parametrize(("won", "lost"), list(cases()))
def test_mcnemar_is_the_exact_binomial_test(won: int, lost: int) -> None:
    expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9) == mcnemar(lost, won)
    assert at_most(won, won + lost) == pytest.approx(stats.binom.cdf(won, won + lost, 0.5), rel=1e-9)


def test_samples_without_any_weight_have_no_figure_and_break_nothing() -> None:
    labels = np.array([0, 1])
    one = answers(np.log(np.array([[0.9, 0.1], [0.4, 0.6]])), labels, "single")
    for name in METRICS:
        assert figures(name, one, np.zeros((2, 2))).tolist() == [0.0, 0.0]
