"""A Dataset gives the pixels of any rows, in any order, from any process, and reads no more than it is asked for."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from bodies import built, draw, rows_of, wanted

from components.data import pixels
from components.data.dataset import Dataset
from components.data.forms import pixels_of
from components.errors import UserError


def made(root: Path, store: str) -> Dataset:
    names = draw(root / "raw", 60)
    built(root / "raw", root / store, rows_of(root / "raw", names), wanted(store))
    return Dataset.open(root / store / "dataset")


@pytest.mark.parametrize("store", ["decoded", "jpeg"])
def test_rows_in_any_order_and_number_give_their_pixels(tmp_path: Path, store: str) -> None:
    dataset = made(tmp_path, store)
    single = np.stack([pixels_of(dataset.shards.record(row), dataset.form) for row in range(60)])
    chance = np.random.default_rng(0)
    for count in (0, 1, 7, 60, 200):
        rows = chance.integers(0, 60, count)
        assert np.array_equal(dataset.pixels(rows), single[rows])
    out = np.zeros((9, 16, 24, 3), np.uint8)
    assert dataset.pixels(np.arange(9), out) is out and np.array_equal(out, single[:9])
    for wrong in ([60], [-1], [3, 99]):
        with pytest.raises(IndexError):
            dataset.pixels(np.array(wrong))


def test_a_row_finds_its_file_among_many(tmp_path: Path) -> None:
    names = draw(tmp_path / "raw", 30)
    built(tmp_path / "raw", tmp_path / "d", rows_of(tmp_path / "raw", names), wanted(size=(400, 400)))
    dataset = Dataset.open(tmp_path / "d" / "dataset")
    assert dataset.head["shards"]["starts"] == list(range(0, 30, 2))
    whole = np.concatenate([np.load(dataset.path / "shards" / name) for name in dataset.head["shards"]["files"]])
    assert np.array_equal(dataset.pixels(np.arange(30)[::-1]), whole[::-1])


def _sum_in_child(dataset: Dataset, queue: "multiprocessing.Queue[int]") -> None:
    queue.put(int(dataset.pixels(np.arange(60)).sum()))


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_child_reads_what_its_parent_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made(tmp_path, "jpeg")
    monkeypatch.setattr(pixels, "cpus", lambda: 2)
    pixels.threads.cache_clear()
    expected = int(dataset.pixels(np.arange(60)).sum())  # the threads of this process exist now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(dataset, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join()
    pixels.threads.cache_clear()


def test_columns_are_read_one_by_one(tmp_path: Path) -> None:
    dataset = made(tmp_path, "decoded")
    assert len(dataset) == 60 and dataset.weights.tolist() == [1.0] * 60
    assert dataset.ids.tobytes() == bytes.fromhex("".join(dataset.column("id")))
    labels = [int(label) for label in dataset.labels(dataset.tasks[0])]
    train = dataset.rows("train")
    assert "samples" not in vars(dataset), "the whole table was not needed"
    assert dataset.samples["kind"].tolist() == labels
    assert train.tolist() == np.flatnonzero(dataset.samples["split"] == "train").tolist()


def test_a_table_that_was_changed_in_memory_counts(tmp_path: Path) -> None:
    dataset = made(tmp_path, "decoded")
    dataset.samples["weight"] = 0.25
    assert set(dataset.weights.tolist()) == {0.25}


def test_another_schema_is_refused(tmp_path: Path) -> None:
    dataset = made(tmp_path, "decoded")
    head = dataset.path / "dataset.json"
    head.write_text(head.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(UserError, match="has schema 1; this version reads 2"):
        Dataset.open(dataset.path)
