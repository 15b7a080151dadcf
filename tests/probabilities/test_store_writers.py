"""Stores written by several processes, through kills and full disks, end with the bytes of an undisturbed one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_stores import identities

from components.data.dataset import from_hex
from components.errors import UserError
from components.probabilities.store import Store
from components.probabilities.writing import StoreWriter

ROOT = Path(__file__).parents[2]
CLASSES, COUNT, ROWS = 30, 300, 16
TASKS = [{"name": "many", "kind": "single", "classes": list(map(str, range(CLASSES)))},
         {"name": "few", "kind": "multi", "classes": ["a", "b"]}]
HEAD = {"tasks": TASKS, "sources": ["deep", "wide"], "views": [0, 1], "dataset": "ab", "k": 4, "embedding": True,
        "shard_rows": ROWS}

# Writes a store as `teach` does, slowly; says which shards it wrote. After some of them there is room for small files.
CHILD = """
import resource, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from probabilities.test_store_writers import begun, put
writer, slow, room = begun(Path(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
for source in sys.argv[4:]:
    for shard in writer.unwritten(source):
        if shard == room:
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
        time.sleep(slow)
        put(writer, source, shard)
        print(source, shard, flush=True)
"""


def begun(folder: Path, **head: object) -> StoreWriter:
    return StoreWriter(folder, HEAD | head, from_hex("".join(identities(COUNT))))


def put(writer: StoreWriter, source: str, shard: int) -> None:
    """What a source says of a shard: a function of both."""
    rows = writer.rows_of(shard)
    chance = np.random.default_rng([shard, len(source), ord(source[0])])
    writer.put(source, "many", shard, np.log(chance.dirichlet(np.ones(CLASSES), (len(rows), 2))))
    writer.put(source, "few", shard, np.log(chance.uniform(0.1, 0.9, (len(rows), 2, 2))))
    writer.put_embedding(source, shard, chance.normal(size=(len(rows), 2, 5 if source == "deep" else 7)))


def whole(folder: Path) -> dict[str, bytes]:
    """A store written without disturbance."""
    writer = begun(folder)
    for source in ("deep", "wide"):
        for shard in writer.unwritten(source):
            put(writer, source, shard)
    writer.finish()
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def child(folder: Path, *sources: str, slow: float = 0.0, room: int = -1) -> "subprocess.Popen[str]":
    program = CHILD.format(tests=str(ROOT / "tests"))
    return subprocess.Popen([sys.executable, "-c", program, folder, str(slow), str(room), *sources], text=True,
                            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def test_a_store_holds_what_was_put_into_it_and_nothing_else(tmp_path: Path) -> None:
    names = set(whole(tmp_path / "s"))
    shards = [f"{number:05d}.npy" for number in range(-(-COUNT // ROWS))]
    assert names == {"probabilities.json", "ids.npy"} | {
        f"{place}/{shard}" for source in ("deep", "wide") for shard in shards
        for place in (f"shards/{source}/many", f"shards/{source}/few", f"embeddings/{source}")}
    store = Store.open(tmp_path / "s")
    assert store.head["embeddings"] == {"deep": 5, "wide": 7}
    rows = np.array([299, 0, 17, 16])
    chance = np.random.default_rng([1, 4, ord("d")])
    said, labels, vectors = (chance.dirichlet(np.ones(CLASSES), (ROWS, 2)), chance.uniform(0.1, 0.9, (ROWS, 2, 2)),
                             chance.normal(size=(ROWS, 2, 5)))
    assert np.allclose(np.exp(store.log_probabilities("deep", "few", rows))[2:], labels[[1, 0]], atol=1e-3)
    assert np.allclose(store.embeddings("deep", rows)[2:], vectors[[1, 0]], atol=2e-3)
    sparse = store.sparse("deep", "many", rows, np.array([0, 1, 1, 0]))
    assert sparse.indices[2].tolist() == np.argsort(-said[1, 1])[:4].tolist()
    assert sparse.indices[3].tolist() == np.argsort(-said[0, 0])[:4].tolist()
    assert np.array_equal(sparse.dense(), store.one_view("deep", "many", rows, np.array([0, 1, 1, 0])))
    assert np.array_equal(sparse.dense()[1], store.log_probabilities("deep", "many", rows)[1, 1])


def test_processes_that_write_one_store_together_share_its_shards_and_repeat_its_bytes(tmp_path: Path) -> None:
    """Two take both sources, as ranks do, one a single source, as teachers at once do; a reader reads meanwhile."""
    expected = whole(tmp_path / "whole")
    other = Store.open(tmp_path / "whole")
    running = [child(tmp_path / "s", *sources, slow=0.01) for sources in (("deep", "wide"), ("wide", "deep"), ["wide"])]
    reads = 0
    while any(one.poll() is None for one in running):
        assert other.log_probabilities("wide", "many", np.arange(COUNT)).shape == (COUNT, 2, CLASSES)
        with pytest.raises(UserError, match=r"is not finished|is no store"):
            Store.open(tmp_path / "s")
        reads += 1
    lines = [one.communicate() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], lines
    written = [line for out, _ in lines for line in out.splitlines()]
    every = [f"{source} {shard}" for source in ("deep", "wide") for shard in range(19)]
    assert reads and sorted(written) == sorted(every)
    begun(tmp_path / "s").finish()
    assert contents(tmp_path / "s") == expected


def test_a_killed_writer_frees_its_shard_and_what_it_sealed_is_not_made_again(tmp_path: Path) -> None:
    expected = whole(tmp_path / "whole")
    running = child(tmp_path / "s", "deep", "wide", slow=0.02)
    assert running.stdout is not None
    sealed = [running.stdout.readline().split() for _ in range(5)]
    running.send_signal(signal.SIGKILL)
    running.communicate()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*.npy")}
    assert len(kept) >= 3 * 5
    writer = begun(tmp_path / "s")
    left = []
    for source in ("deep", "wide"):
        for shard in writer.unwritten(source):
            left.append([source, str(shard)])
            put(writer, source, shard)
    writer.finish()
    assert not [one for one in sealed if one in left]
    assert contents(tmp_path / "s") == expected
    assert sum(path.stat().st_mtime_ns == when for path, when in kept.items()) >= 3 * 5


def test_a_shard_that_another_process_holds_is_passed_over(tmp_path: Path) -> None:
    first, second = begun(tmp_path / "s"), begun(tmp_path / "s")
    mine, theirs = first.unwritten("deep"), second.unwritten("deep")
    assert [next(mine), next(theirs), next(mine), next(theirs)] == [0, 1, 2, 3]


def test_a_full_disk_is_named_and_what_is_sealed_stays_usable(tmp_path: Path) -> None:
    expected = whole(tmp_path / "whole")
    running = child(tmp_path / "s", "deep", room=3)
    out, said = running.communicate()
    assert out.split() == ["deep", "0", "deep", "1", "deep", "2"]
    assert f"File too large: '{tmp_path / 's' / 'shards' / 'deep' / 'many' / '00003.npy'}'" in said
    assert not list((tmp_path / "s").rglob("*.partial"))
    writer = begun(tmp_path / "s")
    assert [shard for shard in range(19) if writer.has("deep", shard)] == [0, 1, 2]
    for source in ("deep", "wide"):
        for shard in writer.unwritten(source):
            put(writer, source, shard)
    writer.finish()
    assert contents(tmp_path / "s") == expected


def test_another_store_in_the_same_place_is_refused_by_field_and_both_values(tmp_path: Path) -> None:
    begun(tmp_path / "s")
    with pytest.raises(UserError, match=r"k is 4; expected 5"):
        begun(tmp_path / "s", k=5)
    with pytest.raises(UserError, match=r"tasks\.few\.classes\[1\] is b; expected c"):
        begun(tmp_path / "s", tasks=[TASKS[0], TASKS[1] | {"classes": ["a", "c"]}])
    with pytest.raises(UserError, match=r"tasks is \['many', 'few'\]; expected \['few', 'many'\]"):
        begun(tmp_path / "s", tasks=TASKS[::-1])


def test_a_store_is_published_whole_and_without_what_writing_needed(tmp_path: Path) -> None:
    expected = whole(tmp_path / "s")
    (tmp_path / "s" / ".ids.npy.partial").write_bytes(b"left by a kill")
    begun(tmp_path / "s").publish(tmp_path / "t")
    assert contents(tmp_path / "t") == expected
    assert not list(Store.open(tmp_path / "t").problems())
    assert len(Store.open(tmp_path / "t").parts()) == len(expected) - 1


@pytest.mark.parametrize(("values", "words"), [(np.nan, "deep says NaN of few"),
                                               (0.2, "deep gives few a probability of 1.221; expected at most 1")])
def test_what_cannot_be_the_logarithm_of_a_probability_is_refused(tmp_path: Path, values: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        begun(tmp_path / "s").put("deep", "few", 0, np.full((ROWS, 2, 2), values))


def test_an_embedding_beyond_half_precision_is_refused_and_not_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="deep gives an embedding that reaches 7e\\+04"):
        begun(tmp_path / "s").put_embedding("deep", 0, np.full((ROWS, 2, 3), 7e4))


def test_a_store_without_embeddings_says_so(tmp_path: Path) -> None:
    writer = begun(tmp_path / "s", embedding=False, sources=["deep"], tasks=TASKS[1:])
    for shard in writer.unwritten("deep"):
        writer.put("deep", "few", shard, np.full((len(writer.rows_of(shard)), 2, 2), -1.0))
    writer.finish()
    with pytest.raises(UserError, match="holds no embeddings") as caught:
        Store.open(tmp_path / "s").embeddings("deep", np.array([0]))
    assert "teach.embedding" in caught.value.remedy


def test_rows_are_found_by_id_in_any_order_of_equal_ones_the_first(tmp_path: Path) -> None:
    ids = from_hex("".join(identities(40)))
    ids = np.concatenate([ids, ids[[7]], np.zeros((1, 32), np.uint8)])
    ids[3, 30:] = 0  # digests that end with zeros are like any others
    writer = StoreWriter(tmp_path / "s", HEAD | {"embedding": False, "sources": ["deep"], "tasks": TASKS[1:]}, ids)
    for shard in writer.unwritten("deep"):
        writer.put("deep", "few", shard, np.full((len(writer.rows_of(shard)), 2, 2), -1.0))
    writer.finish()
    order = np.random.default_rng(0).permutation(42)
    first = np.where(order == 40, 7, order)
    store = Store.open(tmp_path / "s")
    assert store.rows_of(ids[order]).tolist() == first.tolist()
    assert store.rows_of(from_hex("".join(identities(45)[41:]))).tolist() == [-1] * 4
    assert store.rows_of(ids[:0]).tolist() == []
