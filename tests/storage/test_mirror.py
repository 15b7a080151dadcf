"""What is written into a folder is found again on another machine, and a bucket that is away stops nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
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
from components.storage.mirror import Mirror, merged, mirrored


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


def write_states(folder: Path, *numbers: int, content: bytes = b"") -> None:
    """Sealed folders, in place of those that are there: a large file and a small one each."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in numbers:
        state = write(folder / f"state-{number}", "counters", word=content.decode() or str(number))
        (state / "tensors").write_bytes((content or bytes([number])) * 5000)
        (state / "digests.json").write_text(json.dumps(tree_digests(state)))


def whole_states(url: str, folder: Path) -> set[str]:
    """The states that another machine finds, each of which must be whole."""
    restored(url, folder)
    for state in folder.glob("*"):
        told = json.loads((state / "digests.json").read_text())
        assert {name: digest for name, digest in tree_digests(state).items() if name != "digests.json"} == told
    return {state.name for state in folder.glob("*")}


@pytest.fixture
def there(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[str]]:
    """Tells which whole states lie in the bucket; files of more than 1000 bytes are large."""
    monkeypatch.setattr(module, "SMALL", 1000)
    return lambda: whole_states(bucket_url, tmp_path / f"theirs-{len(list(tmp_path.iterdir()))}")


