"""What is written into a folder is found again on another machine, and a bucket that is away stops nothing."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import object_store
import pytest
from imports import ROOT
from noisy_dataset import write_dataset
from object_store import Proxy
from processes import until
from repositories import write

from components.errors import TryAgain, UserError
from components.storage import mirror as module
from components.storage.bucket import Bucket, Patience
from components.storage.digests import tree_digests
from components.storage.mirror import Mirror, mirrored


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(module, "SECONDS", 0.1)
    monkeypatch.setattr(module, "LAST_PATIENCE", Patience(0.5, 0.5))


def restored(url: str, folder: Path) -> dict[str, str]:
    Mirror(url, folder).pull()
    return tree_digests(folder)


def test_what_an_interrupted_work_has_written_comes_back(bucket_url: str, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    with pytest.raises(KeyboardInterrupt), mirrored(f"{bucket_url}/key", ours):
        write(ours, "a", "state-1/b", "twice", ".a.partial", "claims/.x.lock")
        (ours / "same").write_bytes((ours / "twice").read_bytes())
        raise KeyboardInterrupt
    shutil.rmtree(ours / "claims")
    (ours / ".a.partial").unlink()
    assert restored(f"{bucket_url}/key", tmp_path / "theirs") == tree_digests(ours)


def test_finished_work_leaves_nothing(bucket_url: str, tmp_path: Path) -> None:
    with mirrored(f"{bucket_url}/key", tmp_path / "ours"):
        write(tmp_path / "ours", "a", "b")
        until(lambda: bool(Bucket(bucket_url).objects()))
    assert Bucket(bucket_url).objects() == []


def test_what_is_replaced_or_removed_here_is_there_too(bucket_url: str, tmp_path: Path) -> None:
    ours, kept = tmp_path / "ours", Mirror(bucket_url, tmp_path / "ours")
    for names, word in ((("state-1/a", "state-1/b"), "x"), (("state-2/a",), "x"), (("state-2/a",), "y")):
        shutil.rmtree(ours, ignore_errors=True)
        write(ours, *names, word=word)
        kept.push()
        shutil.rmtree(tmp_path / "theirs", ignore_errors=True)
        assert restored(bucket_url, tmp_path / "theirs") == tree_digests(ours)
    assert len(Bucket(bucket_url).objects()) == 2


def test_who_goes_on_leaves_the_large_files_that_he_found_in_the_bucket(
        bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 100)
    ours = write(tmp_path / "ours", "small")
    (ours / "large").write_bytes(b"x" * 400)
    Mirror(bucket_url, ours).push(final=True)
    again = Mirror(bucket_url, tmp_path / "again")
    again.pull()
    again.push()
    assert restored(bucket_url, tmp_path / "third") == tree_digests(ours)


def test_a_large_file_is_sent_when_it_has_stopped_to_grow(bucket_url: str, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 100)
    ours, kept, sent = write(tmp_path / "ours", "small"), Mirror(bucket_url, tmp_path / "ours"), []
    work = module.send_files
    monkeypatch.setattr(module, "send_files", lambda bucket, files: sent.append(1) or work(bucket, files))  # type: ignore[func-returns-value]
    for size, there in ((200, 0), (300, 0), (0, 300), (400, 300), (0, 400), (0, 400)):
        if size:
            (ours / "large").write_bytes(b"x" * size)
        kept.push()
        theirs = tmp_path / f"theirs-{len(list(tmp_path.iterdir()))}"
        restored(bucket_url, theirs)
        assert (theirs / "large").stat().st_size == there if there else not (theirs / "large").exists()
    assert len(sent) == 2
    (ours / "large").write_bytes(b"x" * 500)
    kept.push(final=True)
    assert restored(bucket_url, tmp_path / "last") == tree_digests(ours)


def test_a_file_that_was_not_sent_for_failure_is_sent_later(s3_server: str, bucket_url: str, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch,
                                                            capfd: pytest.CaptureFixture[str]) -> None:
    proxy = Proxy(s3_server, 0.0)
    with proxy.address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        kept = Mirror(bucket_url, write(tmp_path / "ours", "a"))
        kept.bucket.patience = Patience(0.2, 0.2)
        kept._try()
        proxy.share, proxy.faults = 1.0, ("busy",)
        write(tmp_path / "ours", "a", "b", word="new")
        kept._try()
        kept._try()
        proxy.share = 0.0
        kept._try()
        assert restored(bucket_url, tmp_path / "theirs") == tree_digests(tmp_path / "ours")
    said = capfd.readouterr().err
    assert said.count("warning: state is not kept") == 1 and said.count("is kept in") == 2


def test_a_bucket_that_is_away_at_the_beginning_is_tried_again_later_and_in_the_midst_stops_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    port = object_store.free_port()
    object_store.use(monkeypatch, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(module, "PATIENCE", Patience(0.3, 0.3))
    with pytest.raises(TryAgain), mirrored("s3://box/key", tmp_path / "ours"):
        raise AssertionError
    with object_store.server(port) as endpoint:
        object_store.make_bucket(endpoint, "box")
        begun = mirrored("s3://box/key", tmp_path / "ours")
        begun.__enter__()
    write(tmp_path / "ours", "a")
    until(lambda: "state is not kept" in capfd.readouterr().err)
    error = ZeroDivisionError()
    assert not begun.__exit__(type(error), error, None), "the error that ended the work goes on its way"


def test_a_bucket_that_refuses_is_told_at_once(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    object_store.use(monkeypatch, s3_server)
    with pytest.raises(UserError, match="bucket nobodys does not exist"), mirrored("s3://nobodys/key", tmp_path / "x"):
        raise AssertionError


def test_damaged_state_is_said_and_all_begins_anew(bucket_url: str, tmp_path: Path,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    Mirror(bucket_url, write(tmp_path / "ours", "a")).push()
    bucket = Bucket(bucket_url)
    (blob,) = [one.name for one in bucket.objects() if one.name.startswith("files/")]
    bucket.write(blob, b"other")
    assert restored(bucket_url, tmp_path / "theirs") == {} and "cannot be used" in capfd.readouterr().err
    bucket.remove([blob])
    assert restored(bucket_url, tmp_path / "theirs") == {} and "is not there" in capfd.readouterr().err
    for text in (b"", b"[]", b'{"files": 3}'):
        bucket.write("manifest.json", text)
        assert restored(bucket_url, tmp_path / "theirs") == {} and "cannot be used" in capfd.readouterr().err
    bucket.write("manifest.json", b'{"files": {"../../out": "x"}}')
    with pytest.raises(UserError, match="cannot be a file in a folder"):
        restored(bucket_url, tmp_path / "theirs")


TRAIN = """
import os, signal, sys
from pathlib import Path
from components.storage import mirror
from components.contract import load_step, run_step
from components.settings import Params
from components.training import checkpoints
mirror.SECONDS = 0.05
sections = {"student": __import__("json").loads(sys.argv[1]), "runtime": {
    "work": sys.argv[2], "tracking": False, "checkpoint_seconds": 0, "device": "cpu", "devices": 1, "threads": 1}}
