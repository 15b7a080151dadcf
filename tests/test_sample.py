"""The drawn set: the same bytes from the same seed, learnable labels, and faults exactly where faults.json says."""

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from garments import SMALL, drawn, step

from components.data.decoding import Undecodable, decode, examine
from components.errors import UserError


def labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def faults(folder: Path, kind: str) -> list[dict[str, str]]:
    return [entry for entry in json.loads((folder / "faults.json").read_text()) if entry["fault"] == kind]


def test_one_process_and_two_draw_the_same_bytes(tmp_path: Path) -> None:
    two = step("sample", {"sample": SMALL, "runtime": {"threads": 2}}, data=tmp_path / "two")
    again = step("sample", {"sample": SMALL}, data=tmp_path / "one")
    assert two["outputs"] == again["outputs"]


def test_another_seed_draws_other_pictures(tmp_path: Path) -> None:
    step("sample", {"sample": SMALL, "seed": 1}, data=tmp_path / "raw")
    ours, theirs = ({hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "images").iterdir()}
                    for folder in (drawn(), tmp_path / "raw"))
    assert len(ours & theirs) <= 1  # the empty files


def test_a_picture_does_not_depend_on_how_many_are_drawn(tmp_path: Path) -> None:
    step("sample", {"sample": SMALL | {"count": 130, "faults": {}}}, data=tmp_path / "raw")
    damaged = {entry["path"] for folder in (drawn(), tmp_path / "raw") for kind in ("truncated", "empty")
               for entry in faults(folder, kind)}
    shared = [path for path in (tmp_path / "raw" / "images").iterdir() if path.name < "00130"
              and f"images/{path.name}" not in damaged and (drawn() / "images" / path.name).exists()]
    assert len(shared) > 100
    assert all(path.read_bytes() == (drawn() / "images" / path.name).read_bytes() for path in shared)


def test_every_file_has_one_row_and_every_row_a_file() -> None:
    rows = labels(drawn())
    assert len(rows) == 150 + 4
    files = [f"images/{path.name}" for path in (drawn() / "images").iterdir()]
    assert sorted(row["path"] for row in rows) == sorted(files)


def test_identities_are_torn_by_nothing_but_the_planted_duplicates() -> None:
    copies = {entry["path"] for entry in faults(drawn(), "duplicated")}
    splits: dict[str, set[str]] = {}
    for row in labels(drawn()):
        if row["path"] not in copies:
            splits.setdefault(row["identity"], set()).add(row["split"])
    assert {len(found) for found in splits.values()} == {1}


def test_splits_have_about_their_shares_and_every_category(tmp_path: Path) -> None:
    from components.data.sampling import Plan, split_of
    from components.data.silhouettes import CATEGORIES

    plan = Plan(0, 1500, 96, 5, 0.15, {})
    counts = Counter((split_of(plan, item), item // 5 % len(CATEGORIES)) for item in range(1500))
    assert len(counts) == 3 * len(CATEGORIES)
    shares = {split: sum(n for (name, _), n in counts.items() if name == split) / 1500
              for split in ("train", "val", "test")}
    assert 0.66 < shares["train"] < 0.74
    assert 0.12 < shares["val"] < 0.18
    assert 0.12 < shares["test"] < 0.18


def test_faults_are_where_the_list_says_and_nowhere_else() -> None:
    planted = {kind: {entry["path"] for entry in faults(drawn(), kind)}
               for kind in ("truncated", "empty", "mislabelled", "duplicated", "wrong_extension")}
    assert {kind: len(paths) for kind, paths in planted.items()} == {
        "truncated": 4, "empty": 2, "mislabelled": 6, "duplicated": 4, "wrong_extension": 3}
    found: dict[str, set[str]] = {"truncated": set(), "empty": set(), "wrong_extension": set()}
    for path in (drawn() / "images").iterdir():
        try:
            decoded = examine(path.read_bytes())
        except Undecodable as error:
            found[error.reason].add(f"images/{path.name}")
            continue
        if {"JPEG": ".jpg", "PNG": ".png"}[decoded.format] != path.suffix:
            found["wrong_extension"].add(f"images/{path.name}")
    assert found == {kind: planted[kind] for kind in found}


def test_duplicates_are_in_train_and_equal_a_file_of_another_split() -> None:
    split = {row["path"]: row["split"] for row in labels(drawn())}
    for entry in faults(drawn(), "duplicated"):
        assert split[entry["path"]] == "train"
        assert split[entry["of"]] in ("val", "test")
        assert (drawn() / entry["path"]).read_bytes() == (drawn() / entry["of"]).read_bytes()


def test_mislabelled_rows_contradict_the_other_pictures_of_the_garment() -> None:
    rows = labels(drawn())
    wrong = {entry["path"]: entry["true"] for entry in faults(drawn(), "mislabelled")}
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        kinds.setdefault(row["identity"], Counter())[wrong.get(row["path"], row["category"])] += 1
    assert all(len(found) == 1 for found in kinds.values())
    assert all(row["category"] != wrong[row["path"]] for row in rows if row["path"] in wrong)


def test_some_rows_lack_the_pattern_and_no_row_lacks_anything_else() -> None:
    rows = labels(drawn())
    assert 0.05 < sum(row["pattern"] == "" for row in rows) / len(rows) < 0.3
    assert all(row[name] for row in rows for name in row if name != "pattern")


def test_the_colour_of_the_cloth_can_be_seen() -> None:
    """Yellow garments are yellower in their middle than blue ones: the labels are about the pixels."""
    middles: dict[str, list[float]] = {"yellow": [], "blue": []}
    for row in labels(drawn()):
        if row["colour"] in middles and not any(row["path"] == entry["path"] for entry in faults(drawn(), "truncated")):
            content = (drawn() / row["path"]).read_bytes()
            if content:
                middle = np.asarray(decode(content), float)[14:26, 14:26].mean(axis=(0, 1))
                middles[row["colour"]].append(middle[0] - middle[2])
    assert min(len(values) for values in middles.values()) >= 5
    assert np.median(middles["yellow"]) > np.median(middles["blue"]) + 40


@pytest.mark.parametrize(("values", "words"), [
    ({"faults": {"empty": 900}}, "at most 750 faults"),
    ({"faults": {"duplicated": 301}}, "at most 300 duplicated"),
    ({"count": 100, "pictures": 50}, "at least 24 garments"),
    ({"faults": {"emty": 1}}, "sample.faults.emty is not a setting"),
])
def test_impossible_wishes_are_refused(tmp_path: Path, values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        step("sample", {"sample": values}, data=tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