def test_the_last_whole_state_stays_until_a_newer_one_has_arrived(
        bucket_url: str, tmp_path: Path, there: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> None:
    """Two states come and both older ones go between two looks, and then again while a large file is being sent."""
    ours, kept, work = tmp_path / "ours", Mirror(bucket_url, tmp_path / "ours"), module.send_files
    write_states(ours, 1, 2)
    kept.push()
    assert there() == set(), "the large files may be growing yet"
    kept.push()
    assert there() == {"state-1", "state-2"}
    write_states(ours, 3, 4)
    kept.push()
    assert there() == {"state-1", "state-2"}
    monkeypatch.setattr(module, "send_files", lambda bucket, files: (write_states(ours, 5, 6), work(bucket, files)))
    kept.push()
    assert there() == {"state-1", "state-2"}
    said = capfd.readouterr().err
    assert said.count("state-4/tensors was replaced before all of it had been sent") == 1
    assert "raise runtime.checkpoint_seconds" in said
    monkeypatch.setattr(module, "send_files", work)
    kept.push()
    kept.push()
    assert there() == {"state-5", "state-6"}
    assert {one.name for one in Bucket(bucket_url).objects()} == {"manifest.json", *(
        f"files/{digest}" for digest in tree_digests(ours).values())}


def test_states_that_never_arrive_leave_nothing_behind(bucket_url: str, tmp_path: Path,
                                                       there: Callable[[], set[str]]) -> None:
    ours, kept = tmp_path / "ours", Mirror(bucket_url, tmp_path / "ours")
    write_states(ours, 1)
    kept.push(final=True)
    before = Bucket(bucket_url).objects()
    for number in range(2, 6):
        write_states(ours, number)
        kept.push()
    assert there() == {"state-1"} and len(Bucket(bucket_url).objects()) == len(before) + 2, "those of state-5 wait"
    kept.push(final=True)
    assert there() == {"state-5"} and len(Bucket(bucket_url).objects()) == len(before)


def test_an_upload_whose_file_went_is_given_up(bucket_url: str, tmp_path: Path, there: Callable[[], set[str]],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    from components.storage import sending

    ours, kept, work, begun = tmp_path / "ours", Mirror(bucket_url, tmp_path / "ours"), sending.send_piece, []
    write_states(ours, 1)

    def replaced(bucket: Bucket, plan: sending.Sending, number: int) -> None:
        work(bucket, plan, number)
        if plan.upload and number == 1:
            begun.append(plan.upload)
            write_states(ours, 2)

    monkeypatch.setattr("components.storage.parallel.CONNECTIONS", 1)
    monkeypatch.setattr(sending.send_files, "__defaults__", (1024,))
    monkeypatch.setattr(sending, "send_piece", replaced)
    kept.push(final=True)
    assert begun and Bucket(bucket_url).begun() == [] and there() == set()


def test_a_state_of_the_same_name_and_other_bytes_is_never_mixed_with_the_one_that_is_kept(
        bucket_url: str, tmp_path: Path, there: Callable[[], set[str]]) -> None:
    ours, kept = tmp_path / "ours", Mirror(bucket_url, tmp_path / "ours")
    write_states(ours, 1, content=b"a")
    kept.push(final=True)
    write_states(ours, 1, content=b"b")
    kept.push()
    assert there() == {"state-1"}
    restored(bucket_url, tmp_path / "before")
    assert (tmp_path / "before/state-1/tensors").read_bytes() == b"a" * 5000
    kept.push()
    assert restored(bucket_url, tmp_path / "after") == tree_digests(ours)


def test_a_state_that_is_damaged_here_does_not_replace_a_whole_one(bucket_url: str, tmp_path: Path,
                                                                   there: Callable[[], set[str]]) -> None:
    ours, kept = tmp_path / "ours", Mirror(bucket_url, tmp_path / "ours")
    write_states(ours, 1)
    kept.push(final=True)
    write_states(ours, 2)
    (ours / "state-2/tensors").write_bytes(b"other")
    kept.push(final=True)
    assert there() == {"state-1"}


def test_of_states_one_stays_whatever_of_them_is_seen_while_others_are_removed() -> None:
    """Whole here: none of the state that is being removed, whose seal may be gone first, nor of one not yet sent."""
    kept = {"s1/digests.json": "a", "s1/tensors": "b", "note": "c", "below/s1/digests.json": "d", "gone": "e"}
    for sent in ({"s1/tensors": "b"}, {"s1/digests.json": "a"}, {"s2/digests.json": "x", "s2/tensors": ""}, {}):
        now = merged(kept, {**sent, "note": "n", "large": ""}, set())
        assert now == {name: digest for name, digest in {**kept, "note": "n"}.items() if name != "gone"}
    assert merged(kept, {"s2/digests.json": "x", "s2/tensors": "y", "note": ""}, {"s2"}) == {
        "s2/digests.json": "x", "s2/tensors": "y", "note": "c", "below/s1/digests.json": "d"}


def test_of_states_of_which_one_is_damaged_in_the_bucket_the_other_comes(
        bucket_url: str, tmp_path: Path, there: Callable[[], set[str]], capfd: pytest.CaptureFixture[str]) -> None:
    write_states(tmp_path / "ours", 1, 2)
    Mirror(bucket_url, tmp_path / "ours").push(final=True)
    digests = tree_digests(tmp_path / "ours")
    Bucket(bucket_url).write(f"files/{digests['state-2/tensors']}", b"other")
    assert there() == {"state-1"}
    assert "state-2/tensors in s3://" in (said := capfd.readouterr().err) and "3 files" in said
    again = Mirror(bucket_url, tmp_path / "again")
    again.pull()
    again.push(final=True)
    capfd.readouterr()
    assert there() == {"state-1"} and "cannot be used" not in capfd.readouterr().err


def test_finished_work_leaves_no_unfinished_upload(bucket_url: str, tmp_path: Path) -> None:
    others = Bucket(f"{bucket_url}/key2")
    other = others.begin("files/x", "0" * 64)
    with mirrored(f"{bucket_url}/key", tmp_path / "ours"):
        bucket = Bucket(f"{bucket_url}/key")
        bucket.send("files/x", bucket.begin("files/x", "0" * 64), 1, b"x" * 5000)
    assert bucket.begun() == [] and [upload for _, upload, _ in others.begun()] == [other]


@pytest.mark.parametrize(("error", "said"), [(KeyboardInterrupt, "the last state is not kept"),
                                             (None, "finished state stays")])
def test_a_request_that_does_not_end_is_told(error: type[BaseException] | None, said: str, bucket_url: str,
                                             tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "JOIN_SECONDS", 0.2)
    begun, go_on = threading.Event(), threading.Event()
    work = Mirror._send_small

    def slow(mirror: Mirror, content: bytes) -> str:
        begun.set()
        go_on.wait(20)
        return work(mirror, content)

    monkeypatch.setattr(Mirror, "_send_small", slow)
    write(tmp_path / "ours", "a")
    context = mirrored(bucket_url, tmp_path / "ours")
    context.__enter__()
    assert begun.wait(20)
    context.__exit__(error, error and error(), None)
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "mirror":
            thread.join(20)
    assert f"warning: {said} in {bucket_url}: a request did not end within 0 s" in capfd.readouterr().err
    assert Bucket(bucket_url).objects() == [], "the thread begins no other request"


def test_what_is_being_sent_ends_between_two_pieces_when_the_last_look_is_due(
        bucket_url: str, tmp_path: Path, there: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> None:
    from components.storage import sending

    ours, work, sent = tmp_path / "ours", sending.send_piece, []
    first = threading.Event()
    write_states(ours, 1)

    def slow(bucket: Bucket, plan: sending.Sending, number: int) -> None:
        if number == 2 and not first.is_set():
            first.set()
            until(bucket.stopped.is_set)
        work(bucket, plan, number)
        sent.append(plan.sha256[:4] + str(number))

    monkeypatch.setattr("components.storage.parallel.CONNECTIONS", 1)
    monkeypatch.setattr(sending.send_files, "__defaults__", (1024,))
    monkeypatch.setattr(sending, "send_piece", slow)
    with pytest.raises(KeyboardInterrupt), mirrored(bucket_url, ours):
        assert first.wait(20)
        write_states(ours, 1, 2)
        raise KeyboardInterrupt
    assert there() == {"state-1", "state-2"} and "warning" not in capfd.readouterr().err
    assert len(sent) == len(set(sent)) == 10, "what has arrived is not sent again"
    assert sent[1][:4] != sent[0][:4] == sent[-1][:4], "the newest state comes first"


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
