"""Files and folders go to a bucket and come back whole, through kills, failing requests and damage."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import object_store
import pytest
from botocore.exceptions import ClientError
from object_store import Proxy, send_folder
from small_steps import run_brew
from test_s3 import raw

from components.errors import TryAgain, UserError
from components.storage import receiving, sending
from components.storage.bucket import Bucket
from components.storage.digests import tree_digests
from components.storage.objects import Piece
from components.storage.receiving import receive_files, receive_folder
from components.storage.s3 import Damaged
from components.storage.sending import send_files

PIECE = 4096
SIZES = {"empty": 0, "small": 10, "one piece": PIECE, "below/two": PIECE + 1, "below/deep/é ü.bin": 3 * PIECE,
         "large": 10 * PIECE - 7}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chance = random.Random(0)
    for name, size in SIZES.items():
        path = tmp_path / "ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size))
    return tmp_path / "ours"


def test_a_folder_comes_back_as_it_was(bucket_url: str, folder: Path, tmp_path: Path) -> None:
    url, shown = f"{bucket_url}/p", []
    bucket = Bucket(url)

    def show(items, total, label):  # type: ignore[no-untyped-def]
        shown.append(total)
        return items

    send_folder(url, folder, "run", PIECE)
    for piece in (PIECE, 1000):
        receive_folder(bucket, "run", tmp_path / "back", show, piece)
        assert tree_digests(tmp_path / "back") == tree_digests(folder)
    assert not [path for path in tmp_path.rglob(".*") if path.suffix != ".lock"]
    assert shown[::2] == [18, 66] and {one.name.removeprefix("run/") for one in bucket.objects("run")} == set(SIZES)
    assert bucket.begun() == []


def test_what_is_there_is_neither_sent_nor_fetched_again(bucket_url: str, folder: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_url)
    send_folder(bucket_url, folder, "run", PIECE)
    files = {f"run/{name}": tmp_path / "back" / name for name in SIZES}
    receive_files(bucket, files, {})
    monkeypatch.setattr(sending, "send_piece", None)
    monkeypatch.setattr(receiving, "fetch_piece", None)
    send_folder(bucket_url, folder, "run", PIECE)
    receive_files(bucket, files, {})


def test_a_third_of_failing_requests_costs_no_byte(s3_server: str, bucket_url: str, folder: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(s3_server, seed=5)
    with proxy.address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        send_folder(bucket_url, folder, "run", PIECE)
        receive_folder(Bucket(bucket_url), "run", tmp_path / "back", piece=PIECE)
    assert tree_digests(tmp_path / "back") == tree_digests(folder) and sum(proxy.told.values()) > 10
    object_store.use(monkeypatch, s3_server)
    receive_folder(Bucket(bucket_url), "run", tmp_path / "plain")
    assert tree_digests(tmp_path / "plain") == tree_digests(folder)


@pytest.mark.slow
@pytest.mark.parametrize("fault", object_store.FAULTS)
@pytest.mark.parametrize("seed", range(2))
def test_no_kind_of_fault_lets_a_bad_byte_through(fault: str, seed: int, s3_server: str, bucket_url: str, folder: Path,
                                                  tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "below/two").unlink()  # a byte alone often comes wrong in the same way twice, which ends with 75
    proxy = Proxy(s3_server, 0.3, (fault,), seed)
    with proxy.address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        send_folder(bucket_url, folder, "run", PIECE)
        receive_folder(Bucket(bucket_url), "run", tmp_path / "back", piece=PIECE)
    assert proxy.told[fault] > 10 and tree_digests(tmp_path / "back") == tree_digests(folder)
    object_store.use(monkeypatch, s3_server)
    receive_folder(Bucket(bucket_url), "run", tmp_path / "plain")
    assert tree_digests(tmp_path / "plain") == tree_digests(folder)


SEND = """
import sys, os, signal
from pathlib import Path
from components.storage import {room}
from components.storage.bucket import Bucket
work, count = {room}.{act}, 0
def counted(bucket, plan, number):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(bucket, plan, number)
{room}.{act} = counted
{call}
"""


def killed(room: str, act: str, call: str) -> None:
    code = SEND.format(room=room, act=act, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_an_upload_that_was_killed_goes_on_with_the_pieces_that_have_arrived(
        bucket_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.parallel.CONNECTIONS", 1)
    call = (f"import components.storage.parallel as p; p.CONNECTIONS = 1; "
            f"sending.send_files(Bucket({bucket_url!r}), {{'large': Path({str(folder / 'large')!r})}}, piece={PIECE})")
    killed("sending", "send_piece", call)
    bucket, sent = Bucket(bucket_url), []
    (left,) = bucket.begun()
    assert left[0] == "large" and len(bucket.pieces("large", left[1])) == 3 and bucket.objects() == []
    work = sending.send_piece
    monkeypatch.setattr(sending, "send_piece", lambda bucket, plan, number: sent.append(number) or work(  # type: ignore[func-returns-value]
        bucket, plan, number))
    send_files(bucket, {"large": folder / "large"}, piece=PIECE)
    assert len(sent) == 7 and bucket.begun() == []
    found = bucket.find("large")
    assert found is not None and found.sha256 == tree_digests(folder)["large"]


def test_a_download_that_was_killed_goes_on_with_the_pieces_that_have_come(
        bucket_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, target = Bucket(bucket_url), tmp_path / "large"
    send_files(bucket, {"large": folder / "large"}, piece=PIECE)
    call = (f"import components.storage.parallel as p; p.CONNECTIONS = 1; "
            f"receiving.receive_files(Bucket({bucket_url!r}), {{'large': Path({str(target)!r})}}, {{}}, piece={PIECE})")
    killed("receiving", "fetch_piece", call)
    assert not target.exists() and len((tmp_path / ".large.pieces").read_text().splitlines()) == 4
    asked: list[int] = []
    work = bucket.read_range
    monkeypatch.setattr(bucket, "read_range", lambda about, start, stop, sink: asked.append(start) or work(  # type: ignore[func-returns-value]
        about, start, stop, sink))
    receive_files(bucket, {"large": target}, {}, piece=PIECE)
    assert len(asked) == 7 and target.read_bytes() == (folder / "large").read_bytes()
    assert not list(tmp_path.glob(".large.*"))


def test_bytes_left_of_another_object_or_damaged_since_are_not_believed(bucket_url: str, folder: Path,
                                                                        tmp_path: Path) -> None:
    bucket, target = Bucket(bucket_url), tmp_path / "large"
    send_files(bucket, {"large": folder / "large"}, piece=PIECE)
    found = bucket.find("large")
    assert found is not None
    for title in (f"{found.etag} {found.size} {PIECE}\n", f"{'0' * 32} {found.size} {PIECE}\n", "nonsense"):
        target.unlink(missing_ok=True)
        (tmp_path / ".large.partial").write_bytes(b"\0" * found.size)
        (tmp_path / ".large.pieces").write_text(title + "0\n1\n2\n3\n")
        receive_files(bucket, {"large": target}, {}, piece=PIECE)
        assert target.read_bytes() == (folder / "large").read_bytes()


def test_an_upload_of_another_file_is_not_taken_over_and_an_old_one_is_given_up(
        bucket_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_url)
    foreign = bucket.begin("large", "0" * 64)
    bucket.send("large", foreign, 1, b"x" * PIECE)
    send_files(bucket, {"large": folder / "large"}, piece=PIECE)
    assert [upload for _, upload, _ in bucket.begun()] == [foreign]
    monkeypatch.setattr(sending, "STALE_SECONDS", -5.0)
    (folder / "large").write_bytes(b"y" * 2 * PIECE)
    send_files(bucket, {"large": folder / "large"}, piece=PIECE)
    assert bucket.begun() == []


def strict(bucket: Bucket) -> Bucket:
    """The test server knows no word for an upload that is not there."""
    complete = bucket.client.complete_multipart_upload

    def checked(**request):  # type: ignore[no-untyped-def]
        if request["UploadId"] not in [upload for _, upload, _ in bucket.begun()]:
            raise ClientError({"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "")
        return complete(**request)

    bucket.client.complete_multipart_upload = checked
    return bucket


def test_an_upload_that_another_process_has_ended_meanwhile_is_no_error(
        bucket_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that send the same file find the same upload; the second to end it is told that it is not there."""
    bucket, files = strict(Bucket(bucket_url)), {"large": folder / "large"}
    finish, ended = sending.finish, []

    def raced(bucket, plan):  # type: ignore[no-untyped-def]
        if not ended:
            ended.append(plan.upload)
            send_files(Bucket(bucket_url), files, piece=PIECE)
        finish(bucket, plan)

    monkeypatch.setattr(sending, "finish", raced)
    send_files(bucket, files, piece=PIECE)
    found = bucket.find("large")
    assert found is not None and found.sha256 == tree_digests(folder)["large"] and bucket.begun() == []


