"""The gate: which verdict two models get, and why, on samples whose answers are known."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from components.data.tasks import Task
from components.evaluation import gate, gate_verdict
from components.evaluation.gate_settings import Rule
from components.evaluation.gate_table import flat, headline, markdown
from components.evaluation.pairing import Pair, Side
from components.evaluation.scoring import Judged

HUES = ("red", "green", "blue")
SIZES = ("small", "large")
PLAIN = Rule()


def answered(named: np.ndarray, classes: int, sure: float = 0.8) -> np.ndarray:
    """Log-probabilities of a model that names these classes, each as surely."""
    table = np.full((len(named), classes), np.log((1 - sure) / (classes - 1)))
    table[np.arange(len(named)), named] = np.log(sure)
    return table


def some(labels: np.ndarray, right: int, classes: int) -> np.ndarray:
    """What a model names that is right about the first samples only."""
    return np.where(np.arange(len(labels)) < right, labels, (labels + 1) % classes)


def pair(name: str, classes: tuple[str, ...], labels: np.ndarray, champion: np.ndarray, challenger: np.ndarray,
         new: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> Pair:
    places = np.arange(len(labels))
    known = ~np.isin(labels, [classes.index(one) for one in new])
    return Pair(Task(name, "single", classes), places, places, labels, answered(champion, len(classes)),
                answered(challenger, len(classes)), known, new, gone)


def right(name: str, champion: int, challenger: int, count: int = 400, classes: tuple[str, ...] = HUES) -> Pair:
    """Both are right about the first samples, the one about more of them than the other."""
    labels = np.arange(count) % len(classes)
    return pair(name, classes, labels, some(labels, champion, len(classes)), some(labels, challenger, len(classes)))


def side(name: str, tasks: Sequence[Task], parameters: int = 1000) -> Side:
    return Side(name, {task.name: task for task in tasks}, Judged(name, parameters, 0.1, {}, {}), ())


def judged(*pairs: Pair, rule: Rule = PLAIN, parameters: tuple[int, int] = (1000, 1000),
           tasks: tuple[Sequence[Task], Sequence[Task]] | None = None) -> gate_verdict.Judgement:
    own = [one.task for one in pairs]
    sides = tuple(side(name, listed, size) for name, listed, size in
                  zip(("champion", "challenger"), tasks or (own, own), parameters, strict=True))
    count = max((len(one.rows) for one in pairs), default=1)
    units = np.random.default_rng(0).integers(0, 256, (count, 32)).astype(np.uint8)
    found = gate.compare(list(pairs), units, rule, 0) if pairs else None
    figures = {name: one.challenger for name, one in found.tasks.items()} if found else {}
    return gate_verdict.judge(found, (sides[0], sides[1]), figures, rule)


def reasons(found: gate_verdict.Judgement) -> str:
    return "\n".join(one.text for one in found.reasons)


@pytest.mark.parametrize(("champion", "challenger", "verdict", "promote"), [
    (300, 340, "better", True), (300, 300, "equal", False), (340, 300, "worse", False), (300, 302, "equal", False)])
def test_the_verdict_follows_the_interval(champion: int, challenger: int, verdict: str, promote: bool) -> None:
    found = judged(right("hue", champion, challenger))
    assert (found.verdict, found.promote) == (verdict, promote)
    assert found.comparison is not None
    one = found.comparison.tasks["hue"]
    assert one.interval.difference == pytest.approx((challenger - champion) / 400)
    assert (one.won, one.lost) == (max(0, challenger - champion), max(0, champion - challenger))


def crossed(won: int, lost: int, count: int = 400, name: str = "hue") -> Pair:
    """The challenger alone is right about some samples and the champion alone about others."""
    labels = np.arange(count) % 3
    wrong = (labels + 1) % 3
    first = np.where(np.arange(count) < won, wrong, labels)
    second = np.where((np.arange(count) >= won) & (np.arange(count) < won + lost), wrong, labels)
    return pair(name, HUES, labels, first, second)


def test_too_few_samples_to_tell_is_said_and_not_called_equal() -> None:
    found = judged(crossed(40, 42))
    assert (found.verdict, found.promote) == ("unsure", False)
    assert "400 samples cannot tell whether it is worse by more than 1.0 points" in reasons(found)
    wide = judged(crossed(40, 42), rule=Rule(margin=0.1))
    assert wide.verdict == "equal"


def test_an_equal_model_is_promoted_where_the_rule_says_so() -> None:
    same = right("hue", 300, 300)
    assert not judged(same).promote and "compare.promote_equal" in reasons(judged(same))
    found = judged(same, rule=Rule(promote_equal=True))
    assert (found.verdict, found.promote) == ("equal", True)


def test_exact_p_values_are_those_of_scipy() -> None:
    found = judged(crossed(31, 14)).comparison
    assert found is not None
    assert found.tasks["hue"].p_mcnemar == pytest.approx(stats.binomtest(31, 45).pvalue)


def test_one_task_that_gets_worse_outweighs_a_better_mean_unless_it_is_not_held() -> None:
    pairs = (right("hue", 200, 390), right("size", 380, 330, classes=SIZES))
    found = judged(*pairs)
    assert found.comparison is not None and found.comparison.verdict == "better"
    assert (found.verdict, found.promote) == ("worse", False)
    assert "size got worse: accuracy -12.5 points" in reasons(found)
    free = judged(*pairs, rule=Rule(hold=("hue",)))
    assert (free.verdict, free.promote) == ("better", True) and "size got worse" in reasons(free)


def test_a_held_task_that_nobody_compared_forbids_promotion() -> None:
    found = judged(right("hue", 300, 340), rule=Rule(hold=("hat",)))
    assert not found.promote and "compare.hold names task hat" in reasons(found)


def test_a_class_that_fell_is_no_bargain() -> None:
    count = 600
    labels = np.arange(count) % 3
    champion = np.where(labels == 0, np.where(np.arange(count) % 2, 0, 1), labels)
    challenger = np.where((labels == 2) & (np.arange(count) % 4 == 0), 1, labels)
    found = judged(pair("hue", HUES, labels, champion, challenger))
    assert found.comparison is not None and found.comparison.verdict == "better"
    assert (found.verdict, found.promote) == ("worse", False)
    assert "the recall of blue fell from 1.000 to 0.750 on 200 samples" in reasons(found)
    for rule in (Rule(class_drop=0.3), Rule(class_support=201)):
        assert judged(pair("hue", HUES, labels, champion, challenger), rule=rule).verdict == "better"


def test_a_fall_of_a_class_that_chance_explains_is_none() -> None:
    labels = np.concatenate([np.zeros(30, int), np.ones(370, int)])
    champion, challenger = labels.copy(), labels.copy()
    champion[:6], champion[30:130] = 1, 0
    challenger[4:14] = 1
    found = judged(pair("size", SIZES, labels, champion, challenger))
    assert found.comparison is not None
    (small, _) = found.comparison.tasks["size"].classes
    assert small.champion - small.challenger > 0.1 and small.p > 0.05
    assert small.p == pytest.approx(stats.binom.cdf(4, 12, 0.5))
    assert found.verdict == "better"


def test_recalls_of_classes_are_counted_sample_by_sample() -> None:
    chance = np.random.default_rng(3)
    labels, champion, challenger = chance.integers(0, 3, (3, 200))
    found = judged(pair("hue", HUES, labels, champion, challenger)).comparison
    assert found is not None
    for place, one in enumerate(found.tasks["hue"].classes):
        inside = labels == place
        assert (one.name, one.support) == (HUES[place], inside.sum())
        assert one.champion == pytest.approx((champion[inside] == place).mean())
        assert one.challenger == pytest.approx((challenger[inside] == place).mean())


def test_a_class_that_the_champion_does_not_know_counts_as_its_error_and_is_told_apart() -> None:
    labels = np.arange(300) % 3
    champion, challenger = np.where(labels == 2, 0, labels), labels
    found = judged(pair("hue", HUES, labels, champion, challenger, new=("blue",)))
    assert found.verdict == "better" and found.comparison is not None
    one = found.comparison.tasks["hue"]
    assert one.champion == pytest.approx(2 / 3) and one.known == (200, 1.0, 1.0)
    assert "the champion does not know blue (on the 200 samples of classes that it knows: accuracy 1.000, now 1.000)" \
        in reasons(found)
    assert "blue" not in {change.name for change in one.classes}


def test_a_class_that_is_no_longer_told_is_reported() -> None:
    labels = np.arange(300) % 2
    found = judged(pair("hue", HUES, labels, labels, labels, gone=("blue",)))
    assert "hue: blue is no longer told" in reasons(found)


def test_tasks_that_one_of_them_lacks_are_told_and_a_lost_one_is_worse() -> None:
    hue, size, hat = Task("hue", "single", HUES), Task("size", "single", SIZES), Task("hat", "multi", ("a", "b"))
    better = right("hue", 300, 340)
    grown = judged(better, tasks=([hue], [hue, size]))
    assert grown.promote and "task size is new to the champion" in reasons(grown)
    shrunk = judged(better, tasks=([hue, size], [hue]))
    assert (shrunk.verdict, shrunk.promote) == ("worse", False)
    assert "the champion knows task size, which the challenger lacks" in reasons(shrunk)
    turned = judged(better, tasks=([hue, Task("hat", "single", ("a", "b"))], [hue, hat]))
    assert "task hat is of another kind" in reasons(turned)


def test_a_champion_of_other_tasks_altogether_is_not_compared_and_not_replaced() -> None:
    found = judged(tasks=([Task("size", "single", SIZES)], [Task("hue", "single", HUES)]))
    assert not found.promote and "have no task in common" in reasons(found)


def test_growth_beyond_the_allowed_forbids_promotion_without_changing_the_verdict() -> None:
    better = right("hue", 300, 340)
    found = judged(better, rule=Rule(growth=1.5), parameters=(1000, 1600))
    assert (found.verdict, found.promote) == ("better", False)
    assert "1,600 parameters are 1.60 times the champion's 1,000; compare.growth allows 1.5" in reasons(found)
    assert judged(better, rule=Rule(growth=1.5), parameters=(1000, 1500)).promote
    assert judged(better, parameters=(1000, 9000)).promote


@pytest.mark.parametrize(("metric", "floor", "promote"), [
    ("accuracy", 0.85, True), ("accuracy", 0.86, False), ("log_loss", 0.6, True), ("log_loss", 0.4, False)])
def test_every_model_must_reach_the_floor(metric: Any, floor: float, promote: bool) -> None:
    found = judged(right("hue", 300, 340), rule=Rule(metric=metric, floor={"hue": floor}))
    assert (found.verdict, found.promote) == ("better", promote)
    first = gate_verdict.first({"hue": found.comparison.tasks["hue"].challenger if found.comparison else 0.0},
                               Rule(metric=metric, floor={"hue": floor}))
    assert (first.verdict, first.promote) == ("first", promote)


def test_a_floor_of_a_task_that_nobody_knows_forbids_promotion() -> None:
    found = gate_verdict.first({"hue": 1.0}, Rule(floor={"hoe": 0.5}))
    assert not found.promote and "compare.floor names task hoe" in found.reasons[1].text


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1_macro", "log_loss"])
def test_more_is_better_whatever_decides(metric: Any) -> None:
    rule = Rule(metric=metric)
    assert judged(right("hue", 300, 340), rule=rule).verdict == "better"
    assert judged(right("hue", 340, 300), rule=rule).verdict == "worse"


def test_the_mean_weighs_every_task_the_same_and_has_an_interval_of_its_own() -> None:
    found = judged(right("hue", 300, 320), right("size", 300, 300, classes=SIZES)).comparison
    assert found is not None
    assert found.interval.difference == pytest.approx(0.5 * 20 / 400)
    hue = found.tasks["hue"].interval
    assert found.interval.low == pytest.approx(hue.low / 2) and found.interval.high == pytest.approx(hue.high / 2)


def whole(found: gate_verdict.Judgement, rule: Rule = PLAIN) -> dict[str, Any]:
    told = found.to_json() | {"model": "ab" * 32, "champion": "cd" * 32, "rule": rule.model_dump(mode="json"),
                              "samples": 400, "challenger": {"hue": 0.85}}
    read: dict[str, Any] = json.loads(json.dumps(told, allow_nan=False))
    return read


def test_a_verdict_is_told_in_a_line_in_numbers_and_as_a_table() -> None:
    found = whole(judged(right("hue", 300, 340), right("a|b", 300, 300, classes=SIZES)))
    assert headline(found).startswith("better: better than the champion cdcdcdcdcdcd, accuracy +5.0 points (")
    assert headline(found).endswith("; may be promoted")
    numbers = flat(found)
    assert numbers["promote"] == 1 and numbers["differences"]["hue"]["difference"] == pytest.approx(0.1)
    text = markdown(found)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| hue | accuracy | 0.750 | 0.850 | +10.0 points | ")
    assert rows[1].endswith(" | 40 : 0 | better |")
    assert rows[2].startswith("| a\\|b | ") and rows[3].startswith("| mean | ")
    assert all(line.replace("\\|", "").count("|") == 9 for line in rows)


def test_names_cannot_break_out_of_the_table() -> None:
    text = markdown(whole(judged(right("<script>@all</script>\n| x", 300, 340))))
    assert "<script>" not in text and "@all" not in text.replace("\\@all", "") and "\n| x" not in text


@pytest.mark.parametrize("found", [gate_verdict.same("ab" * 32), gate_verdict.first({"hue": 1.0}, Rule()), None])
def test_verdicts_without_a_comparison_are_told_too(found: gate_verdict.Judgement | None) -> None:
    told = whole(found or judged(tasks=([Task("a", "single", SIZES)], [Task("b", "single", SIZES)])))
    assert headline(told).startswith(f"{told['verdict']}: ")
    assert markdown(told).startswith(f"**{told['verdict']}**") and flat(told)["samples"] == 400
