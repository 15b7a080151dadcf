"""Reasons for and against a retraining: each a plain function of facts, and the decision that follows from all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.evaluation.shares import upper
from pipeline.retraining.policy import Policy

Answer = Literal["yes", "no", "unknown"]
GRADES = ("none", "minor", "major")
PLACES = ("model.start",)  # where a training began is how, not what, and differs between warm and cold ones


@dataclass(frozen=True)
class Reason:
    """What one look says: whether it asks for a retraining, and why, in a sentence."""

    name: str
    answer: Answer
    why: str


@dataclass(frozen=True)
class Data:
    """Where a model comes from: digests of its Dataset ("": unknown) and of raw images, fetched ones as `md5:...`."""

    dataset: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, with every reason; champion: its digest, None where none is published."""

    retrain: bool
    champion: str | None
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"schema": 1, "kind": "decision"}


def decide(champion: str | None, reasons: Sequence[Reason]) -> Decision:
    """Retrain where one reason says yes; what is unknown does not decide."""
    return Decision(any(one.answer == "yes" for one in reasons), champion, tuple(reasons))


def on_champion(registry: str) -> Reason:
    """The only reason where nothing is published."""
    return Reason("champion", "yes", f"{registry} holds no model yet")


def on_data(then: Data, now: Data, policy: Policy) -> Reason:
    """Images and labels against those that the champion comes from: by Dataset where known, else by the raw images."""
    known = bool(then.dataset and now.dataset)
    after = now.dataset if known else next(iter(now.images), "")
    before = {then.dataset} if known else alike(then.images, after)
    if not after:
        return Reason("data", "unknown", "neither images nor a Dataset made of them are here")
    if not before:
        return Reason("data", "unknown", f"the champion's receipt names no images as {after[:12]}: they were drawn, "
                      "or came another way")
    what = "Dataset" if known else "images"
    if after in before:
        return Reason("data", "no", f"the {what} of the champion ({after[:12]})")
    told = f"{what} {after[:12]}; the champion comes from {', '.join(one[:12] for one in sorted(before))}"
    if policy.data == "any":
        return Reason("data", "yes", told)
    return Reason("data", "no", f"{told}; data: {policy.data} asks what changed" if policy.data == "mattering" else
                  f"{told}; data: never")


def differ(then: Data, now: Data) -> bool:
    """Whether the data are known to be others."""
    if then.dataset and now.dataset:
        return then.dataset != now.dataset
    return any(before and one not in before for one in now.images for before in [alike(then.images, one)])


def alike(images: Sequence[str], one: str) -> set[str]:
    """Those digests of images that are of the same kind as another, so that it can be held against them.

    >>> sorted(alike(("md5:1f.dir", "9c2e"), "md5:77.dir"))
    ['md5:1f.dir']
    """
    kind = one.rpartition(":")[0]
    return {image for image in images if image.rpartition(":")[0] == kind}


def on_classes(told: Sequence[str] | None) -> Reason:
    """Tasks and classes against the champion's. told: the changes in words; None where no Dataset is here."""
    if told is None:
        return Reason("classes", "unknown", "no Dataset of now is here")
    if told:
        return Reason("classes", "yes", "; ".join(told))
    return Reason("classes", "no", "tasks and classes of the champion")


def on_change(comparison: Mapping[str, Any] | None, others: bool, policy: Policy) -> Reason:
    """Labels and distributions. comparison: as `stillhouse compare-data --json` tells it, None where not possible.

    others: whether the digests say that the data are others, which decides where only that is known.
    """
    if comparison is None:
        careful = others and policy.data == "mattering"
        return Reason("change", "yes" if careful else "unknown", "the Datasets of then and now are not both here"
                      f" (--reference names the former){': taken for a change that matters' if careful else ''}")
    worst = comparison["verdict"]
    first = next((one for one in comparison["findings"] if one["verdict"] == worst and worst != "none"), None)
    why = f"{f'{worst}: ' if first else ''}" + (f"{first['kind']}, {first['what']}: {first['reason']}" if first else
                                               "labels and images are distributed as before")
    mattering = policy.data != "never" and GRADES.index(worst) >= GRADES.index(policy.drift)
    return Reason("change", "yes" if mattering else "no", why)


def on_settings(then: Mapping[str, Any], now: Mapping[str, Any], policy: Policy) -> Reason:
    """Settings of the champion's own step against those of now; `auto` stands for whatever the machine resolved."""
    found = [name for name, was, value in leaves_that_differ(then, now) if value != "auto" and not placed(name)]
    if not found:
        return Reason("settings", "no", "the settings are those of the champion")
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return Reason("settings", "yes" if policy.settings else "no",
                  f"other settings than the champion's: {', '.join(found[:4])}{more}")


def placed(name: str) -> bool:
    """Whether a setting says where a training begins."""
    return any(f".{place}." in f".{name}." for place in PLACES)


def leaves_that_differ(then: Any, now: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted names at which two nested mappings differ, and both values.

    >>> leaves_that_differ({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    [('a.b', 1, 3)]
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = sorted({*then, *now})
        return [found for key in keys
                for found in leaves_that_differ(then.get(key), now.get(key), f"{name}.{key}" if name else str(key))]
    return [] if then == now else [(name, then, now)]


def on_stages(changed: Mapping[str, Sequence[str]] | None, policy: Policy) -> Reason:
    """Stages whose code or settings changed since they ran, and what; None where DVC cannot tell."""
    if changed is None:
        return Reason("code", "unknown", "no dvc.lock tells with which code the stages ran")
    if not changed:
        return Reason("code", "no", "every stage ran with its code and settings of now")
    told = "; ".join(f"{stage}: {', '.join(what[:3])}{', ...' * (len(what) > 3)}" for stage, what in
                     list(changed.items())[:4])
    return Reason("code", "yes" if policy.code else "no", f"changed since it ran: {told}"
                  f"{f'; and {len(changed) - 4} more' if len(changed) > 4 else ''}")


def on_age(days: float | None, policy: Policy) -> Reason:
    """Days since the champion was published, None where nobody knows."""
    if not policy.age_days:
        return Reason("age", "no", "age is no reason (age_days: 0)")
    if days is None:
        return Reason("age", "unknown", "nothing here says when the champion was published: --published DATE")
    old = days > policy.age_days
    return Reason("age", "yes" if old else "no", f"the champion is {days:.0f} days old, {'more' if old else 'no more'} "
                  f"than {policy.age_days:g}")


def on_use(live: Mapping[str, tuple[int, int]], promised: Mapping[str, float], policy: Policy) -> Reason:
    """Accuracy in use against the one on the validation split. live: right answers and answers by task."""
    if not live:
        return Reason("use", "unknown", "no counts of right answers in use were given (--live)")
    low, told = False, []
    for task, (right, of) in sorted(live.items()):
        highest = float(upper(right, of, policy.confidence))
        bad = task in promised and highest < promised[task] - policy.live_drop
        low |= bad
        told.append(f"{task} {right / of:.3f} of {of} in use, at most {highest:.3f}, {promised[task]:.3f} promised"
                    if task in promised else f"{task}: the champion states no accuracy of such a task")
    answer: Answer = "yes" if low else "no" if promised.keys() & live.keys() else "unknown"
    return Reason("use", answer, "; ".join(told))
