"""One decoder for everybody: every mode to RGB, every size exact, every damaged file a verdict."""

import csv
import io
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.data.check_settings import Thresholds
from components.data.checks import inspect_all
from components.data.decoding import SUFFIXES, Decoded, Undecodable, attempt, decode, examine, letterbox, sniff
from components.data.glancing import Glance, _look, glance
from components.data.guard_worker import Limits
from components.data.verdicts import UNUSABLE

BAD_IMAGES = Path(__file__).resolve().parents[3] / "shared" / "data" / "bad-images"


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(decode(content)).astype(int)


sides = st.integers(1, 90)


@settings(max_examples=200, deadline=None)
@given(sides, sides, sides, sides)
def test_letterbox_has_the_exact_size_and_keeps_the_aspect(h: int, w: int, height: int, width: int) -> None:
    boxed = letterbox(Image.new("RGB", (w, h), (200, 10, 10)), (height, width), 128)
    assert boxed.shape == (height, width, 3)
    assert boxed.dtype == np.uint8
    inside = (boxed != 128).any(axis=2)
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert rows == height or columns == width  # it touches two edges
    assert abs(rows - h * min(height / h, width / w)) <= 1
    assert abs(columns - w * min(height / h, width / w)) <= 1
    assert inside.sum() == rows * columns  # one full rectangle
    top, left = inside.any(axis=1).argmax(), inside.any(axis=0).argmax()
    assert abs(2 * top - (height - rows)) <= 1  # in the middle
    assert abs(2 * left - (width - columns)) <= 1


def test_letterbox_leaves_an_image_of_the_right_size_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    assert (letterbox(Image.fromarray(noise), (31, 17), 0) == noise).all()


def test_letterbox_does_not_alias_when_it_shrinks() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = letterbox(Image.fromarray(stripes), (32, 32), 0)[:, 2:-2].astype(int)
    assert abs(shrunk - 127).max() <= 4


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (3, 2000)])
def test_letterbox_takes_extreme_aspects(size: tuple[int, int]) -> None:
    assert letterbox(Image.new("RGB", size), (64, 48), 128).shape == (64, 48, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 40000, 65535]], np.uint16)
    decoded = pixels_of(encoded(Image.fromarray(values), kind))
    assert decoded[0, :, 0].tolist() == [0, 1, round(40000 / 257), 255]
    assert (decoded == decoded[..., :1]).all()