kill = int(sys.argv[4])
saves, save = 0, checkpoints.save
def counted(folder, state):
    global saves
    save(folder, state)
    saves += 1
    print("step", state.step, flush=True)
    if saves == 4 and kill:
        import time
        time.sleep(3)  # the mirror's thread looks many times meanwhile
        os.kill(os.getpid(), kill)
checkpoints.save = counted
paths = {"dataset": Path(sys.argv[3]), "model": Path("model"), "metrics": Path("m.json"), "curves": Path("c.csv")}
from components.cli import guarded
def work():
    facts = run_step(load_step("train"), Params(sections).section("student"), "student", paths)
    print("digest", facts["outputs"]["model"], flush=True)
    return 0
sys.exit(guarded(work))
"""


def trained(folder: Path, work: str, dataset: Path, kill: int = 0) -> tuple[int, list[list[str]], str]:
    """A training in an empty folder: exit code, what it told, its messages."""
    folder.mkdir()
    recipe = ('{"model": {"name": "resnet18", "options": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}}, '
              '"epochs": 2, "batch": 8, "sizes": [16], "precision": "fp32", "compile": "off"}')
    done = subprocess.run([sys.executable, "-c", TRAIN, recipe, work, str(dataset), str(kill)], cwd=folder, text=True,
                          capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=200)
    return done.returncode, [line.split() for line in done.stdout.splitlines()], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_that_was_killed_goes_on_on_another_machine_to_the_same_bits(
        kill: signal.Signals, bucket_url: str, tmp_path: Path) -> None:
    dataset, url = write_dataset(tmp_path / "dataset"), f"{bucket_url}/work"
    code, told, errors = trained(tmp_path / "first", url, dataset, kill)
    assert code == (-9 if kill == signal.SIGKILL else 143), errors
    assert Bucket(url).objects() and not (tmp_path / "first/model").exists()
    code, resumed, errors = trained(tmp_path / "second", url, dataset)
    assert code == 0 and "goes on with what is kept" in errors, errors
    steps = [int(step) for word, step in resumed if word == "step"]
    assert steps[0] >= int(told[-1][1]) > 1 and Bucket(url).objects() == []
    code, whole, errors = trained(tmp_path / "whole", ".stillhouse/work", dataset)
    assert code == 0 and whole[-1] == resumed[-1], errors


@pytest.mark.slow
def test_a_training_goes_on_to_the_same_bits_while_the_bucket_is_away(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, port = write_dataset(tmp_path / "dataset"), object_store.free_port()
    object_store.use(monkeypatch, f"http://127.0.0.1:{port}")
    with object_store.server(port) as endpoint:
        object_store.make_bucket(endpoint, "box")
        proxy = Proxy(endpoint, 0.0, ("reset",))
        pull = 3  # requests that a beginning takes; from then on nothing answers
        fault = proxy.fault
        monkeypatch.setattr(proxy, "fault", lambda: fault() or ("reset" if proxy.requests > pull else ""))
        with proxy.address() as before:
            object_store.use(monkeypatch, before)
            code, told, errors = trained(tmp_path / "away", "s3://box/work", dataset)
    assert code == 0 and "warning: " in errors and "cannot be reached" in errors, errors
    code, whole, errors = trained(tmp_path / "whole", ".stillhouse/work", dataset)
    assert code == 0 and whole[-1] == told[-1], errors
