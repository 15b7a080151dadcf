"""Operating thresholds against every cut tried by hand, scikit-learn's curve, and the truth of drawn probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import precision_recall_curve

from components.evaluation.operating import (
    Curve,
    Given,
    Wish,
    best,
    chosen,
    curve,
    curves,
    fewest,
    held,
    together,
)

SCORES = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9, 1.0]), st.booleans()), max_size=14)
WISHES = st.builds(Wish, st.sampled_from(["precision", "recall", "f1"]),
                   st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.75, 1.0]), st.sampled_from([None, 0.5, 0.9]))


def drawn(pairs: list[tuple[float, bool]], missed: int = 0) -> Curve:
    right = np.array([one for _, one in pairs], bool)
    return curve(np.array([score for score, _ in pairs], float), right, int(right.sum()) + missed)


def by_hand(pairs: list[tuple[float, bool]], missed: int, wish: Wish) -> float | None:
    bearers = sum(right for _, right in pairs) + missed
    met = []
    for cut in sorted({score for score, _ in pairs}):
        named = sum(score >= cut for score, _ in pairs)
        right = sum(score >= cut and one for score, one in pairs)
        if wish.goal == "f1":
            met += [(2 * right / (named + bearers), cut)] if bearers else []
        elif wish.goal == "precision" or bearers:
            of = named if wish.goal == "precision" else bearers
            test = stats.binomtest(right, of, alternative="greater")
            value = right / of if wish.confidence is None else test.proportion_ci(wish.confidence, "exact").low
            met += [(value, cut)] if value >= wish.value - 1e-12 else []
    if not met:
        return None
    cuts = [cut for _, cut in met]
    return max(met)[1] if wish.goal == "f1" else min(cuts) if wish.goal == "precision" else max(cuts)


@given(SCORES, st.integers(0, 3), WISHES)
def test_a_cut_is_the_one_that_trying_all_finds(pairs: list[tuple[float, bool]], missed: int, wish: Wish) -> None:
    assert chosen(drawn(pairs, missed), wish) == by_hand(pairs, missed, wish)


@given(SCORES, st.integers(0, 3), st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.95, 1.0]))
def test_what_a_cut_gives_is_counted_sample_by_sample(pairs: list[tuple[float, bool]], missed: int,
                                                      cut: float) -> None:
    found = drawn(pairs, missed).at(cut)
    above = [right for score, right in pairs if score >= cut]
    assert found == Given(len(above), sum(above), len(pairs), sum(right for _, right in pairs) + missed)
    assert found.coverage == (len(above) / len(pairs) if pairs else None)
    assert drawn(pairs, missed).at(None) == Given(0, 0, found.predictions, found.bearers)


def test_precision_and_recall_at_every_cut_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(1)
    scores = np.round(chance.uniform(size=300), 2)
    truth = chance.uniform(size=300) < scores
    precision, recall, cuts = precision_recall_curve(truth, scores)
    mine = curves(scores[:, None], truth[:, None].astype(float), "multi").classes[0]
    assert np.array_equal(mine.cuts[::-1], cuts) and len(cuts) < 110, "equal scores are one cut"
    assert np.allclose((mine.right / mine.named)[::-1], precision[:-1])
    assert np.allclose((mine.right / mine.bearers)[::-1], recall[:-1])
    wanted = cuts[np.flatnonzero(precision[:-1] >= 0.7).min()]
    assert chosen(mine, Wish("precision", 0.7)) == wanted
    assert chosen(mine, Wish("recall", 0.8)) == cuts[np.flatnonzero(recall[:-1] >= 0.8).max()]
    f1 = stats.hmean([precision[:-1], recall[:-1]])
    assert chosen(mine, Wish("f1")) == cuts[np.flatnonzero(np.isclose(f1, f1.max(), rtol=1e-12)).max()]


def test_curves_of_classes_count_the_likeliest_class_of_every_sample() -> None:
    chance = np.random.default_rng(2)
    said, labels = chance.dirichlet(np.ones(5), 200).round(1), chance.integers(0, 4, 200)
    said[:, 3] = 0
    found = curves(said, labels, "single")
    named = [max(range(5), key=lambda one: (row[one], -one)) for row in said.tolist()]
    for place, one in enumerate(found.classes):
        scores = [row[place] for row, name in zip(said.tolist(), named, strict=True) if name == place]
        assert one.predictions == len(scores) and one.cuts.tolist() == sorted(set(scores), reverse=True)
        for cut in one.cuts:
            right = sum(name == place == label and row[place] >= cut
                        for row, name, label in zip(said.tolist(), named, labels, strict=True))
            assert one.at(float(cut)) == Given(sum(score >= cut for score in scores), right, len(scores),
                                               int((labels == place).sum()))
    never = found.classes[3]
    assert never.predictions == 0 and never.bearers > 0
    assert chosen(never, Wish("precision", 0.0)) is None and best(never, Wish("precision", 0.5)) is None
    assert found.shared is not None and found.shared.predictions == 200 == found.shared.bearers
    assert together([one.at(0.0) for one in found.classes]) == found.shared.at(0.0)


def test_order_of_samples_has_no_influence() -> None:
    chance = np.random.default_rng(5)
    said, labels = chance.dirichlet(np.ones(3), 90).round(1), chance.integers(0, 3, 90)
    order = chance.permutation(90)
    for one, other in zip(curves(said, labels, "single").classes, curves(said[order], labels[order], "single").classes,
                          strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("cuts", "named", "right"))


@pytest.mark.parametrize(("wish", "cut"), [
    (Wish("precision", 0.0), 0.2), (Wish("precision", 1.0), 0.8), (Wish("precision", 1.0, 0.9), None),
    (Wish("precision", 0.0, 0.9), 0.2), (Wish("recall", 0.0), 0.9), (Wish("recall", 1.0), 0.5),
    (Wish("recall", 1.0, 0.9), None), (Wish("f1"), 0.5)])
def test_wishes_of_nothing_and_all_have_plain_answers(wish: Wish, cut: float | None) -> None:
    assert chosen(drawn([(0.9, True), (0.8, True), (0.5, True), (0.5, False), (0.2, False)]), wish) == cut


def test_of_equal_f1_the_highest_cut_is_taken() -> None:
    pairs = [(0.9, True), (0.6, False), (0.5, True), (0.4, False)]
    found = drawn(pairs, missed=0)
    ties = [one.f1 for one in (found.at(0.9), found.at(0.5))]
    assert ties[0] == pytest.approx(2 / 3) and ties[1] == pytest.approx(4 / 5)
    even = drawn([(0.9, True), (0.6, False), (0.5, False), (0.4, True)])
    assert even.at(0.9).f1 == even.at(0.4).f1 == 2 / 3 and chosen(even, Wish("f1")) == 0.9


def test_a_label_that_nobody_bears_has_no_cut_for_recall_or_f1() -> None:
    found = drawn([(0.9, False), (0.3, False)])
    assert chosen(found, Wish("recall", 0.0)) is None is chosen(found, Wish("f1"))
    assert best(found, Wish("recall", 0.0)) is None and found.at(0.3).recall is None
    assert chosen(found, Wish("precision", 0.1)) is None and best(found, Wish("precision", 0.1)) == 0.0


@pytest.mark.parametrize(("value", "confidence"), [(0.95, 0.9), (0.9, 0.9), (0.9, 0.95), (0.5, 0.5), (0.2, 0.9)])
def test_so_many_right_predictions_are_enough_and_one_fewer_is_not(value: float, confidence: float) -> None:
    wish = Wish("precision", value, confidence)
    need = fewest(wish)
    assert need is not None
    assert chosen(drawn([(0.5, True)] * need), wish) == 0.5
    assert need == 1 or chosen(drawn([(0.5, True)] * (need - 1)), wish) is None


def test_nothing_shows_a_precision_of_one_but_plain_shares() -> None:
    assert fewest(Wish("precision", 1.0, 0.9)) is None
    assert fewest(Wish("precision", 1.0)) == fewest(Wish("precision", 0.0, 0.9)) == 1


@pytest.mark.parametrize(("right", "named", "confidence", "said"), [
    (19, 20, 0.9, "yes"), (18, 20, 0.9, "open"), (10, 20, 0.9, "no"), (18, 20, None, "no"), (0, 0, 0.9, "-")])
def test_a_wish_is_broken_where_chance_hardly_explains_it(right: int, named: int, confidence: float | None,
                                                          said: str) -> None:
    assert held(Given(named, right, 40, 30), Wish("precision", 0.95, confidence)) == said


@pytest.mark.parametrize(("confidence", "least", "most"), [(None, 0.4, 0.7), (0.9, 0.0, 0.14)])
def test_the_bound_is_broken_about_as_rarely_as_it_says_and_the_plain_share_every_other_time(
        confidence: float | None, least: float, most: float) -> None:
    chance, wish, broken = np.random.default_rng(4), Wish("precision", 0.9, confidence), 0
    for _ in range(400):
        scores = chance.beta(4, 1, 400)  # said as it is: right as often as the probability
        cut = chosen(curve(scores, chance.uniform(size=400) < scores, 0), wish)
        if cut is not None:  # the mean of what lies above the cut is its true precision
            truth = 0.8 * stats.beta(5, 1).sf(cut) / stats.beta(4, 1).sf(cut)
            broken += bool(truth < wish.value)
    assert least <= broken / 400 <= most
