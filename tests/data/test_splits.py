"""Splits never tear a group, keep what is given, and follow from the data, the settings and the seed alone."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from components.data.groups import components
from components.data.split_settings import Fractions, Split
from components.data.splits import Division, divided
from components.data.tasks import Task
from components.errors import UserError
from components.settings import Params

TASKS = (Task("kind", "single", ("coat", "dress", "shirt")), Task("tags", "multi", ("dots", "plain")))
CLOTHING = Path(__file__).parents[3] / "shared" / "data" / "clothing" / "labels.csv"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """A manifest's rows: what is not said is empty."""
    table = pd.DataFrame([{"split": "", "group": None, "identity": None, "cluster": None, "kind": "coat", "tags": "",
                           "path": f"{number}.jpg", "sha256": digest(str(number))} | row
                          for number, row in enumerate(rows)])
    return table.astype(object)


ANCHORS = [{"split": split, "path": split, "sha256": digest(split)} for split in ("train", "val", "test")]


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Some rows of few groups, clusters and splits, so that they meet; and one row of its own in every split."""
    row = st.fixed_dictionaries({
        "split": st.sampled_from(["", "", "train", "val", "test"]), "group": st.sampled_from([None, "a", "b", "c"]),
        "identity": st.sampled_from([None, None, "x", "y", "z"]), "cluster": st.sampled_from([None, None, "1", "2"]),
        "kind": st.sampled_from(["", "coat", "dress", "shirt"]), "tags": st.sampled_from(["", "dots", "dots|plain"])})
    return frame([*draw(st.lists(row, max_size=24)), *ANCHORS])


def together(table: pd.DataFrame) -> list[set[int]]:
    """Which rows belong together, by merging sets until nothing changes."""
    sets = [{number} for number in range(len(table))]
    for column in ("group", "identity", "cluster", "sha256"):
        for _, rows in table.groupby(column):
            touched = [one for one in sets if one & set(rows.index)]
            sets = [one for one in sets if one not in touched] + [set().union(*touched)]
    return sets


def split_of(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["path"], table["split"], strict=True))


@settings(max_examples=40, deadline=None)
@given(frames(), st.sampled_from(["stable", "stratified"]))
def test_after_repair_no_group_is_torn_nothing_is_lost_and_whole_groups_stay(table: pd.DataFrame, method: str) -> None:
    made, division = divided(table, TASKS, Split(method=method, repair=True))
    assert made["path"].tolist() == table["path"].tolist()
    assert set(made["split"]) <= {"train", "val", "test"}
    before, after = table["split"].tolist(), made["split"].tolist()
    for rows in together(table):
        assert len({after[row] for row in rows}) == 1
        given_splits = {before[row] for row in rows} - {""}
        if len(given_splits) == 1:
            assert {after[row] for row in rows} == given_splits
        if len(given_splits) > 1:
            assert after[min(rows)] in given_splits
    assert division.figures["leaking.val.stored"] == division.figures["leaking.test.stored"] == 0
    moved = sum(one != "" and one != two for one, two in zip(before, after, strict=True))
    assert division.head["repair"]["moves"] == division.figures["moved"] == moved


@settings(max_examples=30, deadline=None)
@given(frames(), st.sampled_from(["stable", "stratified"]), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(table: pd.DataFrame, method: str, repair: bool, random: Any) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    chosen = Split(method=method, repair=repair)
    one, told = divided(table, TASKS, chosen)
    other, told_again = divided(table.iloc[order], TASKS, chosen)
    assert split_of(one) == split_of(other)
    assert told == told_again


@settings(max_examples=30, deadline=None)
@given(frames(), st.sampled_from(["stable", "stratified"]))
def test_without_repair_given_splits_stay_and_free_rows_follow_their_group(table: pd.DataFrame, method: str) -> None:
    made, division = divided(table, TASKS, Split(method=method))
    after = made["split"].tolist()
    for rows in together(table):
        known = [table["split"][row] for row in rows if table["split"][row]]
        free = {after[row] for row in rows if not table["split"][row]}
        assert all(after[row] == table["split"][row] for row in rows if table["split"][row])
        assert len(free) <= 1
        if free and known:
            assert free == {min(known, key=["train", "val", "test"].index)}
    assert division.figures["moved"] == 0


@settings(max_examples=30, deadline=None)
@given(frames(), st.integers(1, 30))
def test_stable_splits_stay_when_images_are_added(table: pd.DataFrame, more: int) -> None:
    table["split"] = [split if path in ("train", "val", "test") else "" for split, path
                      in zip(table["split"], table["path"], strict=True)]
    before, _ = divided(table, TASKS, Split())
    added = frame([{"path": f"new{number}", "sha256": digest(f"new{number}"), "group": ["a", None, "new"][number % 3]}
                   for number in range(more)])
    after, _ = divided(pd.concat([added, table], ignore_index=True), TASKS, Split())
    assert split_of(before).items() <= split_of(after).items()


@settings(max_examples=20, deadline=None)
@given(frames(), st.sampled_from(["stable", "stratified"]), st.integers(0, 3))
def test_regression_15_dividing_is_seeded_and_loses_and_doubles_no_sample(
        table: pd.DataFrame, method: str, seed: int) -> None:
    once, again = (divided(table, TASKS, Split(method=method, seed=seed))[0] for _ in range(2))
    pd.testing.assert_frame_equal(once, again)
    pd.testing.assert_frame_equal(once.drop(columns="split"), table.drop(columns="split"))


def test_a_stable_split_is_that_of_the_groups_name_hashed() -> None:
    table = frame([*({"group": f"sender {number}"} for number in range(300)), *({} for _ in range(300)), *ANCHORS])
    made, _ = divided(table, TASKS, Split(seed=7))
    for row in made.to_dict("records")[:600]:
        name = f"group/{row['group']}" if pd.notna(row["group"]) else f"id/{row['sha256']}"
        word = int.from_bytes(hashlib.sha256(f"7/split/{name}".encode()).digest()[:8], "little")
        share = word / 2**64
        assert row["split"] == ("test" if share < 0.1 else "val" if share < 0.2 else "train")


def test_another_share_of_val_moves_nothing_in_or_out_of_test_and_another_seed_moves_much() -> None:
    table = frame({} for _ in range(2000))
    one, two, three = (divided(table, TASKS, Split(fractions=fractions, seed=seed))[0] for fractions, seed in (
        (Fractions(), 0), (Fractions(train=0.7, val=0.2, test=0.1), 0), (Fractions(), 1)))
    assert set(one["path"][one["split"] == "test"]) == set(two["path"][two["split"] == "test"])
    assert set(one["path"][one["split"] == "val"]) < set(two["path"][two["split"] == "val"])
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs((one["split"] == split).mean() - share) < 4 * (share * (1 - share) / 2000) ** 0.5
    assert 0.2 < (one["split"] != three["split"]).mean() < 0.45


@pytest.mark.parametrize("method", ["stable", "stratified"])
def test_near_duplicates_stay_together_unless_they_may_part(method: str) -> None:
    table = frame({"cluster": digest(str(number // 5 * 5))} for number in range(600))
    kept, _ = divided(table, TASKS, Split(method=method))
    assert (kept.groupby("cluster")["split"].nunique() == 1).all()
    parted, _ = divided(table, TASKS, Split(method=method, near_duplicates=False))
    assert (parted.groupby("cluster")["split"].nunique() > 1).any()


def test_a_near_duplicate_joins_two_groups_and_that_is_told() -> None:
    table = frame([*({"group": f"{number:03d}"} for number in range(90)), *ANCHORS])
    table.loc[[3, 70], "cluster"] = digest("pair")
    made, division = divided(table, TASKS, Split())
    assert made["split"][3] == made["split"][70] == divided(table.drop(index=70), TASKS, Split())[0]["split"][3]
    assert division.head["joined"] == 1
    assert any("1 groups hold several values" in note for note in division.notes)


def test_a_split_that_nobody_gave_is_carved_out_of_train_and_that_is_told() -> None:
    table = frame({"split": "val" if number % 5 == 0 else "train", "group": f"{number // 10}"} for number in range(999))
    table.loc[table["split"] == "val", "group"] = None
    for method in ("stable", "stratified"):
        made, division = divided(table, TASKS, Split(method=method))
        assert (made["split"][table["split"] == "val"] == "val").all()
        assert division.head["filled"] == ["test"]
        share = (made["split"] == "test").sum() / (table["split"] == "train").sum()
        assert 0.02 < share < 0.25 if method == "stable" else abs(share - 0.111) < 0.015
        assert (made[made["group"].notna()].groupby("group")["split"].nunique() == 1).all()
        assert any("test had no image" in note for note in division.notes)


def test_a_split_without_an_image_is_an_error_that_says_what_to_do() -> None:
    table = frame({"group": "all of it"} for _ in range(30))
    with pytest.raises(UserError, match="no image came into split") as caught:
        divided(table, TASKS, Split())
    assert "stratified" in caught.value.remedy
    with pytest.raises(UserError, match=r"fractions\.test is 0"):
        divided(frame({} for _ in range(50)), TASKS, Split(fractions=Fractions(train=0.8, val=0.2, test=0.0)))


def test_a_column_that_is_not_there_is_an_error_with_its_nearest_name() -> None:
    with pytest.raises(UserError, match=r"names grup.*Did you mean 'group'"):
        divided(frame(ANCHORS), TASKS, Split(groups=("grup",)))


@pytest.mark.parametrize(("values", "complaint"), [
    ({"fractions": {"train": 0.5}}, "add up to 1"),
    ({"fractions": {"train": 0.0, "val": 0.5, "test": 0.5}}, "train above 0"),
    ({"method": "random"}, "stable, stratified"), ({"seed": -1}, "greater than or equal to 0"),
])
def test_impossible_settings_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Params({"index": {"split": values}}).section("index")


def test_classes_that_a_split_lacks_are_told_with_the_remedy() -> None:
    table = frame([*({} for _ in range(200)), {"kind": "dress"}])
    _, division = divided(table, TASKS[:1], Split())
    lacking = [note for note in division.notes if "dress" in note]
    assert len(lacking) == 2
    assert all("index.split.method: stratified" in note for note in lacking)


def shares_apart(split: NDArray[np.object_], labels: NDArray[np.int64]) -> float:
    """How far the class shares of the splits are from those of all, added up."""
    whole = np.bincount(labels) / len(labels)
    return float(sum(np.abs(np.bincount(labels[split == name], minlength=len(whole)) / max(1, (split == name).sum())
                            - whole).sum() for name in ("train", "val", "test")))


def random_set(seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels, and groups of uneven sizes that have their own shares of them."""
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(80, 500)), int(rng.integers(2, 7))
    number = int(rng.integers(20, count // 2))
    groups = rng.choice(number, count, p=rng.dirichlet(np.ones(number) * rng.choice([0.3, 1, 10])))
    shares = rng.dirichlet(np.ones(classes), number)
    labels = np.array([rng.choice(classes, p=shares[group]) for group in groups])
    return np.unique(labels, return_inverse=True)[1], groups


def test_stratified_groups_have_class_shares_at_least_as_even_as_those_of_scikit_learn() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    ours, theirs = [], []
    for seed in range(16):
        labels, groups = random_set(seed)
        names = tuple(f"c{number}" for number in range(labels.max() + 1))
        table = frame({"group": str(group), "kind": names[label]} for label, group in zip(labels, groups, strict=True))
        third = Fractions(train=1 / 3, val=1 / 3, test=1 / 3)
        made, _ = divided(table, [Task("kind", "single", names)], Split(method="stratified", fractions=third))
        assert (made.groupby("group")["split"].nunique() == 1).all()
        if min(Counter(labels.tolist()).values()) < 3:
            continue
        split = np.empty(len(labels), object)
        folds = StratifiedGroupKFold(3, shuffle=True, random_state=0).split(labels, labels, groups)
        for name, (_, fold) in zip(("train", "val", "test"), folds, strict=True):
            split[fold] = name
        ours.append(shares_apart(made["split"].to_numpy(object), labels))
        theirs.append(shares_apart(split, labels))
    assert len(ours) > 10
    assert sum(ours) < 0.7 * sum(theirs)
    assert sum(one > other for one, other in zip(ours, theirs, strict=True)) <= len(ours) // 4


def test_stratified_splits_balance_several_tasks_at_once() -> None:
    rng = np.random.default_rng(3)
    table = frame({"kind": str(rng.choice(["coat", "dress", "shirt", ""], p=[0.6, 0.3, 0.06, 0.04])),
                   "tags": str(rng.choice(["", "dots", "dots|plain", "plain"])), "group": str(rng.integers(0, 150))}
                  for _ in range(900))
    made, division = divided(table, TASKS, Split(method="stratified"))
    lucky, by_luck = divided(table, TASKS, Split())
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs((made["split"] == split).mean() - share) < 0.01
        for task in ("kind", "tags"):
            assert division.head["deviation"][task][split] < 0.02
    for kind in ("coat", "dress", "shirt"):
        rows = made[made["kind"] == kind]
        assert abs((rows["split"] == "test").mean() - 0.1) < 0.5 / len(rows) + 0.01
    worst = max(by_luck.head["deviation"]["kind"].values())
    assert max(division.head["deviation"]["kind"].values()) < worst / 2
    assert set(lucky["split"]) == {"train", "val", "test"}


def test_a_frozen_set_keeps_every_sample_and_new_ones_are_balanced_around_it() -> None:
    old = frame({"kind": ["coat", "dress"][number % 2]} for number in range(400))
    frozen, _ = divided(old, TASKS, Split(method="stratified"))
    new = frame({"kind": "shirt", "path": f"n{number}", "sha256": digest(f"n{number}")} for number in range(100))
    made, _ = divided(pd.concat([frozen, new], ignore_index=True), TASKS, Split(method="stratified"))
    assert split_of(frozen).items() <= split_of(made).items()
    assert Counter(made["split"][400:]) == {"train": 80, "val": 10, "test": 10}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(-1, 6)), min_size=1, max_size=30))
