"""A Dataset is the same however it came about: at once, after kills and full disks, or from what was there before."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bodies import built, contents, draw, rows_of, wanted
from imports import ROOT

from components.data.dataset import Dataset
from components.data.decoding import decode, letterbox
from components.data.forms import pixels_of, stored
from components.data.reuse import FORMS, bodies, find, keep
from components.data.writing import read_body
from components.errors import UserError

CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import pandas as pd
from bodies import built, wanted
source, target, store, slow = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
if slow:
    import time
    from components.data import building
    plain = building.stored
    building.stored = lambda content, form: (time.sleep(slow), plain(content, form))[1]
print(built(source, target, pd.read_pickle(sys.argv[5]), wanted(store)).decoded)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    draw(root, 300)
    return root


@pytest.fixture(scope="module")
def rows(source: Path) -> pd.DataFrame:
    return rows_of(source, sorted(path.name for path in source.iterdir()))


def child(source: Path, target: Path, rows: pd.DataFrame, store: str, slow: float = 0.0,
          limit: int = 0) -> "subprocess.Popen[str]":
    """Build in another process, slowly if asked for, with files no larger than a limit."""
    target.mkdir(exist_ok=True)
    table = target.with_suffix(".rows")
    rows.to_pickle(table)
    program = CHILD.format(root=str(ROOT), tests=str(ROOT / "tests" / "data"))

    def bounded() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen([sys.executable, "-c", program, source, target, store, str(slow), table], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=bounded, cwd=ROOT)


@pytest.mark.parametrize("store", ["decoded", "jpeg"])
def test_regression_15_a_dataset_holds_every_image_once_in_order_whoever_builds_it(
        tmp_path: Path, source: Path, rows: pd.DataFrame, store: str) -> None:
    built(source, tmp_path / "one", rows, wanted(store))
    shuffled = rows.sample(frac=1, random_state=1)
    built(source, tmp_path / "two", shuffled, wanted(store), processes=2)
    assert contents(tmp_path / "one" / "dataset") == contents(tmp_path / "two" / "dataset")
    dataset = Dataset.open(tmp_path / "one" / "dataset")
    table = dataset.samples
    assert sorted(table["path"]) == sorted(rows["path"]) and table["id"].is_unique
    assert list(zip(table["split"].map(["train", "val", "test"].index), table["id"], strict=True)) == sorted(
        zip(rows["split"].map(["train", "val", "test"].index), rows["sha256"], strict=True))
    for row in (0, 7, 299):
        content = (source / table["path"][row]).read_bytes()
        read = dataset.pixels(np.array([row]))[0]
        assert np.array_equal(read, pixels_of(stored(content, dataset.form), dataset.form))
        if store == "decoded":
            assert np.array_equal(read, letterbox(decode(content), (16, 24), 128))


@pytest.mark.parametrize("store", ["decoded", "jpeg"])
def test_a_killed_build_goes_on_and_ends_with_the_bytes_of_an_undisturbed_one(
        tmp_path: Path, source: Path, rows: pd.DataFrame, store: str) -> None:
    built(source, tmp_path / "whole", rows, wanted(store))
    running = child(source, tmp_path / "killed", rows, store, slow=0.01)
    ledger = tmp_path / "killed" / "work" / "ledger.bin"
    while not ledger.exists() or ledger.stat().st_size < 128 * 56:
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (tmp_path / "killed" / "dataset").exists()
    assert 0 < built(source, tmp_path / "killed", rows, wanted(store)).decoded <= 300 - 128
    assert contents(tmp_path / "killed" / "dataset") == contents(tmp_path / "whole" / "dataset")


def test_a_full_disk_is_named_and_the_work_goes_on_when_there_is_room(
        tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    built(source, tmp_path / "whole", rows)
    running = child(source, tmp_path / "full", rows, "decoded", limit=200_000)
    said = running.communicate()[1]
    assert running.returncode == 1
    assert f"File too large: '{tmp_path / 'full' / 'work' / '00000.npy'}'" in said
    assert 128 <= 300 - built(source, tmp_path / "full", rows).decoded < 200
    assert contents(tmp_path / "full" / "dataset") == contents(tmp_path / "whole" / "dataset")


def test_a_disk_without_room_loses_nothing(tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    built(source, tmp_path / "whole", rows)
    (tmp_path / "tiny").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path / "tiny")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        with pytest.raises(OSError, match="No space left on device") as caught:
            built(source, tmp_path / "tiny", rows)
        assert caught.value.filename == str(tmp_path / "tiny" / "work" / "00000.npy")
        subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path / "tiny")], check=True)
        assert built(source, tmp_path / "tiny", rows).decoded < 300
        assert contents(tmp_path / "tiny" / "dataset") == contents(tmp_path / "whole" / "dataset")
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path / "tiny")], check=True)


@pytest.mark.parametrize("store", ["decoded", "jpeg"])
def test_only_new_and_changed_files_are_decoded(tmp_path: Path, source: Path, rows: pd.DataFrame, store: str) -> None:
    old = rows.drop(index=[5, 77, 210])
    assert built(source, tmp_path / "a", old, wanted(store)).decoded == 297
    (tmp_path / "a" / "dataset").rename(tmp_path / "old")
    clear(tmp_path / "a" / "work")
    assert built(source, tmp_path / "a", rows, wanted(store)).decoded == 3
    assert built(source, tmp_path / "b", rows, wanted(store)).decoded == 300
    assert contents(tmp_path / "a" / "dataset") == contents(tmp_path / "b" / "dataset")


def test_jpegs_of_a_limited_short_side_serve_another_size(tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    built(source, tmp_path / "a", rows, wanted("jpeg", short_side=18))
    (tmp_path / "a" / "dataset").rename(tmp_path / "old")
    clear(tmp_path / "a" / "work")
    assert built(source, tmp_path / "a", rows, wanted("jpeg", size=(30, 30), short_side=18)).decoded == 0
    assert Dataset.open(tmp_path / "a" / "dataset").pixels(np.arange(3)).shape == (3, 30, 30, 3)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_nothing_damaged_is_taken_from_an_earlier_run(tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    built(source, tmp_path / "a", rows)
    clean = contents(tmp_path / "a" / "dataset")
    (tmp_path / "a" / "dataset").rename(tmp_path / "old")
    clear(tmp_path / "a" / "work")
    kept = next((tmp_path / "a" / "cache" / "pixels").glob("*/00000.npy"))
    content = bytearray(kept.read_bytes())
    for row in (3, 50, 51):
        content[128 + row * 16 * 24 * 3 + row] ^= 1
    kept.unlink()
    kept.write_bytes(content[:-2 * 16 * 24 * 3])  # and the last two rows are gone
    assert built(source, tmp_path / "a", rows).decoded == 5
    assert contents(tmp_path / "a" / "dataset") == clean


def test_where_files_cannot_be_linked_they_are_copied(tmp_path: Path, source: Path, rows: pd.DataFrame,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    built(source, tmp_path / "a", rows)
    stats = [path.stat() for path in tmp_path.rglob("*.npy")]
    assert len(stats) == 3 and {stat.st_nlink for stat in stats} == {1} and len({stat.st_size for stat in stats}) == 1


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "cache").write_text("in the way")
    result = built(source, tmp_path / "a", rows.head(8))
    assert len(result.notes) == 1 and "pixels are not kept" in result.notes[0]


def test_bodies_of_few_forms_are_kept(tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    for side in (8, 9, 10, 11):
        built(source, tmp_path / str(side), rows.head(8), wanted(size=(side, side)))
        key = Dataset.open(tmp_path / str(side) / "dataset").form.key()
        assert keep(tmp_path / "cache", key, tmp_path / str(side) / "work") == ""
    assert len(bodies(tmp_path / "cache")) == FORMS


def test_a_changed_vanished_or_forbidden_file_is_named_and_the_rest_is_not_lost(
        tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in source.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    last = rows.sort_values("sha256").query("split == 'test'")["path"].iloc[-1]  # the last that is stored
    (raw / last).unlink()
    with pytest.raises(UserError, match=f"{last} cannot be read: No such file"):
        built(raw, tmp_path / "a", rows)
    os.mkfifo(raw / last)
    with pytest.raises(UserError, match=f"{last} is no ordinary file"):
        built(raw, tmp_path / "b", rows)
    (raw / last).unlink()
    draw(tmp_path / "other", 1, first=999)
    (raw / last).write_bytes((tmp_path / "other" / "0999.png").read_bytes())
    with pytest.raises(UserError, match=f"{last} was changed since it was validated") as caught:
        built(raw, tmp_path / "a", rows)
    assert "validate" in caught.value.remedy and not (tmp_path / "a" / "dataset").exists()
    clear(tmp_path / "a" / "work")  # another manifest has another work folder
    assert built(raw, tmp_path / "a", rows_of(raw, rows["path"].tolist())).decoded == 1


def test_copies_that_a_policy_allows_count_once_in_a_split_and_keep_ids_unique(tmp_path: Path, source: Path) -> None:
    raw = tmp_path / "raw"
    names = draw(raw, 8)
    for copy, name in (("a copy.png", names[0]), ("b.jpg", names[0]), ("c.jpg", names[1])):
        (raw / copy).write_bytes((raw / name).read_bytes())
    rows = rows_of(raw, [*names, "a copy.png", "b.jpg", "c.jpg"])
    rows.loc[8:, "split"] = [rows["split"][0], rows["split"][0], "test"]
    result = built(raw, tmp_path / "a", rows)
    assert result.figures["merged"] == 2
    assert "2 files hold what another file of their split holds, and count once: a copy.png, b.jpg" in result.notes
    assert "1 images are in two splits" in result.notes[1]
    table = Dataset.open(tmp_path / "a" / "dataset").samples
    assert len(table) == 9 and not table.duplicated(["split", "id"]).any()
    assert set(table["path"]) == {*names, "c.jpg"}


def test_images_are_found_by_their_digest(tmp_path: Path, source: Path, rows: pd.DataFrame) -> None:
    built(source, tmp_path / "a", rows)
    key = Dataset.open(tmp_path / "a" / "dataset").form.key()
    body = read_body(tmp_path / "a" / "work", key)
    chance = np.random.default_rng(0)
    ids = Dataset.open(tmp_path / "a" / "dataset").ids
    asked = np.concatenate([ids[chance.permutation(300)[:40]], chance.integers(0, 256, (40, 32)).astype(np.uint8)])
    asked[60] = ids[5]
    asked[60, 31] ^= 1  # begins like one that is there
    places = {digest.tobytes(): row for row, digest in enumerate(ids)}
    assert find(body, asked).tolist() == [places.get(digest.tobytes(), -1) for digest in asked]
    assert find(None, asked).tolist() == [-1] * 80