def test_floating_point_samples_are_taken_as_zero_to_one() -> None:
    values = np.array([[-1.0, 0.0, 0.5, 1.0, 7.0, np.nan]], np.float32)
    assert pixels_of(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :16] = 255  # a mark in the upper left corner
    # How a camera stores the upright picture, by the definition of the EXIF tag.
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
              6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = pixels_of(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert decoded.shape == upright.shape
    assert abs(decoded - upright).mean() < 4


def test_damaged_exif_leaves_the_pixels_as_they_lie() -> None:
    content = encoded(Image.new("RGB", (8, 6), "red"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(content).size == (8, 6)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    decoded = pixels_of(encoded(image.convert(mode)))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[0, 1].tolist() == [0, 0, 0]


def test_half_transparency_is_blended() -> None:
    assert pixels_of(encoded(Image.new("RGBA", (1, 1), (200, 0, 0, 128))))[0, 0].tolist() == [227, 127, 127]


def test_cmyk_becomes_the_colour_that_its_inks_give() -> None:
    decoded = pixels_of(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert abs(decoded - np.array([255, 0, 0])).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_plain_modes_keep_black_and_white(mode: str) -> None:
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 255)
    assert pixels_of(encoded(image.convert(mode)))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(content)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", list(SUFFIXES))
def test_the_format_is_told_from_the_first_bytes_as_by_the_decoder(kind: str) -> None:
    content = encoded(Image.new("RGB", (9, 7), "green"), kind)
    assert sniff(content[:16]) == kind == examine(content).format


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_file_cut_off_anywhere_is_truncated(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    for part in range(1, 15):
        with pytest.raises(Undecodable) as caught:
            decode(content[: len(content) * part // 16])
        assert caught.value.reason == "truncated", part


def test_no_bytes_are_empty_and_text_is_unreadable() -> None:
    for content, reason in ((b"", "empty"), (b"path,split\n", "unreadable"), (b"%PDF-1.7", "unreadable")):
        with pytest.raises(Undecodable) as caught:
            decode(content)
        assert caught.value.reason == reason


def test_formats_that_are_not_listed_are_refused() -> None:
    for kind in ("PPM", "TGA", "ICO"):
        with pytest.raises(Undecodable) as caught:
            decode(encoded(Image.new("RGB", (8, 8)), kind))
        assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("side", [7_072, 60_000, 2_000_000_000])
def test_too_many_pixels_are_refused_before_any_is_decoded(side: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(Undecodable) as caught:
        decode(content)
    assert caught.value.reason == "bomb"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(SUFFIXES)), st.data())
def test_bit_flips_give_an_image_or_a_reason(kind: str, data: st.DataObject) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (14, 20, 3), np.uint8)
    content = bytearray(encoded(Image.fromarray(noise), kind))
    for place in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=6)):
        content[place // 8] ^= 1 << place % 8
    try:
        image = decode(bytes(content))
    except Undecodable as error:
        assert error.reason in ("unreadable", "truncated", "bomb")
    else:
        assert image.mode == "RGB"


def test_damaged_metadata_is_no_warning_in_any_thread() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\xff\xff\0\0\x1a\0\0\0"
    contents = [encoded(Image.new("RGB", (8, 6), "red"), kind, exif=exif) for kind in ("JPEG", "WEBP")]
    table = Image.new("P", (4, 4))
    contents.append(encoded(table, "PNG", transparency=bytes(range(200))))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(8) as pool:
            sizes = [image.size for image in pool.map(decode, contents * 60)]
    assert set(sizes) == {(8, 6), (4, 4)}
    assert said == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_glance_refuses_a_damaged_jpeg_exactly_where_the_whole_decode_does(data: st.DataObject) -> None:
    noise = Image.fromarray(np.random.default_rng(4).integers(0, 256, (150, 140, 3), np.uint8))
    smooth = noise.resize((20, 20)).resize((180, 150), Image.Resampling.BICUBIC)
    content = bytearray(encoded(smooth.convert(data.draw(st.sampled_from(["RGB", "L", "CMYK"]))), "JPEG",
                                subsampling=data.draw(st.integers(0, 2)), progressive=data.draw(st.booleans())))
    ends = st.sampled_from([len(content) - 1, 700])  # anywhere, or among the tables
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, data.draw(ends)))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.sampled_from([len(content), len(content) * 2 // 3]))])
    assert told(lambda: attempt(cut, partial(_look, quick=True))) == told(lambda: examine(cut))


def test_fractions_of_chroma_are_refused_by_a_glance_too() -> None:
    content = bytearray(encoded(Image.new("RGB", (140, 140), "green"), "JPEG", subsampling=0))
    frame = content.index(b"\xff\xc0")
    content[frame + 11], content[frame + 14] = 0x31, 0x21  # three columns of luma to two of chroma
    with pytest.raises(Undecodable) as whole:
        decode(bytes(content))
    with pytest.raises(Undecodable) as quick:
        glance(bytes(content))
    assert str(quick.value) == str(whole.value)


def told(look: Callable[[], Decoded | Glance]) -> tuple[object, ...]:
    """Whether a file is refused; if not, its size, format and mode."""
    try:
        seen = look()
    except Undecodable as error:
        return (error.reason in UNUSABLE,)
    return (seen.image.size if isinstance(seen, Decoded) else seen.size), seen.format, seen.mode


def corpus() -> list[dict[str, str]]:
    with (BAD_IMAGES / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


JUDGE = """
import resource, sys
from pathlib import Path
from components.data.decoding import Undecodable, examine, letterbox
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for line in sys.stdin:
    try:
        decoded = examine(Path(line.rstrip("\\n")).read_bytes())
        assert letterbox(decoded.image, (64, 64), 128).shape == (64, 64, 3)
        print("ok", *decoded.image.size, decoded.format, decoded.mode, sep="\\t")
    except Undecodable as error:
        print(error.reason, error.detail, sep="\\t")
"""


@pytest.fixture(scope="module")
def decoded() -> list[list[str]]:
    """What the decoder itself says of every file of the corpus: ok, width, height, format, mode; or reason, detail."""
    if not BAD_IMAGES.is_dir():
        pytest.skip("../shared/data/bad-images is not here")
    names = "".join(f"{BAD_IMAGES / row['path']}\n" for row in corpus())
    said = subprocess.run([sys.executable, "-c", JUDGE], input=names, stdout=subprocess.PIPE, text=True, check=True,
                          stderr=subprocess.DEVNULL, timeout=120).stdout.splitlines()
    return [line.split("\t") for line in said]


def test_the_corpus_of_damaged_files_gets_a_verdict_each_and_good_files_are_kept(decoded: list[list[str]]) -> None:
    assert len(decoded) == len(corpus())
    pairs = list(zip(corpus(), decoded, strict=True))
    lost = [row["path"] for row, said in pairs
            if row["pillow_load"] == "ok" and row["format"] in SUFFIXES and said[0] != "ok"]
    assert len(lost) <= 1  # one GIF of 68 million pixels
    assert [row["path"] for row, said in pairs if row["pillow_load"] != "ok" and said[0] == "ok"] == []


def test_the_check_and_the_decoder_agree_about_every_file_of_the_corpus(decoded: list[list[str]]) -> None:
    rows = pd.DataFrame({"path": [row["path"] for row in corpus()]})
    facts = inspect_all(BAD_IMAGES, rows, Thresholds(), Limits(), 2)
    for fact, said in zip(facts, decoded, strict=True):
        refused = [f"{one.reason}\t{one.detail}" for one in fact.findings if one.reason in UNUSABLE]
        accepted = "\t".join(["ok", str(fact.width), str(fact.height), fact.format, fact.mode])
        assert (refused or [accepted]) == ["\t".join(said)]
    for fact, row in zip(facts, corpus(), strict=True):
        assert (fact.sha256, fact.bytes) == (row["sha256"], int(row["bytes"]))