def test_connected_rows_have_one_number(pairs: list[tuple[int, int]]) -> None:
    import networkx

    graph = networkx.Graph()
    for row, values in enumerate(pairs):
        graph.add_node(row)
        graph.add_edges_from((row, (place, value)) for place, value in enumerate(values) if value >= 0)
    found = components([np.array(codes, np.int64) for codes in zip(*pairs, strict=True)])
    for part in networkx.connected_components(graph):
        rows = sorted(node for node in part if isinstance(node, int))
        assert {int(found[row]) for row in rows} == set(rows[:1])


def clothing() -> tuple[pd.DataFrame, Task]:
    if not CLOTHING.exists():
        pytest.skip("shared/data/clothing is not beside the project")
    table = pd.read_csv(CLOTHING, dtype=str, keep_default_na=False).rename(columns={"sender_id": "group"})
    table = table[table["split"].isin(["train", "val", "test"])].reset_index(drop=True)
    table["sha256"] = [digest(path) for path in table["path"]]  # names stand for contents: nothing is decoded here
    return table, Task("type", "single", tuple(sorted(set(table["type"]))))


def leak(division: Division, state: str, earlier: str, later: str) -> dict[str, Any]:
    return next(one for one in division.head[state]
                if (one["link"], one["earlier"], one["later"]) == ("group", earlier, later))


