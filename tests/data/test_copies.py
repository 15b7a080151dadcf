"""Copies among files are judged as an explicit search over all pairs would judge them."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.copies import among, leaks
from components.data.facts import Facts
from components.data.fingerprints import LENGTH
from components.data.tasks import Task
from components.data.verdicts import REASONS, UNUSABLE, Finding, Policies

KIND, PARTS = Task("kind", "single", ("cat", "dog")), Task("parts", "multi", ("a", "b"))
SPLITS = ("", "train", "val", "test")  # the later counts more
PICTURES = {name: np.random.default_rng(ord(name)).integers(-90, 91, LENGTH) for name in "ABC"}

# A file: its picture, which of its encodings, its split, its labels. A picture's encodings differ, and are near copies.
files = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 2), st.sampled_from(SPLITS),
                           st.sampled_from(["cat", "dog", ""]), st.sampled_from(["a|b", "b|a", "a", ""])), max_size=9)
File = tuple[str, int, str, str, str]


def table(items: Sequence[File]) -> tuple[pd.DataFrame, list[Facts]]:
    rows = pd.DataFrame({"path": [f"{number}.png" for number in range(len(items))],
                         "split": [item[2] for item in items], "kind": [item[3] for item in items],
                         "parts": [item[4] for item in items]})
    return rows, [Facts(f"{name}{number}", 10, 4, 4, fingerprint=encoding(name, number)) for name, number, *_ in items]


def encoding(name: str, number: int) -> bytes:
    picture = PICTURES[name].copy()
    picture[number * 10 : number * 10 + 10] += 2
    return picture.astype(np.int8).tobytes()


def set_of(cell: str) -> set[str]:
    return set(cell.split("|")) if cell else set()


def contradicting(one: File, other: File) -> bool:
    return bool((one[3] and other[3] and one[3] != other[3])
                or (one[4] and other[4] and set_of(one[4]) != set_of(other[4])))


def by_pairs(items: Sequence[File]) -> list[set[str]]:
    """The reasons of every row, from all others looked at one by one."""
    said: list[set[str]] = []
    for row, item in enumerate(items):
        reasons: set[str] = set()
        equal = [n for n, one in enumerate(items) if one[:2] == item[:2]]
        near = [n for n, one in enumerate(items) if one[0] == item[0] and one[1] != item[1]]
        if any(contradicting(items[a], items[b]) for a, b in itertools.combinations(equal, 2)):
            reasons.add("conflict")
        if any(contradicting(item, items[other]) for other in near):
            reasons.add("near_conflict")
        for others, prefix in ((equal, ""), (near, "near_")):
            above = [n for n in others if SPLITS.index(items[n][2]) > SPLITS.index(item[2])]
            if above and item[2]:
                reasons.add(f"{prefix}leak")
            elif above or any(items[n][2] == item[2] and n < row for n in others):
                reasons.add(f"{prefix}duplicate")
        said.append(reasons)
    return said


@settings(max_examples=150)
@given(files)
def test_copies_are_judged_as_by_looking_at_all_pairs(items: list[File]) -> None:
    rows, facts = table(items)
    found, _ = among(rows, facts, [KIND, PARTS])
    assert [{one.reason for one in findings} for findings in found] == by_pairs(items)
    for row, findings in enumerate(found):
        assert len({one.reason for one in findings}) == len(findings)
        for one in findings:
            peer = items[int(one.peer.removesuffix(".png"))]
            assert peer is not items[row] and peer[0] == items[row][0]
            assert (peer[1] == items[row][1]) == (not one.reason.startswith("near_"))
            assert one.detail


@settings(max_examples=60)
@given(files)
def test_under_quarantine_no_content_is_kept_twice_and_no_picture_in_two_splits(items: list[File]) -> None:
    rows, facts = table(items)
    found, _ = among(rows, facts, [KIND, PARTS])
    kept = [row for row, findings in enumerate(found) if all(Policies().keeps(one.reason) for one in findings)]
    assert len({items[row][:2] for row in kept}) == len(kept)
    for a, b in itertools.combinations(kept, 2):
        assert items[a][0] != items[b][0] or items[a][2] == items[b][2] or not (items[a][2] and items[b][2])


@settings(max_examples=60)
@given(files, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(items: list[File], random) -> None:  # type: ignore[no-untyped-def]
    rows, facts = table(items)
    order = list(range(len(items)))
    random.shuffle(order)
    found, clusters = among(rows, facts, [KIND, PARTS])
    mixed, named = among(rows.iloc[order], [facts[row] for row in order], [KIND, PARTS])
    assert mixed == [found[row] for row in order]
    assert named == [clusters[row] for row in order]


@settings(max_examples=60)
@given(files)
def test_a_cluster_is_named_by_its_smallest_digest(items: list[File]) -> None:
    rows, facts = table(items)
    _, clusters = among(rows, facts, [KIND, PARTS])
    for item, cluster in zip(items, clusters, strict=True):
        same = [one for one in items if one[0] == item[0]]
        assert cluster == (min(f"{name}{number}" for name, number, *_ in same) if len(same) > 1 else None)


@settings(max_examples=60)
@given(files)
def test_leaks_count_what_a_later_split_shares_with_an_earlier(items: list[File]) -> None:
    rows, facts = table(items)
    for entry in (said := leaks(rows, facts, among(rows, facts, [KIND, PARTS])[1])):
        earlier = [item for item in items if item[2] == entry["earlier"]]
        later = [item for item in items if item[2] == entry["later"]]
        exact = [item for item in later if any(one[:2] == item[:2] for one in earlier)]
        either = [item for item in later if any(one[0] == item[0] for one in earlier)]
        assert (entry["images"], entry["exact"], entry["near"]) == (len(later), len(exact), len(either) - len(exact))
    present = [split for split in SPLITS[1:] if any(item[2] == split for item in items)]
    assert [(entry["earlier"], entry["later"]) for entry in said] == list(itertools.combinations(present, 2))


def test_files_that_cannot_be_decoded_are_no_copies_of_each_other() -> None:
    rows, _ = table([("A", 0, "train", "cat", ""), ("A", 0, "test", "dog", "")])
    for reason in UNUSABLE:
        facts = [Facts("A0", 0, findings=(Finding(reason),)) for _ in range(2)]
        found, clusters = among(rows, facts, [KIND])
        assert (found, clusters) == ([(), ()], [None, None])
        assert [entry["exact"] for entry in leaks(rows, facts, clusters)] == []
    assert set(UNUSABLE) < set(REASONS)


def test_words_name_the_other_file_and_what_contradicts() -> None:
    rows, facts = table([("A", 0, "train", "cat", ""), ("A", 1, "test", "dog", ""), ("A", 0, "", "", "")])
    found, _ = among(rows, facts, [KIND, PARTS])
    assert found[0] == (Finding("near_conflict", "kind differs: 0.png is cat; 1.png is dog", "1.png"),
                        Finding("near_leak", "the same picture is in test as 1.png", "1.png"))
    assert found[2] == (Finding("duplicate", "the same file is in train as 0.png", "0.png"),
                        Finding("near_duplicate", "the same picture is in test as 1.png", "1.png"))


def test_a_thousand_equal_files_are_judged_by_their_first() -> None:
    rows, facts = table([("A", 0, "train", "cat", "a")] * 1000 + [("A", 0, "test", "cat", "a")])
    found, clusters = among(rows, facts, [KIND, PARTS])
    assert [one.reason for findings in found for one in findings] == ["leak"] * 1000
    assert set(clusters) == {"A0"}


def test_nothing_is_found_in_nothing() -> None:
    rows, facts = table([])
    assert among(rows, facts, [KIND, PARTS]) == ([], [])
    assert leaks(rows, facts, []) == []
