"""The verdict of the gate and its reasons, from a comparison, the rule and what the models are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from components.data.files import listed
from components.evaluation.columns import LESS_IS_BETTER
from components.evaluation.differences import points, signed, span
from components.evaluation.gate import SCHEMA, ClassChange, Comparison, TaskVerdict, to_json
from components.evaluation.gate_settings import Rule
from components.evaluation.pairing import Side

Verdict = Literal["first", "better", "equal", "worse", "unsure", "same"]


@dataclass(frozen=True)
class Reason:
    """Why a verdict is what it is. weight: `lost` makes it worse, `refused` forbids promotion, `told` only tells."""

    weight: Literal["lost", "refused", "told"]
    text: str


@dataclass(frozen=True)
class Judgement:
    """The verdict, whether the challenger may take the place, and why."""

    verdict: Verdict
    promote: bool
    reasons: tuple[Reason, ...]
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """The part of verdict.json that was judged."""
        compared = to_json(self.comparison) if self.comparison else {"mean": None, "tasks": {}}
        return {"schema": SCHEMA, "kind": "verdict", "verdict": self.verdict, "promote": self.promote,
                "reasons": [one.text for one in self.reasons]} | compared


def same(digest: str) -> Judgement:
    """The challenger is the champion."""
    return Judgement("same", False, (Reason("refused", f"the model is the champion itself, {digest[:12]}"),))


def first(figures: dict[str, float], rule: Rule) -> Judgement:
    """No champion is there yet; figures: what decides, of the challenger by task."""
    reasons = [Reason("told", "the registry holds no champion yet"), *below_floor(figures, rule)]
    return Judgement("first", not any(one.weight == "refused" for one in reasons), tuple(reasons))


def judge(found: Comparison | None, sides: tuple[Side, Side], figures: dict[str, float], rule: Rule) -> Judgement:
    """The verdict on a challenger.

    found: None where no task can be compared. sides: champion and challenger. figures: as for `first`.
    """
    reasons = [*on_comparison(found, rule), *on_missing(sides, figures), *on_size(sides, rule),
               *below_floor(figures, rule)]
    lost = any(one.weight == "lost" for one in reasons)
    verdict: Verdict = "worse" if lost else found.verdict if found else "unsure"
    wanted = verdict == "better" or (verdict == "equal" and rule.promote_equal)
    if verdict == "equal" and not rule.promote_equal:
        reasons.append(Reason("refused", "an equal model does not take the place (compare.promote_equal)"))
    promote = wanted and not any(one.weight != "told" for one in reasons)
    return Judgement(verdict, promote, tuple(reasons), found)


def on_comparison(found: Comparison | None, rule: Rule) -> Iterator[Reason]:
    """What the figures say."""
    if found is None:
        yield Reason("refused", "the champion and the challenger have no task in common that a sample is labelled for")
        return
    yield mean_reason(found, rule)
    yield from on_tasks(found, rule)
    yield from on_classes(found, rule)


def mean_reason(found: Comparison, rule: Rule) -> Reason:
    """What decides, in the mean of the tasks."""
    words = {"better": "the interval lies above 0", "worse": "the interval lies below 0",
             "equal": f"not worse by more than {points(rule.margin, rule.metric)}",
             "unsure": f"{most_samples(found)} samples cannot tell whether it is worse by more than "
                       f"{points(rule.margin, rule.metric)}"}
    over = "" if len(found.tasks) == 1 else f", mean of {len(found.tasks)} tasks"
    weight: Literal["lost", "told"] = "lost" if found.verdict == "worse" else "told"
    return Reason(weight, f"{rule.metric}{over}: {change(found.interval, rule)}: {words[found.verdict]}")


def most_samples(found: Comparison) -> int:
    """The samples of the largest task."""
    return max(one.samples for one in found.tasks.values())


def change(found: Any, rule: Rule) -> str:
    """A difference and its interval in words."""
    bounds = span(found.low, found.high, rule.metric)
    return f"{signed(found.difference, rule.metric)} ({bounds} at {100 * rule.confidence:g} %)"


def held(found: Comparison, rule: Rule) -> tuple[str, ...]:
    """The tasks that must not get worse."""
    return rule.hold or tuple(found.tasks)


def on_tasks(found: Comparison, rule: Rule) -> Iterator[Reason]:
    """Tasks that got worse, and those of which the samples tell little."""
    for name in held(found, rule):
        if name not in found.tasks:
            yield Reason("refused", f"compare.hold names task {name}, which could not be compared")
    for name, one in found.tasks.items():
        if one.verdict == "worse":
            weight: Literal["lost", "told"] = "lost" if name in held(found, rule) else "told"
            yield Reason(weight, f"{name} got worse: {one.metric} {change(one.interval, rule)}")
        elif one.verdict == "unsure" and len(found.tasks) > 1:
            yield Reason("told", f"{name} may be worse or better: {one.metric} {change(one.interval, rule)}")
        if one.new:
            yield Reason("told", f"{name}: the champion does not know {listed(one.new)}{apart(one)}")
        if one.gone:
            yield Reason("told", f"{name}: {listed(one.gone)} {'is' if len(one.gone) == 1 else 'are'} no longer told")


def apart(one: TaskVerdict) -> str:
    """What decides on the samples of classes that the champion knows."""
    if one.known is None:
        return ""
    count, champion, challenger = one.known
    return f" (on the {count} samples of classes that it knows: {one.metric} {champion:.3f}, now {challenger:.3f})"


def on_classes(found: Comparison, rule: Rule) -> Iterator[Reason]:
    """Classes that lost more of their recall than may be lost, where that is no chance."""
    for name, one in found.tasks.items():
        weight: Literal["lost", "told"] = "lost" if name in held(found, rule) else "told"
        for lost in dropped(one.classes, rule):
            yield Reason(weight, f"{name}: the recall of {lost.name} fell from {lost.champion:.3f} to "
                                 f"{lost.challenger:.3f} on {lost.support} samples, by more than {rule.class_drop:g}")


def dropped(classes: Iterable[ClassChange], rule: Rule) -> list[ClassChange]:
    """Classes with enough samples whose loss is too great and is no chance."""
    return [one for one in classes if one.support >= rule.class_support
            and one.champion - one.challenger > rule.class_drop and one.p < 1 - rule.confidence]


def on_missing(sides: tuple[Side, Side], figures: dict[str, float]) -> Iterator[Reason]:
    """Tasks that one of the models lacks."""
    champion, challenger = (side.tasks for side in sides)
    for name in sorted(champion.keys() - challenger.keys()):
        yield Reason("lost", f"the champion knows task {name}, which the challenger lacks")
    for name in sorted(challenger.keys() & champion.keys()):
        if challenger[name].kind != champion[name].kind:
            yield Reason("told", f"task {name} is of another kind than the champion's and was not compared")
    for name in sorted(challenger.keys() - champion.keys()):
        value = f"; the challenger comes to {figures[name]:.3f}" if name in figures else ""
        yield Reason("told", f"task {name} is new to the champion and was not compared{value}")


def on_size(sides: tuple[Side, Side], rule: Rule) -> Iterator[Reason]:
    """A challenger that has grown too large."""
    champion, challenger = (side.judged.parameters for side in sides)
    if rule.growth and challenger > rule.growth * champion:
        yield Reason("refused", f"{challenger:,} parameters are {challenger / champion:.2f} times the champion's "
                                f"{champion:,}; compare.growth allows {rule.growth:g}")


def below_floor(figures: dict[str, float], rule: Rule) -> Iterator[Reason]:
    """Tasks in which the challenger misses what any model must reach."""
    for name, least in rule.floor.items():
        if name not in figures:
            yield Reason("refused", f"compare.floor names task {name}, of which nothing was measured")
        elif (figures[name] > least) if rule.metric in LESS_IS_BETTER else (figures[name] < least):
            bound = "at most" if rule.metric in LESS_IS_BETTER else "at least"
            yield Reason("refused", f"{name}: {rule.metric} {figures[name]:.3f}; compare.floor asks for {bound} "
                                    f"{least:g}")
