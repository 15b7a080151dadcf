"""Every reason that one file can give is found in a file made for it, and in no other."""

import hashlib
import io
import math
import os
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from components.data.check_settings import Thresholds
from components.data.checks import inspect_all
from components.data.contents import content_of
from components.data.decoding import MAX_PIXELS, Undecodable, decode
from components.data.facts import Facts, inspect
from components.data.fingerprints import fingerprint
from components.data.glancing import glance
from components.data.guard_worker import Limits
from components.data.measuring import SIDE, measure
from components.errors import UserError


def photograph(width: int = 200, height: int = 160) -> Image.Image:
    """Coarse and fine shapes in colour, such as photographs have."""
    rng = np.random.default_rng(3)
    layers = [Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).resize((width, height), 2)
              for side in (4, 16, 80)]
    return ImageOps.autocontrast(Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.3))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def rotated(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(photograph(), kind, exif=exif)


def bomb() -> bytes:
    head = (1_000_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def wide(mode: str) -> Image.Image:
    grey = np.asarray(photograph().convert("L"))
    return Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey.astype(np.float32) / 255)


def levels(count: int) -> Image.Image:
    return photograph().convert("L").point(lambda value: value * count // 256 * (255 // (count - 1))).convert("RGB")


# name of the file, its content, the reasons that it shall give
PLANTED: list[tuple[str, Callable[[], bytes], set[str]]] = [
    ("fine.jpg", lambda: encoded(photograph(), "JPEG"), set()),
    ("fine.jpeg", lambda: encoded(photograph(), "JPEG", progressive=True), set()),
    ("fine.png", lambda: encoded(photograph()), set()),
    ("fine.webp", lambda: encoded(photograph(), "WEBP"), set()),
    ("fine.bmp", lambda: encoded(photograph(), "BMP"), set()),
    ("fine.tif", lambda: encoded(photograph(), "TIFF"), set()),
    ("without", lambda: encoded(photograph(), "JPEG"), set()),
    ("empty.jpg", lambda: b"", {"empty"}),
    ("text.jpg", lambda: b"path,split", {"unreadable"}),
    ("icon.png", lambda: encoded(photograph(), "ICO"), {"unreadable"}),
    ("half.jpg", lambda: encoded(photograph(), "JPEG")[:3000], {"truncated"}),
    ("half.png", lambda: encoded(photograph())[:3000], {"truncated"}),
    ("bomb.png", bomb, {"bomb"}),
    ("really.png", lambda: encoded(photograph(), "JPEG"), {"wrong_extension"}),
    ("really.txt", lambda: encoded(photograph(), "JPEG"), {"wrong_extension"}),
    ("moving.gif", lambda: encoded(photograph(), "GIF", save_all=True, append_images=[levels(2)]),
     {"animated", "palette"}),
    ("moving.webp", lambda: encoded(photograph(), "WEBP", save_all=True, append_images=[levels(2)]), {"animated"}),
    ("pages.tif", lambda: encoded(photograph(), "TIFF", save_all=True, append_images=[levels(2)]), {"animated"}),
    ("moving.png", lambda: encoded(photograph(), "PNG", save_all=True, append_images=[levels(2)]), {"animated"}),
    ("side.jpg", lambda: rotated("JPEG"), {"exif_rotated"}),
    ("side.png", lambda: rotated("PNG"), {"exif_rotated"}),
    ("side.tif", lambda: rotated("TIFF"), {"exif_rotated"}),
    ("side.webp", lambda: rotated("WEBP"), {"exif_rotated"}),
    ("print.jpg", lambda: encoded(photograph().convert("CMYK"), "JPEG"), {"cmyk"}),
    ("print.tif", lambda: encoded(photograph().convert("CMYK"), "TIFF"), {"cmyk"}),
    ("deep.png", lambda: encoded(wide("I;16")), {"sixteen_bit", "grey"}),
    ("deep.tif", lambda: encoded(wide("F"), "TIFF"), {"sixteen_bit", "grey"}),
    ("alpha.png", lambda: encoded(photograph().convert("RGBA")), {"alpha"}),
    ("alpha.webp", lambda: encoded(Image.merge("RGBA", (*photograph().split(), photograph().split()[0])), "WEBP"),
     {"alpha"}),
    ("grey.jpg", lambda: encoded(photograph().convert("L"), "JPEG"), {"grey"}),
    ("table.png", lambda: encoded(photograph().convert("P")), {"palette"}),
    ("table.gif", lambda: encoded(photograph(), "GIF"), {"palette"}),
    ("tiny.png", lambda: encoded(photograph(20, 7)), {"too_small"}),
    ("long.jpg", lambda: encoded(photograph(700, 100), "JPEG"), {"extreme_aspect"}),
    ("flat.png", lambda: encoded(Image.new("RGB", (90, 70), (90, 120, 150))), {"near_uniform"}),
    ("night.jpg", lambda: encoded(photograph().point(lambda value: value // 8), "JPEG", quality=95), {"dark"}),
    ("snow.jpg", lambda: encoded(photograph().point(lambda value: 255 - value // 8), "JPEG", quality=95), {"bright"}),
    ("soft.jpg", lambda: encoded(photograph().filter(ImageFilter.GaussianBlur(12)), "JPEG", quality=95), {"blurred"}),
    ("scant.png", lambda: encoded(levels(3)), {"low_information"}),
]


def seen(tmp_path: Path, name: str, content: bytes) -> Facts:
    (tmp_path / name).write_bytes(content)
    return inspect(str(tmp_path), Thresholds(), name)


def reasons(facts: Facts) -> set[str]:
    return {finding.reason for finding in facts.findings}


@pytest.mark.parametrize(("name", "make", "expected"), PLANTED, ids=[name for name, _, _ in PLANTED])
def test_what_is_planted_in_a_file_is_found_and_nothing_else(
    tmp_path: Path, name: str, make: Callable[[], bytes], expected: set[str]
) -> None:
    facts = seen(tmp_path, name, make())
    assert reasons(facts) == expected
    assert len(facts.findings) == len(expected)
    assert (facts.sha256, facts.bytes) == (hashlib.sha256(make()).hexdigest(), len(make()))


@pytest.mark.parametrize(("name", "make"), [(name, make) for name, make, _ in PLANTED])
def test_what_is_accepted_is_decoded_to_the_size_that_was_told(
    tmp_path: Path, name: str, make: Callable[[], bytes]
) -> None:
    facts = seen(tmp_path, name, make())
    if facts.fingerprint:
        assert decode(make()).size == (facts.width, facts.height)
        assert not any(math.isnan(value) for value in (facts.brightness, facts.contrast, facts.entropy))
    else:
        with pytest.raises(Undecodable) as caught:
            decode(make())
        assert {caught.value.reason} == reasons(facts)
        assert (facts.width, facts.height) == (0, 0)
        assert math.isnan(facts.brightness)


def test_thresholds_decide_what_is_odd(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photograph()))
    strict = Thresholds(short_side=161, aspect=1.2, dark=1.0, bright=0.0, sharpness=9.0, entropy=7.99)
    found = reasons(inspect(str(tmp_path), strict, "a.png"))
    assert found == {"too_small", "extreme_aspect", "dark", "bright", "blurred", "low_information"} - (
        {"dark"} if measure(glance(encoded(photograph())).grey).contrast > 0.5 else set())
    assert reasons(inspect(str(tmp_path), Thresholds(contrast=0.9), "a.png")) == {"near_uniform"}


def test_sixteen_bits_are_measured_as_they_are_scaled(tmp_path: Path) -> None:
    values = np.full((40, 40), 40_000, np.uint16)
    facts = seen(tmp_path, "a.png", encoded(Image.fromarray(values)))
    assert round(facts.brightness * 255) == 156 == round(40_000 / 257)


# -- paths that are no ordinary files


def refused(path: Path) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        content_of(str(path))
    facts = inspect(str(path.parent), Thresholds(), path.name)
    assert (facts.sha256, facts.bytes, reasons(facts)) == ("", 0, {caught.value.reason})
    return caught.value


def test_pipes_sockets_folders_devices_and_links_to_nothing_are_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dead.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.jpg"))
        details = {name: refused(tmp_path / name) for name in
                   ("pipe.jpg", "folder.jpg", "dead.jpg", "loop.jpg", "device.jpg", "s.jpg")}
    assert {error.reason for error in details.values()} == {"not_a_file"}
    assert {name: error.detail for name, error in details.items()} == {
        "pipe.jpg": "a pipe", "folder.jpg": "a folder", "dead.jpg": "a link that leads nowhere",
        "loop.jpg": "a link that leads in a circle", "device.jpg": "a device",
        "s.jpg": "a socket, or a device that is not there"}


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"there")
    (tmp_path / "b.png").symlink_to("a.png")
    assert content_of(str(tmp_path / "b.png")) == b"there"


def test_a_file_that_may_not_be_read_is_forbidden(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = Path(os.path.realpath(tmp_path)) / "a.png"
    path.write_bytes(b"secret")
    path.chmod(0)
    for parent in path.parents[:3]:
        parent.chmod(0o755)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        assert refused(path).reason == "forbidden"
    finally:
        os.seteuid(user)


def test_a_file_that_is_gone_since_it_was_listed_is_changed(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.png").reason == "changed"


@pytest.mark.parametrize("change", [b"longer than before", b"short", b"as long"])
def test_a_file_that_is_written_to_while_it_is_read_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"at once")
    os.utime(path, ns=(1, 1))
    read = os.read

    def interrupted(descriptor: int, count: int) -> bytes:
        content = read(descriptor, count)
        path.write_bytes(change)
        return content

    monkeypatch.setattr(os, "read", interrupted)
    with pytest.raises(Undecodable) as caught:
        content_of(str(path))
    assert caught.value.reason == "changed"


def test_a_disk_that_fails_is_no_finding_about_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, count: int) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "a.png").write_bytes(b"there")
    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(UserError, match=r"a\.png cannot be read: Input/output error"):
        inspect(str(tmp_path), Thresholds(), "a.png")


# -- the small picture and its figures


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_the_small_picture_has_the_aspect_of_the_image_and_64_pixels_where_it_can(
    width: int, height: int, kind: str
) -> None:
    seen = glance(encoded(Image.new("RGB", (width, height), "grey"), kind))
    assert seen.size == (width, height)
    small, short = seen.grey.shape, min(width, height)
    assert 64 <= min(small) < 128 if short >= 64 else small == (height, width)
    assert small in {(-(-height // scale), -(-width // scale)) for scale in range(1, 9)}


@pytest.mark.parametrize("size", [(2_000, 1_500), (5_000, 10)])
def test_the_small_picture_of_a_large_image_is_small(size: tuple[int, int]) -> None:
    for kind in ("JPEG", "PNG"):
        grey = glance(encoded(Image.new("RGB", size, "grey"), kind)).grey
        assert max(grey.shape) <= 4096 and min(grey.shape) < 128


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_small_picture_lies_as_the_decoded_image_does(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photograph(), kind, exif=exif)
    upright, seen = decode(content), glance(content)
    assert seen.size == upright.size
    shrunk = np.asarray(upright.convert("L").resize(seen.grey.shape[::-1], Image.Resampling.BOX)).astype(int)
    assert abs(shrunk - seen.grey).mean() < 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16", "CMYK", "F"])
def test_every_mode_gives_the_luma_of_the_decoded_image(mode: str) -> None:
    image = wide(mode) if mode in ("I;16", "F") else photograph().convert(mode)
    content = encoded(image, "TIFF" if mode in ("CMYK", "F") else "PNG")
    luma = np.asarray(decode(content).convert("L").reduce(2)).astype(int)
    assert abs(luma - glance(content).grey).max() <= 1


def test_large_images_are_converted_strip_by_strip_to_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(photograph(331, 305).convert("RGBA"))
    whole = glance(content).grey
    monkeypatch.setattr("components.data.glancing.STRIP", 3_000)
    assert (glance(content).grey == whole).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90))
def test_figures_are_those_of_the_definition(seed: int, height: int, width: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    square = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX)).astype(float) / 255
    counts = np.unique(square, return_counts=True)[1] / square.size
    edges = [square[y - 1, x] + square[y + 1, x] + square[y, x - 1] + square[y, x + 1] - 4 * square[y, x]
             for y in range(1, SIDE - 1) for x in range(1, SIDE - 1)]
    found = measure(grey)
    sharpness = float(np.std(edges) / square.std()) if square.std() else 0.0
    assert found == pytest.approx((square.mean(), square.std(), sharpness, -(counts * np.log2(counts)).sum()), abs=1e-6)


def test_figures_hardly_depend_on_the_resolution() -> None:
    large = photograph(1200, 960)
    figures = [measure(glance(encoded(large.resize(size, Image.Resampling.BOX), "JPEG", quality=95)).grey)
               for size in ((1200, 960), (600, 480), (150, 120))]
    for one in figures[1:]:
        assert one == pytest.approx(figures[0], rel=0.12)


def test_the_fingerprint_is_that_of_the_small_picture(tmp_path: Path) -> None:
    content = encoded(photograph(), "JPEG")
    assert seen(tmp_path, "a.jpg", content).fingerprint == fingerprint(glance(content).grey)


def test_images_up_to_the_limit_of_pixels_fit_into_the_memory_of_a_decoder(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5)
    Image.new("RGBA", (side, side), (10, 200, 30, 40)).save(tmp_path / "a.png", compress_level=1)
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(tmp_path / "b.jpg")
    rows = pd.DataFrame({"path": ["a.png", "b.jpg"]})
    found = inspect_all(tmp_path, rows, Thresholds(), Limits(), 1)
    assert [(fact.width, fact.height) for fact in found] == [(side, side)] * 2
    tight = inspect_all(tmp_path, rows, Thresholds(), Limits(memory_mb=64), 1)
    assert ["bomb" in reasons(fact) for fact in tight] == [True, False]
