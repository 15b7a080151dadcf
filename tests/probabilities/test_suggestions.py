"""What to label next: each measure against a loop, the choice against the plainest greedy search."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import garments
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from small_stores import KIND, TRIM, drawn, identities, write_samples, write_store

from components.data.dataset import Dataset
from components.errors import UserError
from components.probabilities import suggestions as room
from components.probabilities.embedding import embeddings
from components.probabilities.sayings import Sayings, beside, members
from components.probabilities.suggestions import Wish, candidates, farthest_first, spoken, suggestions
from components.probabilities.suggestions_page import page
from components.probabilities.uncertainty import uncertainty


def binary(p: float) -> float:
    return sum(-q * math.log2(q) for q in (p, 1 - p) if q > 0)


def test_the_measures_of_one_true_label_are_those_of_the_textbook() -> None:
    votes = np.random.default_rng(0).dirichlet([0.6] * 4, (5, 20))  # 5 members, 20 samples
    found = uncertainty(votes, "single")
    for row in range(20):
        mean = votes[:, row].mean(axis=0)
        whole = scipy_entropy(mean) / math.log(4)
        assert found["entropy"][row] == pytest.approx(whole)
        second, first = np.sort(mean)[-2:]
        assert found["margin"][row] == pytest.approx(1 - (first - second))
        # Mutual information of answer and member, from its definition as a divergence.
        information = np.mean([scipy_entropy(vote, mean) for vote in votes[:, row]]) / math.log(4)
        assert found["disagreement"][row] == pytest.approx(information)


def test_the_measures_of_several_labels_are_those_of_each_label_alone() -> None:
    votes = np.random.default_rng(1).uniform(size=(3, 20, 2))
    votes[:, 0], votes[:, 1] = 1.0, 0.0
    found = uncertainty(votes, "multi")
    for row in range(20):
        means = votes[:, row].mean(axis=0)
        assert found["entropy"][row] == pytest.approx(np.mean([binary(p) for p in means]))
        assert found["margin"][row] == pytest.approx(max(1 - abs(2 * p - 1) for p in means))
        own = np.mean([[binary(p) for p in vote] for vote in votes[:, row]])
        assert found["disagreement"][row] == pytest.approx(np.mean([binary(p) for p in means]) - own, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.sampled_from(["single", "multi"]))
def test_every_measure_lies_between_0_and_1(seed: int, count: int, classes: int, kind: str) -> None:
    votes = np.random.default_rng(seed).dirichlet([0.05] * classes, (count, 6))
    for name, values in uncertainty(votes, kind).items():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all(), name
        if name == "disagreement" and count == 1:
            assert np.allclose(values, 0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 14), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_the_choice_is_that_of_the_plainest_search(seed: int, count: int, wanted: int, power: float) -> None:
    chance = np.random.default_rng(seed)
    vectors = chance.integers(0, 3, (count, 2)).astype(float)  # coarse: many lie at one point, many are equally far
    weights = np.sort(chance.integers(0, 4, count) / 4)[::-1]
    chosen, apart = farthest_first(vectors, weights, wanted, power)
    expected: list[int] = []
    for _ in range(min(wanted, count)):
        rest = [row for row in range(count) if row not in expected]

        def near(row: int) -> float:
            return min(math.dist(vectors[row], vectors[other]) for other in expected)

        worth = {row: weights[row] * near(row) ** power if expected else weights[row] for row in rest}
        expected.append(max(rest, key=lambda row: (round(worth[row], 9), -row)))
        if len(expected) > 1:
            last = expected[-1]
            assert apart[len(expected) - 1] == pytest.approx(
                min(math.dist(vectors[last], vectors[other]) for other in expected[:-1]))
    assert chosen.tolist() == expected
    assert apart[0] == math.inf


def test_without_diversity_the_most_uncertain_come_in_their_order(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    wish = Wish((KIND, TRIM), 8, "margin", labelled=True, diversity=0.0)
    found = candidates(sayings, wish)
    chosen = suggestions(sayings, wish, found, spoken(sayings, wish.tasks, found["place"].to_numpy()))
    assert chosen["id"].tolist() == found["id"].head(8).tolist()
    assert found["margin"].is_monotonic_decreasing
    assert chosen["rank"].tolist() == list(range(1, 9))


def test_diversity_spreads_the_choice(tmp_path: Path) -> None:
    sayings = drawn(tmp_path, 300)
    spread = {}
    for power in (0.0, 1.0):
        wish = Wish((KIND,), 12, labelled=True, diversity=power)
        found = candidates(sayings, wish)
        vectors = spoken(sayings, wish.tasks, found["place"].to_numpy())
        chosen = suggestions(sayings, wish, found, vectors)
        places = [found["id"].tolist().index(name) for name in chosen["id"]]
        gaps = np.linalg.norm(vectors[places][:, None] - vectors[places][None], axis=2)
        spread[power] = gaps[~np.eye(12, dtype=bool)].min()
    assert spread[1.0] > 2 * spread[0.0]


def test_only_samples_that_lack_a_wanted_label_are_asked_for(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    samples = sayings.dataset.samples
    kind, trim = (samples["kind"] < 0).to_numpy(), samples["trim"].isna().to_numpy()
    for tasks, expected in (((KIND,), kind), ((TRIM,), trim), ((KIND, TRIM), kind | trim)):
        found = candidates(sayings, Wish(tasks, 90))
        assert sorted(found["place"]) == np.flatnonzero(expected).tolist()
    inside = candidates(sayings, Wish((KIND, TRIM), 90, split="test", labelled=True))
    assert sorted(inside["place"]) == sayings.dataset.rows("test").tolist()


def test_a_sample_is_scored_by_the_tasks_that_it_lacks(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    samples = sayings.dataset.samples
    found = candidates(sayings, Wish((KIND, TRIM), 90)).set_index("place")
    for place, row in found.iterrows():
        lacks = [KIND] * bool(samples["kind"][place] < 0) + [TRIM] * bool(samples["trim"][place] is None)
        for name in ("entropy", "margin", "disagreement"):
            each = [uncertainty(members(sayings, task, np.array([place])), task.kind)[name][0] for task in lacks]
            assert row[name] == pytest.approx(np.mean(each)), name
    assert {len(samples.loc[place, ["kind"]]) for place in found.index} == {1}


def test_the_order_of_samples_and_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = []
    for name, order in (("one", None), ("other", np.random.default_rng(2).permutation(90))):
        sayings = drawn(tmp_path / name, order=order)
        wish = Wish((KIND, TRIM), 10, "disagreement", labelled=True)
        found = candidates(sayings, wish)
        chosen = suggestions(sayings, wish, found, spoken(sayings, wish.tasks, found["place"].to_numpy()))
        tables.append(chosen.drop(columns=["place", "row"]))
        monkeypatch.setattr(room, "BLOCK", 7)
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def even(tmp_path: Path, **columns: list[str | None]) -> Sayings:
    """Six samples of which all the same is said."""
    dataset = write_samples(tmp_path / "d", {"id": identities(6), "split": ["train"] * 6, "kind": [-1] * 6, **columns},
                            (KIND,))
    said = np.tile(np.array([[[0.5, 0.3, 0.2]]]), (6, 1, 1))
    return beside(dataset, write_store(tmp_path / "s", dataset, {"a": {"kind": said}}))


def test_equally_uncertain_samples_stand_in_the_order_of_ids(tmp_path: Path) -> None:
    sayings = even(tmp_path)
    wish = Wish((KIND,), 6)
    found = candidates(sayings, wish)
    chosen = suggestions(sayings, wish, found, spoken(sayings, wish.tasks, found["place"].to_numpy()))
    assert chosen["id"].tolist() == sorted(identities(6))
    assert (chosen["distance"].iloc[1:] == 0).all()


def test_pictures_that_are_nearly_the_same_are_asked_for_once(tmp_path: Path) -> None:
    ids = identities(6)
    sayings = even(tmp_path, cluster=[ids[0], None, ids[0], None, ids[0], None])
    found = candidates(sayings, Wish((KIND,), 6))
    kept = min(ids[0], ids[2], ids[4])
    assert found["id"].tolist() == sorted([kept, ids[1], ids[3], ids[5]])


def test_diversity_is_sought_among_ten_times_the_wanted_count(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    whole = candidates(sayings, Wish((KIND,), 90, labelled=True))
    some = candidates(sayings, Wish((KIND,), 3, labelled=True))
    assert len(whole) == 90
    pd.testing.assert_frame_equal(some, whole.head(30))


def test_nothing_to_label_is_said_with_what_to_do(tmp_path: Path) -> None:
    dataset = write_samples(tmp_path / "d", {"id": identities(3), "split": ["train"] * 3, "kind": [0] * 3}, (KIND,))
    sayings = beside(dataset, write_store(tmp_path / "s", dataset, {"a": {"kind": np.full((3, 1, 3), 1 / 3)}}))
    with pytest.raises(UserError, match="no sample lacks a label of kind") as caught:
        candidates(sayings, Wish((KIND,), 3))
    assert "labels.csv" in caught.value.remedy
    with pytest.raises(UserError, match="no sample in val is covered by the store"):
        candidates(sayings, Wish((KIND,), 3, split="val", labelled=True))


def test_guesses_are_the_likeliest_answers(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    wish = Wish((KIND, TRIM), 20)
    found = candidates(sayings, wish)
    chosen = suggestions(sayings, wish, found, spoken(sayings, wish.tasks, found["place"].to_numpy()))
    for row in chosen.to_dict("records"):
        said = {task.name: np.mean([one[0] for one in members(sayings, task, np.array([row["place"]]))], axis=0)
                for task in wish.tasks}
        assert row["suggested.kind"] == KIND.classes[said["kind"].argmax()]
        assert row["probability.kind"] == pytest.approx(said["kind"].max())
        named = [name for name, value in zip(TRIM.classes, said["trim"], strict=True) if value >= 0.5]
        assert row["suggested.trim"] == "|".join(named)
        assert row["probability.trim"] == pytest.approx(min(max(p, 1 - p) for p in said["trim"]))


def test_the_page_shows_the_first_without_trusting_names(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    wish = Wish((KIND,), 20, labelled=True)
    found = candidates(sayings, wish)
    chosen = suggestions(sayings, wish, found, spoken(sayings, wish.tasks, found["place"].to_numpy()))
    text = page(sayings.dataset, chosen, wish, 7, [])
    assert text.count("<article") == 7
    assert "The first 7 of 20" in text
    assert "<b>dress</b>" not in text


def test_images_without_any_label_enter_a_dataset_and_are_asked_for(tmp_path: Path) -> None:
    shutil.copytree(garments.drawn(), tmp_path / "raw", ignore=shutil.ignore_patterns("receipt.json"))
    table = pd.read_csv(tmp_path / "raw" / "labels.csv", dtype=str, keep_default_na=False)
    bare = table.index[table["split"] == "train"][:9]
    table.loc[bare, ["category", "colour", "pattern"]] = ""
    table.to_csv(tmp_path / "raw" / "labels.csv", index=False)
    garments.validated(tmp_path, tmp_path / "raw")
    garments.indexed(tmp_path, tmp_path / "raw", index={"size": [24, 24]})
    dataset = Dataset.open(tmp_path / "dataset")
    said = {task.name: np.random.default_rng(0).dirichlet([1.0] * len(task.classes), (len(dataset), 2))
            for task in dataset.tasks}
    sayings = beside(dataset, write_store(tmp_path / "store", dataset, {"a": said}))
    category = next(task for task in dataset.tasks if task.name == "category")
    found = candidates(sayings, Wish((category,), 50))
    assert set(dataset.samples["path"].iloc[found["place"]]) <= set(table["path"][bare])
    assert len(found) >= 8  # a fault may have left one of the nine out


def test_images_can_differ_by_what_a_model_sees_in_them(tmp_path: Path) -> None:
    from small_models import write_photographs, write_small_model

    from components.models.artifact import load_model

    dataset = Dataset.open(write_photographs(tmp_path / "dataset"))
    model = load_model(write_small_model(tmp_path / "m", "m", dataset))
    rows = np.random.default_rng(0).permutation(len(dataset))
    vectors = embeddings(model, dataset, rows)
    with torch.no_grad():
        seen = model.network(model.preprocess(torch.from_numpy(dataset.pixels(rows)))).embedding.numpy()
    assert np.allclose(vectors, seen / np.linalg.norm(seen, axis=1, keepdims=True), atol=1e-5)


def test_a_wish_can_be_for_one_split(tmp_path: Path) -> None:
    sayings = drawn(tmp_path)
    wish = Wish((KIND, TRIM), 90)
    parts = [set(candidates(sayings, replace(wish, split=split))["id"]) for split in ("train", "val", "test")]
    assert set().union(*parts) == set(candidates(sayings, wish)["id"])
    assert sum(map(len, parts)) == len(set().union(*parts))
