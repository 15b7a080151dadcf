"""Whatever happens to the bytes of a store is found before one of its numbers is used."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_stores import KIND, TRIM, identities, labels_said, votes, write_samples, write_store

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError
from components.probabilities.store import Store, StoreWriter

MANY = Task("many", "single", tuple(map(str, range(40))))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    chance, count = np.random.default_rng(3), 40
    columns = {"id": identities(count), "split": ["train"] * count, "kind": [0] * count, "trim": [None] * count,
               "many": [1] * count}
    dataset = write_samples(tmp_path / "dataset", columns, (KIND, TRIM, MANY))
    said = {"deep": {"kind": votes(chance, np.eye(3)[chance.integers(0, 3, count)]),
                     "trim": labels_said(chance, chance.integers(0, 2, (count, 2))),
                     "many": chance.dirichlet(np.full(40, 0.2), (count, 2)) + 1e-9}}
    return write_store(tmp_path / "store", dataset, said, k=6)


def use(path: Path) -> dict[str, bytes]:
    """Open a store and read every number of it."""
    store = Store.open(path)
    rows = store.rows_of(store.ids)
    return {task.name: store.log_probabilities("deep", task.name, rows).tobytes() for task in store.tasks}


def files(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file())


def test_a_thousand_random_flips_and_truncations_are_all_found_before_use(store: Store) -> None:
    chance, before, whole = np.random.default_rng(17), use(store.path), files(store.path)
    assert len(whole) == 2 + 3 * 3
    for turn in range(1000):
        path = whole[chance.integers(len(whole))]
        content = path.read_bytes()
        place = int(chance.integers(len(content)))
        if turn % 2:
            path.write_bytes(content[:place])
        else:
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(chance.integers(8))])
                             + content[place + 1 :])
        with pytest.raises(UserError) as caught:
            use(store.path)
        assert path.name in caught.value.cause or str(store.path) in caught.value.cause
        assert caught.value.remedy
        path.write_bytes(content)
    assert use(store.path) == before


def test_every_single_byte_of_a_head_counts(store: Store) -> None:
    path = store.path / "probabilities.json"
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        for other in (b"", b"  ", b"0"):
            changed = content[:place] + other + content[place + 1 :]
            if changed != content:
                path.write_bytes(changed)
                with pytest.raises(UserError):
                    Store.open(store.path)


def test_a_missing_shard_is_named_and_the_others_stay_usable(store: Store) -> None:
    (store.path / "shards/deep/kind/00001.npy").unlink()
    again = Store.open(store.path)
    assert again.log_probabilities("deep", "kind", np.arange(16)).shape == (16, 2, 3)
    with pytest.raises(UserError, match=r"shards/deep/kind/00001\.npy is missing"):
        again.log_probabilities("deep", "kind", np.arange(20))
    assert [error.cause for error in again.problems()] == [f"{store.path}/shards/deep/kind/00001.npy is missing"]


@pytest.mark.parametrize(("source", "target"), [("kind/00000", "kind/00001"), ("kind/00000", "trim/00000")])
def test_a_whole_shard_in_another_place_is_found(store: Store, source: str, target: str) -> None:
    shutil.copy(store.path / f"shards/deep/{source}.npy", store.path / f"shards/deep/{target}.npy")
    with pytest.raises(UserError, match="is damaged"):
        use(store.path)


def test_a_whole_shard_of_another_store_is_found(store: Store, tmp_path: Path) -> None:
    said = {task.name: np.exp(store.log_probabilities("deep", task.name, store.rows_of(store.ids[::-1])))
            for task in store.tasks}
    other = write_store(tmp_path / "other", Dataset.open(tmp_path / "dataset"), {"deep": said}, k=6, seed=1)
    use(other.path)
    shutil.copy(other.path / "shards/deep/kind/00000.npy", store.path / "shards/deep/kind/00000.npy")
    with pytest.raises(UserError, match="is damaged"):
        use(store.path)


def test_a_store_of_schema_one_is_refused_with_what_to_type(store: Store) -> None:
    (store.path / "probabilities.json").write_text(json.dumps({"schema": 1, "kind": "probabilities"}))
    with pytest.raises(UserError, match="has schema 1; this version reads 2") as caught:
        Store.open(store.path)
    assert "dvc repro teach" in caught.value.remedy


def test_no_file_is_unpickled(store: Store, tmp_path: Path) -> None:
    """A shard that is a pickle, sealed rightly, is refused by numpy and never run."""
    from components.probabilities.parts import seal_of

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    content = pickle.dumps(Bomb())
    name = "shards/deep/kind/00000.npy"
    (store.path / name).write_bytes(content + seal_of(store.head["key"], name, content))
    with pytest.raises(UserError, match=r"kind/00000\.npy is no array"):
        use(store.path)
    assert not (tmp_path / "exploded").exists()


def test_a_file_is_hashed_once_and_only_when_it_is_needed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("components.probabilities.store.check_part", lambda folder, key, name: seen.append(name))
    for _ in range(3):
        store.log_probabilities("deep", "kind", np.array([3, 35, 4]))
    assert seen == ["shards/deep/kind/00000.npy", "shards/deep/kind/00002.npy"]


def test_few_files_are_open_at_a_time_and_none_is_hashed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.probabilities.store.MOST_OPEN", 2)
    expected, again = use(store.path), Store.open(store.path)
    for _ in range(2):
        assert again.log_probabilities("deep", "many", again.rows_of(again.ids)).tobytes() == expected["many"]
        assert len(again._mapped) == 2
    assert len(again._checked) == 4


def test_a_store_handed_to_another_process_maps_its_own_files(store: Store) -> None:
    store.log_probabilities("deep", "kind", np.arange(40))
    again = pickle.loads(pickle.dumps(store))
    assert again == store and not again._mapped and store._mapped


def test_a_writer_makes_a_damaged_part_again_and_keeps_the_others(store: Store, tmp_path: Path) -> None:
    fields = {name: value for name, value in store.head.items() if name not in ("key", "digest", "embeddings")}
    path = store.path / "shards/deep/many/00001.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    writer = StoreWriter(store.path, fields, store.ids)
    assert [shard for shard in range(writer.shard_count()) if not writer.has("deep", shard)] == [1]
    with pytest.raises(UserError, match=r"lacks 1 parts.*shards/deep/many/00001\.npy"):
        writer.finish()
    path.write_bytes(content)
    writer.finish()
    assert not list(Store.open(store.path).problems())
