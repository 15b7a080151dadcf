"""Records come back as they were written, whatever happened to the writer on the way."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.forms import Form
from components.data.shards import Shards, first_rows
from components.data.writing import LEDGER, STATE, Writer, read_body

JPEG, PIXELS = Form("jpeg", (3, 2), 0, 90), Form("decoded", (3, 2), 0)


def records_of(form: Form, count: int, seed: int = 0) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(18 if form is PIXELS else chance.randint(1, 40)) for _ in range(count)]


def ids_of(count: int) -> np.ndarray:
    digests = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(count))
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def write(folder: Path, form: Form, records: list[bytes], limit: int, stop: int | None = None) -> int:
    """Write records, up to one where it stops without a word to the ledger; where it began."""
    writer = Writer(folder, form, ids_of(len(records)), limit)
    began = writer.done
    for record in records[began:stop]:
        writer.append(record)
    if stop is None:
        writer.flush()
    writer.close()
    return began


def opened(folder: Path, form: Form, ids: np.ndarray) -> int:
    writer = Writer(folder, form, ids, 1000)
    writer.close()
    return writer.done


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 120))
@settings(max_examples=80, deadline=None)
def test_files_are_filled_one_after_the_other(lengths: list[int], limit: int) -> None:
    starts, size = [], limit + 1
    for row, length in enumerate(lengths):
        if size + length > limit:
            starts.append(row)
            size = 0
        size += length
    assert first_rows(np.array(lengths, np.int64), limit).tolist() == starts


@pytest.mark.parametrize("form", [JPEG, PIXELS])
@pytest.mark.parametrize("limit", [1, 19, 54, 500, 10**6])
def test_what_was_written_is_read_again(tmp_path: Path, form: Form, limit: int) -> None:
    records = records_of(form, 150)
    write(tmp_path / "body", form, records, limit)
    body = read_body(tmp_path / "body", form.key())
    assert body is not None and all(body.sound(row) for row in range(150))
    assert [body.shards.record(row).tobytes() for row in range(150)] == records
    if form is PIXELS:
        whole = np.concatenate([np.load(tmp_path / "body" / name) for name in body.shards.names])
        assert whole.tobytes() == b"".join(records) and whole.shape == (150, 3, 2, 3)
    sizes = [(tmp_path / "body" / name).stat().st_size for name in body.shards.names]
    assert max(sizes) <= max(limit, max(map(len, records))) + (128 if form is PIXELS else 0)
    assert read_body(tmp_path / "body", Form("decoded", (9, 9), 0).key()) is None


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_whoever_is_stopped_and_damaged_ends_with_the_bytes_of_an_undisturbed_writer(
        tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("writing")
    form, limit = data.draw(st.sampled_from([JPEG, PIXELS])), data.draw(st.sampled_from([300, 10**6]))
    records = records_of(form, 150)
    write(root / "whole", form, records, limit)
    for _ in range(data.draw(st.integers(1, 3))):
        write(root / "body", form, records, limit, stop=data.draw(st.integers(0, 150)))
        harm(root / "body", data)
    write(root / "body", form, records, limit)
    assert files(root / "body") == files(root / "whole")


def harm(folder: Path, data: st.DataObject) -> None:
    """Cut, flip, lengthen or remove a file, or leave all as it is."""
    found = sorted(folder.iterdir())
    path = data.draw(st.sampled_from(found))
    content = bytearray(path.read_bytes())
    match data.draw(st.sampled_from(["nothing", "cut", "flip", "grow", "remove"])):
        case "cut":
            del content[data.draw(st.integers(0, len(content))):]
        case "flip" if content:
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "grow":
            content += b"\1" * data.draw(st.integers(1, 100))
        case "remove":
            path.unlink()
            return
        case _:
            return
    path.write_bytes(content)


@pytest.mark.parametrize("form", [JPEG, PIXELS])
def test_an_interrupted_writer_goes_on_where_it_was(tmp_path: Path, form: Form) -> None:
    records = records_of(form, 300)
    assert write(tmp_path / "body", form, records, 1000, stop=200) == 0
    assert 128 <= write(tmp_path / "body", form, records, 1000, stop=290) <= 200
    assert 256 <= write(tmp_path / "body", form, records, 1000) <= 290
    assert write(tmp_path / "body", form, records, 1000) == 300


def test_other_images_or_another_form_start_anew(tmp_path: Path) -> None:
    records = records_of(PIXELS, 130)
    write(tmp_path / "body", PIXELS, records, 1000)
    assert opened(tmp_path / "body", PIXELS, ids_of(130)[::-1]) == 0
    write(tmp_path / "body", PIXELS, records, 1000)
    assert opened(tmp_path / "body", JPEG, ids_of(130)) == 0
    assert sorted(files(tmp_path / "body")) == [STATE]


def test_whoever_shares_a_file_by_a_link_keeps_it_as_it_was(tmp_path: Path) -> None:
    records = records_of(PIXELS, 130)
    write(tmp_path / "body", PIXELS, records, 10**6)
    (tmp_path / "shared").mkdir()
    for path in (tmp_path / "body").iterdir():
        (tmp_path / "shared" / path.name).hardlink_to(path)
    before = files(tmp_path / "shared")
    writer = Writer(tmp_path / "body", PIXELS, np.concatenate([ids_of(100), ids_of(130)[:30]]), 10**6)
    assert writer.done == 100
    for _ in range(30):
        writer.append(bytes(18))
    writer.flush()
    writer.close()
    assert files(tmp_path / "shared") == before != files(tmp_path / "body")


def test_a_ledger_names_every_record(tmp_path: Path) -> None:
    records = records_of(JPEG, 10)
    write(tmp_path / "body", JPEG, records, 100)
    lines = (tmp_path / "body" / LEDGER).read_bytes()
    expected = b"".join(digest.tobytes() + hashlib.sha256(record).digest()[:16] + len(record).to_bytes(8, "little")
                        for digest, record in zip(ids_of(10), records, strict=True))
    assert lines == expected


def test_records_of_a_file_that_is_not_there_are_not_sound(tmp_path: Path) -> None:
    write(tmp_path / "body", JPEG, records_of(JPEG, 10), 100)
    body = read_body(tmp_path / "body", JPEG.key())
    assert body is not None and isinstance(body.shards, Shards)
    (tmp_path / "body" / body.shards.names[1]).unlink()
    sound = [body.sound(row) for row in range(10)]
    first, after = body.shards.starts[1], [*body.shards.starts, 10][2]
    assert sound == [not first <= row < after for row in range(10)]
