"""Copies among files are judged as an explicit search over all pairs would judge them."""

import itertools
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.checks import Finding, compare, count, inspect, inspect_all, judged, refuse
from components.data.tasks import Task
from components.data.verdicts import REASONS, UNUSABLE, Policies
from components.errors import UserError

KIND = Task("kind", "single", ("cat", "dog"))
SPLITS = ("train", "val", "test")

labels = st.sampled_from(["cat", "dog", ""])
files = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(SPLITS), labels), max_size=9)


def table(items: list[tuple[str, str, str]]) -> tuple[pd.DataFrame, list[Finding]]:
    ordered = sorted(items, key=lambda item: SPLITS.index(item[1]))
    rows = pd.DataFrame({"path": [f"{number}.png" for number in range(len(ordered))],
                         "split": [split for _, split, _ in ordered], "kind": [label for _, _, label in ordered]})
    return rows, [Finding(content, 10, 4, 4, "RGB") for content, _, _ in ordered]


def by_pairs(rows: pd.DataFrame, findings: list[Finding]) -> list[str | None]:
    """The reason of every row, from all its equals looked at one by one."""
    said: list[str | None] = []
    for row in range(len(rows)):
        equals = [other for other in range(len(rows)) if findings[other].sha256 == findings[row].sha256]
        labels = [rows["kind"][other] for other in equals if rows["kind"][other]]
        if any(one != other for one, other in itertools.combinations(labels, 2)):
            said.append("conflict")
        elif any(SPLITS.index(rows["split"][other]) > SPLITS.index(rows["split"][row]) for other in equals):
            said.append("leak")
        elif any(rows["split"][other] == rows["split"][row] and other < row for other in equals):
            said.append("duplicate")
        else:
            said.append(None)
    return said


@given(files)
def test_copies_are_judged_as_by_looking_at_all_pairs(items: list[tuple[str, str, str]]) -> None:
    rows, findings = table(items)
    compared = compare(rows, findings, [KIND])
    assert [one.reason for one in compared] == by_pairs(rows, findings)
    for row, one in enumerate(compared):
        peers = [other for other in range(len(rows)) if rows["path"][other] == one.peer]
        assert bool(peers) == (one.reason is not None)
        assert all(findings[peer].sha256 == one.sha256 and peer != row for peer in peers)


@given(files)
def test_no_content_is_kept_twice_or_in_two_splits_under_quarantine(items: list[tuple[str, str, str]]) -> None:
    rows, findings = table(items)
    compared = compare(rows, findings, [KIND])
    kept = [one.sha256 for one in compared if Policies().keeps(one.reason)]
    assert len(set(kept)) == len(kept)


def test_files_that_cannot_be_decoded_are_no_copies_of_each_other() -> None:
    rows, findings = table([("a", "train", "cat"), ("a", "test", "dog")])
    empty = [Finding("a", 0, reason="empty") for _ in findings]
    assert compare(rows, empty, [KIND]) == empty


@pytest.mark.parametrize("reason", REASONS)
def test_each_policy_does_what_it_says(reason: str) -> None:
    rows, _ = table([("a", "train", "cat")])
    found = [Finding("a", 1, reason=reason)]  # type: ignore[arg-type]

    def kept(policies: Policies) -> bool:
        refuse(found, ["a.png"], policies)
        return bool((judged(rows, found, policies)["verdict"] == "ok").all())

    assert kept(Policies("allow")) == (reason not in UNUSABLE)
    assert kept(Policies("quarantine", {reason: "quarantine"})) is False  # type: ignore[dict-item]
    assert kept(Policies("quarantine")) == (reason == "wrong_extension")
    with pytest.raises(UserError, match=f"1 {reason}: a.png"):
        kept(Policies("allow", {reason: "fail"}))  # type: ignore[dict-item]


def test_counts_name_every_reason() -> None:
    assert count([]) == dict.fromkeys(REASONS, 0)
    assert count([Finding("a", 1, reason="leak"), Finding("b", 1)])["leak"] == 1


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        inspect(tmp_path, "gone.png")


def test_one_process_and_two_find_the_same_in_the_same_order(tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(70)]
    for name in names:
        (tmp_path / name).write_text(name)
    assert inspect_all(tmp_path, names, 1) == inspect_all(tmp_path, names, 2)