@pytest.mark.parametrize("end", ["ended", "given up"])
def test_an_upload_that_another_process_ends_while_its_pieces_are_asked_for_is_begun_anew(
        end: str, bucket_url: str, folder: Path) -> None:
    bucket, content = Bucket(bucket_url), (folder / "large").read_bytes()
    other = bucket.begin("large", tree_digests(folder)["large"])
    bucket.send("large", other, 1, content[:PIECE])
    pieces, asked = bucket.pieces, []

    def raced(name: str, upload: str) -> list[Piece]:
        asked.append(upload)
        if end == "ended":
            send_files(Bucket(bucket_url), {"large": folder / "large"}, PIECE)
        else:
            bucket.give_up(name, upload)
        return pieces(name, upload)

    bucket.pieces = raced  # type: ignore[method-assign]
    send_files(bucket, {"large": folder / "large"}, PIECE)
    found = bucket.find("large")
    assert asked == [other] and found is not None and found.sha256 == tree_digests(folder)["large"]
    assert bucket.begun() == [] and Bucket(bucket_url).pieces("large", other) == []


def test_an_upload_that_was_given_up_meanwhile_is_said_and_the_next_try_succeeds(
        bucket_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, files, finish = strict(Bucket(bucket_url)), {"large": folder / "large"}, sending.finish

    def raced(bucket, plan):  # type: ignore[no-untyped-def]
        bucket.give_up(plan.name, plan.upload)
        finish(bucket, plan)

    monkeypatch.setattr(sending, "finish", raced)
    with pytest.raises(TryAgain, match="is not there as it was sent"):
        send_files(bucket, files, piece=PIECE)
    monkeypatch.setattr(sending, "finish", finish)
    send_files(bucket, files, piece=PIECE)


def test_a_sealed_folder_is_held_against_its_receipt(bucket_url: str, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    run_brew(tmp_path / "made")
    wash, bucket = tmp_path / "made/data/wash", Bucket(bucket_url)
    send_folder(bucket_url, wash, "wash")
    receive_folder(bucket, "wash", tmp_path / "back")
    assert tree_digests(tmp_path / "back") == tree_digests(wash)
    bucket.write("wash/part.bin", b"\2")
    with pytest.raises(Damaged, match=r"wash/part.bin is damaged"):
        receive_folder(bucket, "wash", tmp_path / "other")
    bucket.write("wash/stranger", b"")
    with pytest.raises(UserError, match="different files: stranger"):
        receive_folder(bucket, "wash", tmp_path / "other")
    bucket.remove(["wash/stranger", "wash/part.bin"])
    with pytest.raises(UserError, match=r"different files: part.bin"):
        receive_folder(bucket, "wash", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/absolute", "a//b", "./a", "a/."])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, bucket_url: str, tmp_path: Path) -> None:
    bucket = Bucket(bucket_url)
    bucket.client.put_object(Bucket=bucket.url.bucket, Key=f"run/{name}", Body=b"x")
    with pytest.raises(UserError, match="cannot be a file in a folder"):
        receive_folder(bucket, "run", tmp_path / "inside/back")
    assert not list(tmp_path.rglob("out")) and not (tmp_path / "inside/back").exists()


def test_a_file_and_a_folder_of_one_name_are_refused(bucket_url: str, tmp_path: Path) -> None:
    bucket = Bucket(bucket_url)
    bucket.write("run/a", b"x")
    bucket.write("run/a/b", b"x")
    with pytest.raises(UserError, match="'a'"):
        receive_folder(bucket, "run", tmp_path / "back")


def test_objects_that_others_have_sent_are_checked_by_what_the_server_tells(
        s3_server: str, bucket_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_url)
    for name in SIZES:
        raw(s3_server, "PUT", f"/{bucket.url.bucket}/run/{quote(name)}", (folder / name).read_bytes())
    upload = bucket.client.create_multipart_upload(Bucket=bucket.url.bucket, Key="run/large")["UploadId"]
    content = (folder / "large").read_bytes()
    parts = [bucket.send("run/large", upload, number + 1, content[number * 9000: number * 9000 + 9000])
             for number in range(5)]
    bucket.client.complete_multipart_upload(
        Bucket=bucket.url.bucket, Key="run/large", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": one.number, "ETag": one.etag} for one in parts]})
    with Proxy(s3_server, 0.3, ("answer changed",), 2).address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        receive_folder(Bucket(bucket_url), "run", tmp_path / "back", piece=PIECE)
    assert tree_digests(tmp_path / "back") == tree_digests(folder)


def test_an_object_that_is_replaced_while_it_is_read_is_said(bucket_url: str, folder: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_url)
    send_files(bucket, {"large": folder / "large"}, piece=PIECE)
    found = bucket.find("large")
    assert found is not None
    bucket.write("large", b"other")
    with (tmp_path / "x").open("wb") as stream, pytest.raises(TryAgain, match="was replaced while it was read"):
        bucket.read_range(found, 0, 100, stream)


def test_a_file_that_changes_while_it_is_sent_does_not_become_an_object(bucket_url: str, folder: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    work = sending.send_piece

    def changing(bucket, plan, number):  # type: ignore[no-untyped-def]
        with plan.path.open("r+b") as stream:
            stream.write(os.urandom(4))
        return work(bucket, plan, number)

    monkeypatch.setattr(sending, "send_piece", changing)
    for name in ("small", "large"):
        with pytest.raises(UserError, match="was changed while it was sent"):
            send_files(Bucket(bucket_url), {name: folder / name}, piece=PIECE)
    assert Bucket(bucket_url).objects() == []


def test_an_empty_place_and_an_absent_object_are_told(bucket_url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{bucket_url}/nothing holds nothing"):
        receive_folder(Bucket(bucket_url), "nothing", tmp_path / "back")
    with pytest.raises(UserError, match="x is not there"):
        receive_files(Bucket(bucket_url), {"x": tmp_path / "x"}, {})
    with pytest.raises(UserError, match="bucket absent-bucket does not exist"):
        Bucket("s3://absent-bucket").find("x")


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_midst_ends_with_75_and_the_next_goes_on(
        folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.storage.bucket import Patience

    port = object_store.free_port()
    with object_store.server(port) as endpoint:
        object_store.use(monkeypatch, endpoint)
        object_store.make_bucket(endpoint, "box")
        bucket = Bucket("s3://box", Patience(2.0, 1.0))
        send_folder("s3://box", folder, "run", PIECE)
        (tmp_path / ".back.partial").mkdir()
        shutil.copy(folder / "large", tmp_path / ".back.partial/large")
    with pytest.raises(TryAgain, match="cannot be reached"):
        receive_folder(bucket, "run", tmp_path / "back", piece=PIECE)
    assert not (tmp_path / "back").exists()
    with object_store.server(port) as endpoint:
        object_store.make_bucket(endpoint, "box")
        send_folder("s3://box", folder, "run", PIECE)
        receive_folder(bucket, "run", tmp_path / "back", piece=PIECE)
    assert tree_digests(tmp_path / "back") == tree_digests(folder)
