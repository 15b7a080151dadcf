import numpy as np
import pytest
from small_stores import KIND, TRIM, drawn, identities, votes, write_samples, write_store

from components.data.tasks import Task
from components.errors import UserError
from components.probabilities import sayings as room
from components.probabilities.sayings import beside, mean, means, open_both


def test_the_mean_over_sources_and_views_is_that_of_probabilities(tmp_path) -> None:
    chance = np.random.default_rng(1)
    dataset = write_samples(tmp_path / "d", {"id": identities(40), "split": ["train"] * 40, "kind": [0] * 40}, (KIND,))
    said = {source: {"kind": votes(chance, np.eye(3)[chance.integers(0, 3, 40)], 3)} for source in ("a", "b")}
    sayings = beside(dataset, write_store(tmp_path / "s", dataset, said))
    inside = chance.permutation(40)[:17]
    expected = np.mean([said[source]["kind"][inside, view] for source in said for view in range(3)], axis=0)
    assert np.allclose(mean(sayings, KIND, inside), expected, atol=2e-3)
    alone = beside(dataset, sayings.store, ["b"])
    assert np.allclose(mean(alone, KIND, inside), said["b"]["kind"][inside].mean(axis=1), atol=2e-3)


@pytest.mark.parametrize("task", [KIND, TRIM])
def test_a_row_has_the_same_bits_in_any_block(tmp_path, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    sayings = drawn(tmp_path)
    inside = np.random.default_rng(2).permutation(len(sayings.rows))
    whole = mean(sayings, task, inside)
    monkeypatch.setattr(room, "BLOCK", 11)
    parts = list(means(sayings, task, inside))
    assert [block.stop - block.start for block, _ in parts] == [11] * 8 + [2]
    assert np.array_equal(np.concatenate([values for _, values in parts]), whole)


def test_samples_that_a_store_does_not_cover_are_left_out_and_counted(tmp_path) -> None:
    whole = drawn(tmp_path / "whole")
    part = write_samples(tmp_path / "part", {"id": identities(50), "split": ["train"] * 50,
                                             "kind": [0] * 50, "trim": [[0]] * 50}, (KIND, TRIM))
    larger = beside(whole.dataset, write_store(tmp_path / "store", part, {
        "deep": {"kind": np.full((50, 1, 3), 1 / 3), "trim": np.full((50, 1, 2), 0.5)}}))
    assert larger.rows.tolist() == list(range(50))
    assert larger.notes == ("the store covers 50 of 90 samples; the others are left out",)


def test_what_does_not_fit_is_refused_with_its_name(tmp_path) -> None:
    sayings = drawn(tmp_path / "a")
    with pytest.raises(UserError, match=r"no source depe\. Did you mean 'deep'"):
        beside(sayings.dataset, sayings.store, ["depe"])
    other = Task("kind", "single", ("coat", "dress", "hat"))
    dataset = write_samples(tmp_path / "b", {"id": identities(3), "split": ["train"] * 3, "kind": [0] * 3}, (other,))
    with pytest.raises(UserError, match=r"tasks\.kind\.classes\[1\] is <b>dress</b>; .* has dress"):
        beside(dataset, sayings.store)
    strangers = write_samples(tmp_path / "c", {"id": [name[::-1] for name in identities(3)], "split": ["train"] * 3,
                                               "kind": [0] * 3, "trim": [[0]] * 3}, (KIND, TRIM))
    with pytest.raises(UserError, match="covers no sample"):
        beside(strangers, sayings.store)
    with pytest.raises(UserError, match="is no store"):
        open_both(sayings.dataset.path, sayings.dataset.path)