def test_the_senders_that_val_of_clothing_shares_with_train_are_found() -> None:
    table, task = clothing()
    made, division = divided(table, [task], Split(groups=("group",)))
    assert (made["split"] == table["split"]).all()
    senders = {split: set(rows["group"]) for split, rows in table.groupby("split")}
    found = leak(division, "given", "train", "val")
    assert found["groups"] == len(senders["train"] & senders["val"]) == 113
    assert found["groups_of"] == len(senders["val"]) == 122
    in_train = (table["split"] == "val") & table["group"].isin(senders["train"])
    assert found["samples"] == in_train.sum() == division.figures["leaking.val.given"] == 332
    assert leak(division, "given", "train", "test")["groups"] == 0
    assert any("113 of 122" in note for note in division.notes)
    assert any("index.split.repair: true" in note for note in division.notes)


def test_repair_cleans_val_of_clothing_and_keeps_its_size_its_classes_and_test() -> None:
    table, task = clothing()
    made, division = divided(table, [task], Split(groups=("group",), repair=True))
    assert (made.groupby("group")["split"].nunique() == 1).all()
    assert (made["split"][table["split"] == "test"] == "test").all()
    sizes = table["split"].value_counts()
    assert (abs(made["split"].value_counts() - sizes) < 0.05 * sizes).all()
    shares = {name: one[one["split"] == "val"]["type"].value_counts(normalize=True)
              for name, one in (("given", table), ("made", made))}
    assert abs(shares["made"] - shares["given"]).max() < 0.05
    assert division.figures["leaking.val.given"] == 332
    assert division.figures["leaking.val.stored"] == 0
    assert division.figures["moved"] < 600
    _, unasked = divided(table, [task], Split(groups=("group",)))
    assert unasked.head["repair"] == {"done": False, "moves": division.figures["moved"], "torn": 113}
