"""Parts of train: groups whole, classes shared out, a function of the samples alone."""

import numpy as np
import pytest
from small_stores import KIND, TRIM, identities, write_samples

from components.data.folds import divide
from components.errors import UserError


def written(folder, count=120, order=None, kinds=None, groups=None):
    """A Dataset of groups of people and of near duplicates; half of the rows are train."""
    chance = np.random.default_rng(8)
    kinds = chance.integers(0, 3, count) if kinds is None else kinds
    columns = {
        "id": np.array(identities(count), object), "kind": kinds.astype(np.int32),
        "split": np.array(["train", "val"])[(np.arange(count) % 4 == 3).astype(int)],
        "trim": np.array([chance.choice(2, chance.integers(0, 3), replace=False).tolist() for _ in range(count)],
                         object),
        "group": np.array([f"g{row // 5}" if row < 60 else None for row in range(count)], object)
        if groups is None else groups,
        "cluster": np.array([f"c{row // 3}" if 48 < row < 100 else None for row in range(count)], object)}
    order = np.arange(count) if order is None else order
    return write_samples(folder, {name: list(values[order]) for name, values in columns.items()}, (KIND, TRIM))


def test_groups_and_near_duplicates_stay_whole_and_each_training_row_has_one_fold(tmp_path):
    dataset = written(tmp_path / "d")
    folds = divide(dataset, dataset.rows("train"), 4, 0)
    assert (folds.of[dataset.rows("train")] >= 0).all() and (folds.of[dataset.rows("val")] == -1).all()
    assert sorted(np.concatenate([folds.rows(part) for part in range(4)])) == dataset.rows("train").tolist()
    train = dataset.samples.assign(fold=folds.of).iloc[dataset.rows("train")]
    for column in ("group", "cluster"):
        assert (train.dropna(subset=column).groupby(column)["fold"].nunique() == 1).all()
    assert set(folds.by) == {"group", "near_duplicates", "copies"}


def test_every_class_has_its_share_in_every_fold(tmp_path):
    dataset = written(tmp_path / "d", groups=np.array([None] * 120, object))
    folds = divide(dataset, dataset.rows("train"), 3, 0)
    train = dataset.samples.assign(fold=folds.of).iloc[dataset.rows("train")]
    for kind in range(3):
        counts = train[train["kind"] == kind].groupby("fold").size()
        assert counts.max() - counts.min() <= 3 and len(counts) == 3


def test_folds_depend_on_samples_and_seed_and_not_on_their_order(tmp_path):
    chance = np.random.default_rng(2)
    one, order = written(tmp_path / "a"), chance.permutation(120)
    other = written(tmp_path / "b", order=order)
    folds, shuffled = (divide(each, each.rows("train"), 4, 5).of for each in (one, other))
    assert np.array_equal(folds[order], shuffled)
    assert not np.array_equal(folds, divide(one, one.rows("train"), 4, 6).of)


def test_a_class_with_fewer_groups_than_folds_is_told(tmp_path):
    kinds = np.zeros(120, int)
    kinds[[0, 61]] = 1
    dataset = written(tmp_path / "d", kinds=kinds)
    (note,) = divide(dataset, dataset.rows("train"), 4, 0).notes
    assert "1 classes of kind have fewer groups than the 4 folds: <b>dress</b> (2)" in note


def test_more_folds_than_groups_are_refused(tmp_path):
    dataset = written(tmp_path / "d", groups=np.array(["one"] * 119 + ["two"], object))
    with pytest.raises(UserError, match="form 1 groups") as caught:
        divide(dataset, dataset.rows("train"), 4, 0)
    assert "teach.folds" in caught.value.remedy


def test_rows_can_be_taken_out_of_their_split(tmp_path):
    dataset = written(tmp_path / "d")
    some = dataset.rows("train")[::2]
    left = dataset.without(some)
    assert left.rows("train").tolist() == dataset.rows("train")[1::2].tolist()
    assert np.array_equal(left.rows("val"), dataset.rows("val")) and len(dataset.rows("train")) == 90
