"""Each reason for a retraining by itself, and the decision that follows from all."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from imports import ROOT

from components.errors import UserError
from pipeline.retraining import reasons, tree
from pipeline.retraining.policy import Policy, load_policy
from pipeline.retraining.reasons import Answer, Data, Reason, decide

A, B = "a" * 64, "b" * 64


def change(verdict: str) -> dict[str, Any]:
    found = [{"verdict": "none", "kind": "splits", "what": "sizes", "reason": "0.001 is not over 0.1"}]
    if verdict != "none":
        found.append({"verdict": verdict, "kind": "samples", "what": "labels of hue", "reason": "4 of 9 are others"})
    return {"verdict": verdict, "findings": found}


@pytest.mark.parametrize(("then", "now", "policy", "answer", "said"), [
    (Data(A), Data(A), {}, "no", "the Dataset of the champion"),
    (Data(A), Data(B), {}, "yes", "comes from aaaa"),
    (Data(A), Data(B), {"data": "mattering"}, "no", "asks what changed"),
    (Data(A), Data(B), {"data": "never"}, "no", "never"),
    (Data(A, (A,)), Data("", (A,)), {}, "no", "the images of the champion"),
    (Data(A, (B,)), Data("", (A,)), {}, "yes", "images aaaa"),
    (Data(A, (A,)), Data(), {}, "unknown", "neither images nor"),
    (Data(A), Data("", (A,)), {}, "unknown", "were drawn"),
    (Data(A, ("md5:1f.dir",)), Data("", ("md5:1f.dir",)), {}, "no", "the images of the champion"),
    (Data(A, ("md5:1f.dir",)), Data("", ("md5:2e.dir",)), {}, "yes", "images md5:2e.dir"),
    (Data(A, ("md5:1f.dir",)), Data("", (A,)), {}, "unknown", "came another way"),
])
def test_other_data_are_a_reason_as_the_policy_says(
        then: Data, now: Data, policy: dict[str, Any], answer: Answer, said: str) -> None:
    found = reasons.on_data(then, now, Policy(**policy))
    assert (found.answer, said in found.why) == (answer, True), found


@pytest.mark.parametrize(("comparison", "others", "policy", "answer"), [
    (change("none"), True, {}, "no"), (change("minor"), True, {}, "no"), (change("major"), True, {}, "yes"),
    (change("minor"), True, {"drift": "minor"}, "yes"), (change("major"), True, {"data": "never"}, "no"),
    (change("major"), True, {"data": "mattering"}, "yes"),
    (None, True, {}, "unknown"), (None, True, {"data": "mattering"}, "yes"),
    (None, False, {"data": "mattering"}, "unknown"),
])
def test_a_change_of_labels_or_pictures_counts_from_the_grade_on_that_matters(
        comparison: dict[str, Any] | None, others: bool, policy: dict[str, Any], answer: Answer) -> None:
    found = reasons.on_change(comparison, others, Policy(**policy))
    assert found.answer == answer
    if comparison and comparison["verdict"] != "none":
        assert "samples, labels of hue: 4 of 9 are others" in found.why


def test_classes_are_a_reason_whenever_they_are_others() -> None:
    assert reasons.on_classes(["1 class appeared"]) == Reason("classes", "yes", "1 class appeared")
    assert [reasons.on_classes(told).answer for told in ([], None)] == ["no", "unknown"]


@pytest.mark.parametrize(("then", "now", "policy", "answer"), [
    ({"epochs": 3}, {"epochs": 3}, {}, "no"),
    ({"epochs": 3}, {"epochs": 4}, {}, "yes"),
    ({"epochs": 3}, {"epochs": 4}, {"settings": False}, "no"),
    ({"precision": "bf16"}, {"precision": "auto"}, {}, "no"),
    ({"precision": "bf16"}, {"precision": "fp32"}, {}, "yes"),
    ({"student": {"model": {"start": {"digest": A}}}}, {"student": {"model": {"start": {"digest": ""}}}}, {}, "no"),
    ({"student": {"model": {"name": "a"}}}, {"student": {"model": {"name": "b"}}}, {}, "yes"),
    ({"sizes": [32]}, {"sizes": [32, 64]}, {}, "yes"),
])
def test_other_settings_are_a_reason_but_not_where_a_training_began(
        then: dict[str, Any], now: dict[str, Any], policy: dict[str, Any], answer: Answer) -> None:
    assert reasons.on_settings(then, now, Policy(**policy)).answer == answer


def test_settings_that_differ_are_named() -> None:
    now = {"student": {"epochs": 4, "sizes": [1]}, **dict.fromkeys("abcd", 1)}
    why = reasons.on_settings({"student": {"epochs": 3, "sizes": [1]}}, now, Policy()).why
    assert why.endswith("a, b, c, d and 1 more")
    assert "student.epochs" in reasons.on_settings({"student": {"epochs": 3}}, {"student": {"epochs": 4}}, Policy()).why


@pytest.mark.parametrize(("status", "counted"), [
    ({"train@deep": [{"changed deps": {"data/dataset": "modified"}}]}, {}),
    ({"train@deep": [{"changed deps": {"components/losses": "modified", "data/dataset": "modified"}}]},
     {"train@deep": ["components/losses"]}),
    ({"distill": [{"changed deps": {"params.yaml": {"student": "modified"}}}]}, {"distill": ["student"]}),
    ({"distill": [{"changed deps": {"stillhouse.lock": {"code.distill": "modified"}}}]}, {"distill": ["code.distill"]}),
    ({"index": ["changed command"]}, {"index": ["changed command"]}),
    ({"index": [{"changed command": "changed command"}]}, {"index": ["changed command"]}),
    ({"student": [{"changed outs": {"models/student": "deleted"}}]}, {}),
    ({"student": [{"changed deps": {"data/dataset": "deleted"}}]}, {}),
    ({"compare": [{"changed deps": {"registry/latest.json": "modified", "components/evaluation": "modified"}}]}, {}),
])
def test_of_what_dvc_finds_changed_code_and_settings_of_training_count(
        status: dict[str, list[Any]], counted: dict[str, list[str]]) -> None:
    changed = {stage: [name for entry in entries for name in tree.changes_of(entry)]
               for stage, entries in status.items()}
    assert tree.code_and_settings(changed) == counted
    assert reasons.on_stages(counted, Policy()).answer == ("yes" if counted else "no")
    assert reasons.on_stages(counted, Policy(code=False)).answer == "no"
    assert reasons.on_stages(None, Policy()).answer == "unknown"


@pytest.mark.parametrize(("days", "limit", "answer"), [
    (400.0, 0, "no"), (31.0, 30, "yes"), (29.0, 30, "no"), (None, 30, "unknown"), (None, 0, "no")])
def test_age_is_a_reason_where_a_limit_is_set(days: float | None, limit: float, answer: Answer) -> None:
    assert reasons.on_age(days, Policy(age_days=limit)).answer == answer


@pytest.mark.parametrize(("live", "answer"), [
    ({}, "unknown"), ({"hue": (900, 1000)}, "no"), ({"hue": (800, 1000)}, "yes"), ({"hue": (8, 10)}, "no"),
    ({"hue": (870, 1000)}, "no"), ({"size": (1, 1000)}, "unknown"),
    ({"size": (1, 1000), "hue": (900, 1000)}, "no"), ({"hue": (10, 10)}, "no")])
def test_accuracy_in_use_is_a_reason_where_it_is_surely_lower(live: dict[str, tuple[int, int]], answer: Answer) -> None:
    found = reasons.on_use(live, {"hue": 0.9}, Policy())
    assert found.answer == answer
    assert ("size: the champion states no accuracy of such a task" in found.why) == ("size" in live)


def test_one_yes_decides_and_what_is_unknown_does_not() -> None:
    no, yes, unknown = (Reason("data", one, "why") for one in ("no", "yes", "unknown"))
    assert not decide(A, [no, unknown]).retrain and decide(A, [no, yes]).retrain
    assert decide(A, [no]).to_json() == {"schema": 1, "kind": "decision", "retrain": False, "champion": A,
                                         "reasons": (asdict(no),)}


def test_our_policy_file_holds_every_default() -> None:
    assert load_policy(ROOT / "infra/retrain.yaml") == Policy()
    written = (ROOT / "infra/retrain.yaml").read_text()
    assert all(f"\n{name}: " in written for name in Policy.model_fields)


@pytest.mark.parametrize(("text", "said"), [
    ("drift: huge", "drift is 'huge'; expected one of minor, major"), ("drfit: major", "Did you mean 'drift'?"),
    ("age_days: -1", "age_days is -1"), ("live_drop: much", "expected a number")])
def test_a_policy_is_read_strictly(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_policy(tmp_path / "policy.yaml")
    assert said in caught.value.cause


@pytest.mark.parametrize(("name", "text", "said"), [
    ("live.json", "{", "holds no counts"), ("live.json", '{"hue": 3}', "holds no counts"),
    ("live.json", '{"hue": {"right": 9, "of": 3}}', "9 right answers of 3"),
    ("live.csv", "task,right\nhue,3\n", "'of'"),
    ("live.csv", "task,right,of\nhue,1,9\nhue,8,9\n", "hue stands there twice"),
    ("live.json", '{"hue": {"right": 0, "of": 0}}', "0 right answers of 0"), ("none.json", "", "No such file")])
def test_counts_that_are_none_are_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        tree.live_counts(tmp_path / name)
    assert said in caught.value.cause


def test_counts_are_read_from_json_and_csv(tmp_path: Path) -> None:
    (tmp_path / "live.json").write_text('{"hue": {"right": 9, "of": 10}}')
    (tmp_path / "live.csv").write_text("task,right,of\nhue,9,10\n")
    assert tree.live_counts(tmp_path / "live.json") == tree.live_counts(tmp_path / "live.csv") == {"hue": (9, 10)}
