"""What `stillhouse store` tells of stores, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import rel_entr
from small_stores import KIND, TRIM, drawn, identities, write_samples, write_store

from components.cli import main
from components.data.tasks import Task
from components.probabilities.store import StoreWriter

MANY = Task("many", "single", tuple(map(str, range(50))))


def test_info_tells_what_a_store_holds_and_what_it_weighs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = drawn(tmp_path).store
    assert main(["store", "info", str(store.path)]) == 0
    out = capsys.readouterr().out
    assert "90 samples, 2 views, by deep, wide" in out
    assert "kind: single, 3 classes, all kept as float16, 6 bytes a sample and view" in out
    assert "trim: multi, 2 classes" in out
    assert main(["store", "info", str(store.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[str(store.path)]
    files = [path for path in store.path.rglob("*") if path.is_file() and path.suffix == ".npy"]
    assert (found["parts"], found["bytes"]) == (len(files), sum(path.stat().st_size for path in files))
    assert found["head"] == store.head and found["finished"]


def test_info_tells_of_top_k_embeddings_coverage_and_models(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = {"tasks": [MANY.to_json()], "sources": ["deep"], "views": [0], "k": 10, "embedding": True,
            "models": {"deep": "cd" * 32}, "coverage": {"train": {"rows": 3, "of": 4}, "val": {"rows": 0, "of": 0}}}
    writer = StoreWriter(tmp_path / "s", head, np.arange(96, dtype=np.uint8).reshape(3, 32))
    assert main(["store", "info", str(tmp_path / "s")]) == 0
    assert "not finished: 0 of 3 parts are there" in capsys.readouterr().out
    writer.put("deep", "many", 0, np.full((3, 1, 50), np.log(0.02)))
    writer.put_embedding("deep", 0, np.ones((3, 1, 7)))
    writer.finish()
    assert main(["store", "info", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    for words in ("the likeliest 10 (uint16) kept as float16, 42 bytes", "embeddings: 7 of deep, float16",
                  "covers 3 of 4 train\n", "model        cdcdcdcdcdcd, deep"):
        assert words in out


def test_verify_tells_everything_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = drawn(tmp_path).store
    assert main(["store", "verify", str(store.path)]) == 0
    assert f"{store.path}: {len(store.parts()) + 1} files are whole" in capsys.readouterr().out
    (store.path / "shards/deep/kind/00001.npy").unlink()
    path = store.path / "shards/wide/trim/00002.npy"
    path.write_bytes(path.read_bytes().replace(b"\x93NUMPY", b"\x93numpy"))
    assert main(["store", "verify", str(store.path), str(tmp_path / "dataset")]) == 1
    out, err = capsys.readouterr()
    assert f"2 of {len(store.parts()) + 1} files are wrong" in out
    assert "shards/deep/kind/00001.npy is missing" in err and "shards/wide/trim/00002.npy is damaged" in err
    assert "is no store: it has no probabilities.json" in err
    assert main(["store", "verify", str(store.path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)[str(store.path)]) == 2


def test_equal_stores_have_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = drawn(tmp_path / "one").store, drawn(tmp_path / "other").store
    assert main(["store", "diff", str(one.path), str(other.path)]) == 0
    out = capsys.readouterr().out
    assert "90 in both, 0 only in the first, 0 only in the second" in out
    assert "head: no difference" in out and "words: equal in all 8 columns" in out


def test_differences_of_head_samples_and_words_are_told_as_they_are(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance, count = np.random.default_rng(2), 60
    ids = identities(count + 5)
    columns = {"split": ["train"] * count, "kind": [0] * count, "trim": [None] * count}
    sets = [write_samples(tmp_path / f"dataset{turn}", {"id": ids[start : start + count], **columns}, (KIND, TRIM))
            for turn, start in enumerate((0, 5))]
    said = {"kind": chance.dirichlet(np.ones(3), (count + 5, 2)), "trim": chance.uniform(0.05, 0.95, (count + 5, 2, 2))}
    stores = []
    for turn, (dataset, start) in enumerate(zip(sets, (0, 5), strict=True)):
        tasks = {name: np.array(values[start : start + count]) for name, values in said.items()}
        if turn:
            tasks["kind"][:, 1] = tasks["kind"][:, 1, ::-1]
        stores.append(write_store(tmp_path / f"s{turn}", dataset, {"deep": tasks}, seed=turn, dtype="float32"))
    assert main(["store", "diff", *[str(store.path) for store in stores], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == {"both": count - 5, "old": 5, "new": 5}
    assert {one["field"] for one in found["fields"]} == {"ids", "seed"}
    by = {(one["task"], one["view"]): one for one in found["said"]}
    assert all(by[key]["largest"] < 1e-6 for key in by if key != ("kind", 1))
    one, other = said["kind"][5:count, 1], said["kind"][5:count, 1, ::-1]
    assert by["kind", 1]["divergence"] == pytest.approx(rel_entr(one, other).sum(axis=1).mean(), rel=1e-4)
    assert by["kind", 1]["largest"] == pytest.approx(np.abs(one - other).max(), rel=1e-5)
    assert by["kind", 1]["mean"] == pytest.approx(np.abs(one - other).mean(), rel=1e-5)
    assert by["kind", 1]["changed"] == pytest.approx((one.argmax(1) != other.argmax(1)).mean())
    assert main(["store", "diff", *[str(store.path) for store in stores]]) == 0
    assert "seed: 0 -> 1" in capsys.readouterr().out


def test_the_divergence_of_labels_is_the_mean_of_the_binary_ones() -> None:
    from components.probabilities.contrast import divergences

    one, other = np.random.default_rng(0).uniform(0.01, 0.99, (2, 9, 4))
    expected = (rel_entr(one, other) + rel_entr(1 - one, 1 - other)).mean(axis=1)
    assert np.allclose(divergences(np.log(one), np.log(other), "multi"), expected, rtol=1e-9)


def test_nonsense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = drawn(tmp_path).store
    assert main(["store", "diff", str(store.path)]) == 2
    assert "diff takes two stores, not 1" in capsys.readouterr().err
    assert main(["store", "polish", str(store.path)]) == 2
    assert main(["store", "info", str(tmp_path / "nothing")]) == 1
    assert "is no store" in capsys.readouterr().err
