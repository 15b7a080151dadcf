"""What is stored of an image: pixels, or a JPEG that is no larger than it has to be and compressed once at most."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bodies import picture, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from imports import ROOT
from PIL import Image

from components.data.choice import Wanted, choose
from components.data.decoding import decode, letterbox
from components.data.forms import Form, expected_bytes, pixels_of, stored

CLOTHING = ROOT.parent / "shared" / "data" / "clothing"
JPEG = Form("jpeg", (48, 64), 9, 90)


def coded(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_decoded_pixels_are_those_of_the_one_decoder_and_the_one_resize() -> None:
    content, form = coded(picture(1, 90, 50), "PNG"), Form("decoded", (33, 40), 9)
    assert np.array_equal(pixels_of(stored(content, form), form), letterbox(decode(content), (33, 40), 9))


def test_a_small_jpeg_is_kept_byte_for_byte() -> None:
    content = coded(picture(1, 40, 30), "JPEG")
    assert stored(content, JPEG) == content
    assert stored(coded(picture(1, 40, 30), "PNG"), JPEG)[:3] == b"\xff\xd8\xff"


def test_a_jpeg_full_of_other_things_is_made_anew() -> None:
    content = coded(Image.new("RGB", (40, 30), "red"), "JPEG")
    stuffed = content[:2] + b"\xff\xfe\x20\x02" + bytes(0x2000) + content[2:]  # a comment of 8 KiB
    assert len(stuffed) > 40 * 30
    assert len(stored(stuffed, JPEG)) < 40 * 30 and Image.open(io.BytesIO(stored(stuffed, JPEG))).size == (40, 30)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 70), st.integers(1, 70), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_stored_jpeg_is_as_large_as_size_needs_or_short_side_allows(
        width: int, height: int, tall: int, wide: int, short_side: int) -> None:
    form = Form("jpeg", (tall, wide), 7, 90, short_side)
    record = stored(coded(picture(3, width, height), "PNG"), form)
    across, down = Image.open(io.BytesIO(record)).size
    if short_side:
        assert min(across, down) == min(short_side, width, height)
    else:
        assert across <= max(1, min(width, wide)) and down <= max(1, min(height, tall))
        plain = letterbox(picture(3, width, height), (tall, wide), 7)
        fitted = letterbox(Image.open(io.BytesIO(record)), (tall, wide), 7)
        assert ((plain == 7).all(axis=2) == (fitted == 7).all(axis=2)).mean() > 0.9, "the same place in the frame"
    assert pixels_of(record, form).shape == (tall, wide, 3)
    assert np.array_equal(pixels_of(record, form), letterbox(decode(record), (tall, wide), 7))


def test_an_image_longer_than_a_jpeg_can_be_is_shrunk() -> None:
    form = Form("jpeg", (8, 8), 0, 90, 4)
    record = stored(coded(Image.new("RGB", (2, 70_000), "red"), "PNG"), form)
    assert Image.open(io.BytesIO(record)).size == (2, 65_500)


def test_the_key_changes_with_all_that_changes_a_record_and_with_nothing_else() -> None:
    forms = [JPEG, replace(JPEG, size=(48, 63)), replace(JPEG, quality=91), replace(JPEG, short_side=100),
             Form("decoded", (48, 64), 9), Form("decoded", (48, 64), 10), Form("decoded", (64, 48), 9)]
    assert len({form.key() for form in forms}) == len(forms)
    assert replace(JPEG, pad=0).key() == JPEG.key()
    limited = replace(JPEG, short_side=100)
    assert replace(limited, size=(96, 96)).key() == limited.key(), "the size is free where the short side is limited"
    assert Form.from_json(JPEG.to_json()) == JPEG


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="../shared/data/clothing is absent")
@pytest.mark.parametrize("size", [64, 128, 224])
def test_what_jpeg_costs_is_foreseen_within_a_quarter(size: int) -> None:
    names = [path.relative_to(CLOTHING).as_posix() for path in sorted((CLOTHING / "val").rglob("*.jpg"))[::6]]
    form = Form("jpeg", (size, size), 128, 90)
    taken = sum(len(stored((CLOTHING / name).read_bytes(), form)) for name in names)
    assert 0.75 * taken < expected_bytes(rows_of(CLOTHING, names), form) < 1.25 * taken


def test_auto_is_decoded_up_to_the_limit_and_jpeg_above_it(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(10)]
    for number, name in enumerate(names):
        picture(number, 200, 200).save(tmp_path / name)
    rows = rows_of(tmp_path, names)
    exact = 10 * 100 * 100 * 3 / 1e9
    chosen = {limit: choose(rows, Wanted("auto", (100, 100), 0, 256, limit, 90, 0), 10**12) for limit in
              (exact, exact * 0.999)}
    assert [plan.form.pixels for plan in chosen.values()] == ["decoded", "jpeg"]
    assert "0.3 MB decoded" in chosen[exact].said[0] and not chosen[exact].notes
    assert (chosen[exact].form.quality, chosen[exact * 0.999].form.quality) == (0, 90)
    tight = choose(rows, Wanted("decoded", (100, 100), 0, 256, 50.0, 90, 0), 1000)
    assert "the disk has 0.001 MB left, and 0.3 MB are needed" in tight.notes


def test_so_many_images_get_larger_files_not_more_than_a_process_can_open(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "0.png")
    rows = rows_of(tmp_path, ["0.png"] * 200)
    plan = choose(rows, Wanted("decoded", (4096, 4096), 0, 1, 50.0, 90, 0), 10**12)
    assert plan.limit == -(-200 * 4096 * 4096 * 3 // 512) and "index.shard_mb is raised from 1 to 19" in plan.notes[0]
