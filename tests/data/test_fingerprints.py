"""Fingerprints outlive what copies go through and tell photographs apart; twins are those that all pairs would show."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imports import ROOT
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from components.data import fingerprints
from components.data.fingerprints import (
    LENGTH,
    MOST_SIGNS,
    SAME,
    clusters,
    fingerprint,
    signs,
    similar,
    similarity,
    twins,
)

REAL = ROOT.parent / "shared" / "data"
Grey = NDArray[np.uint8]


def cloud(seed: int, size: tuple[int, int] = (150, 110)) -> Image.Image:
    """A picture whose spectrum falls as that of photographs does."""
    rng = np.random.default_rng(seed)
    waves = np.add.outer(np.arange(20) ** 2, np.arange(20) ** 2) + 1.0
    small = np.zeros((20, 20))
    small += rng.normal(size=(20, 20)) / np.sqrt(waves)
    across, down = (np.cos(np.pi / n * np.outer(np.arange(n) + 0.5, np.arange(20))) for n in (size[0], size[1]))
    values = across @ small @ down.T
    values = 128 + 45 * (values - values.mean()) / values.std()
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")


def grey(image: Image.Image) -> Grey:
    return np.asarray(image.convert("L"))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def scaled(image: Image.Image, by: float) -> Image.Image:
    return image.resize((round(image.width * by), round(image.height * by)), Image.Resampling.BICUBIC)


def trimmed(image: Image.Image, share: float) -> Image.Image:
    left, top = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((left, top, image.width - left, image.height - top))


def are_twins(one: bytes, other: bytes) -> bool:
    """The rule itself, spelt out with whole numbers."""
    a, b = (np.frombuffer(x, np.int8).astype(int) for x in (one, other))
    differ = sum((x > 0) != (y > 0) for x, y in zip(a[:64], b[:64], strict=True))
    return differ <= MOST_SIGNS and bool(a @ b >= SAME * np.sqrt((a @ a) * (b @ b))) and bool(a.any() and b.any())


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg of quality 30": lambda image: jpeg(image, 30),
    "jpeg of quality 95": lambda image: jpeg(image, 95),
    "a quarter of the size": lambda image: scaled(image, 0.25),
    "twice the size": lambda image: scaled(image, 2),
    "a quarter of the size, quality 50": lambda image: jpeg(scaled(image, 0.25), 50),
    "squeezed to a square": lambda image: image.resize((96, 96)),
    "a fifth brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "a fifth darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast raised": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "gamma 0.7": lambda image: image.point([round(255 * (level / 255) ** 0.7) for level in range(256)] * 3),
    "gamma 1.3": lambda image: image.point([round(255 * (level / 255) ** 1.3) for level in range(256)] * 3),
    "without colour": lambda image: image.convert("L").convert("RGB"),
    "darker, half the size, quality 60":
        lambda image: jpeg(scaled(ImageEnhance.Brightness(image).enhance(0.9), 0.5), 60),
}


def test_a_fingerprint_is_the_weighted_lowest_frequencies_of_the_cosine_transform() -> None:
    pixels = grey(cloud(1))
    waves = dctn(pixels.astype(float), norm="ortho") / np.sqrt(pixels.size)
    order = sorted(((u, v) for u in range(16) for v in range(16) if u or v), key=lambda uv: (uv[0]**2 + uv[1]**2, uv))
    expected = np.array([waves[u, v] * np.hypot(u, v) for u, v in order[:LENGTH]])
    expected *= 127 / np.abs(expected).max()
    found = np.frombuffer(fingerprint(pixels), np.int8)
    assert np.abs(found - expected).max() <= 0.51 + 0.3  # rounding, and cosines as whole numbers


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_a_twin(change: str) -> None:
    for seed in range(6):
        picture = cloud(seed)
        assert are_twins(fingerprint(grey(picture)), fingerprint(grey(CHANGES[change](picture)))), seed


def test_different_pictures_their_mirror_images_and_quarter_turns_are_no_twins() -> None:
    pictures = [cloud(seed) for seed in range(8)]
    turned = [image.transpose(way) for image in pictures
              for way in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90)]
    assert twins([fingerprint(grey(image)) for image in pictures + turned]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3, 2), (64, 64), (5000, 8)])
def test_any_size_has_a_fingerprint_of_the_one_length(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    assert len(fingerprint(pixels)) == LENGTH


def test_pictures_of_almost_one_colour_have_no_twins_not_even_equal_ones() -> None:
    rng = np.random.default_rng(0)
    flat = [np.full((80, 60), level, np.uint8) for level in (0, 200, 200, 255)]
    noisy = [(128 + rng.integers(-1, 2, (80, 60))).astype(np.uint8) for _ in range(2)]
    prints = [fingerprint(pixels) for pixels in flat + noisy]
    assert prints == [bytes(LENGTH)] * 6
    assert twins([*prints, b""]) == []
    assert clusters(prints, []) == list(range(6))


def test_similarity_is_the_cosine() -> None:
    one, other = fingerprint(grey(cloud(1))), fingerprint(grey(cloud(2)))
    a, b = (np.frombuffer(x, np.int8).astype(float) for x in (one, other))
    assert similarity(one, other) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert similarity(one, one) == pytest.approx(1.0)
    assert similarity(one, bytes(LENGTH)) == 0.0


@st.composite
def prints(draw: st.DrawFn) -> list[bytes]:
    """Fingerprints of which some are near others, nearer or farther than the rule allows, some equal, some empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table = [rng.integers(-127, 128, LENGTH)]
    for spread in draw(st.lists(st.sampled_from([0, 20, 30, 40, 50, 200]), max_size=14)):
        base = table[int(rng.integers(len(table)))]
        table.append(np.clip(base + rng.integers(-spread, spread + 1, LENGTH), -127, 127))
    empty = draw(st.integers(0, 2))
    return [row.astype(np.int8).tobytes() for row in table] + [bytes(LENGTH)] * empty


@settings(max_examples=60)
@given(prints())
def test_twins_are_those_that_the_rule_finds_among_all_pairs(found: list[bytes]) -> None:
    expected = [(i, j) for i, j in itertools.combinations(range(len(found)), 2) if are_twins(found[i], found[j])]
    assert twins(found) == expected


def components_of(count: int, pairs: list[tuple[int, int]]) -> set[frozenset[int]]:
    """Connected components, grown one by one."""
    left, parts = set(range(count)), set()
    while left:
        part = {left.pop()}
        while more := {j for pair in pairs for i, j in (pair, pair[::-1]) if i in part} - part:
            part |= more
        left -= part
        parts.add(frozenset(part))
    return parts


def partition(labels: list[int]) -> set[frozenset[int]]:
    return {frozenset(row for row, label in enumerate(labels) if label == one) for one in set(labels)}


@settings(max_examples=60)
@given(prints(), st.randoms(use_true_random=False))
def test_clusters_hold_whole_twins_and_no_order_of_rows_changes_them(found: list[bytes], random) -> None:  # type: ignore[no-untyped-def]
    pairs = twins(found)
    parts = partition(labels := clusters(found, pairs))
    assert all(labels[label] == label == min(part) for part in parts for label in {labels[row] for row in part})
    whole = components_of(len(found), pairs)
    assert all(any(part <= component for component in whole) for part in parts)
    order = list(range(len(found)))
    random.shuffle(order)
    mixed = [found[row] for row in order]
    again = twins(mixed)
    assert {frozenset((order[i], order[j])) for i, j in again} == {frozenset(pair) for pair in pairs}
    texts = {frozenset(found[row] for row in part) for part in parts}
    assert {frozenset(mixed[row] for row in part) for part in partition(clusters(mixed, again))} == texts


def test_a_chain_of_pictures_that_turn_slowly_into_others_is_cut_and_a_triple_is_not() -> None:
    rng = np.random.default_rng(3)
    start, end = rng.normal(size=(2, LENGTH))
    angles = np.linspace(0, np.pi / 2, 14)
    film = [np.rint(40 * (np.cos(angle) * start + np.sin(angle) * end)).clip(-127, 127).astype(np.int8).tobytes()
            for angle in angles]
    pairs = twins(film)
    assert all((i, i + 1) in pairs for i in range(13))
    parts = partition(clusters(film, pairs))
    assert len(parts) > 1
    assert all(similarity(film[min(part)], film[max(part)]) > 0.5 for part in parts)
    assert partition(clusters(film[:3], twins(film[:3]))) == {frozenset(range(3))}


def test_many_are_searched_by_bands_and_none_is_missed() -> None:
    rng = np.random.default_rng(4)
    table = rng.integers(-127, 128, (fingerprints.CROWD + 1000, LENGTH)).astype(np.int8)
    base = table[:400].astype(int)
    table[-400:] = np.clip(base + rng.integers(-36, 37, base.shape), -127, 127)
    words = signs(table)
    expected = []
    floats = table.astype(np.float32)
    floats /= np.linalg.norm(floats, axis=1, keepdims=True)
    for row in range(len(table) - 1):
        near = row + 1 + np.flatnonzero(np.bitwise_count(words[row + 1:] ^ words[row]) <= MOST_SIGNS)
        expected += [(row, int(other)) for other in near if floats[row] @ floats[other] >= SAME]
    assert len(expected) > 200
    assert [tuple(pair) for pair in similar(table).tolist()] == expected


def test_a_crowd_costs_no_quadratic_number_of_pairs_and_stays_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "CROWD", 100)
    monkeypatch.setattr(fingerprints, "CLOSE", 4)
    rng = np.random.default_rng(5)
    base = rng.integers(-100, 101, LENGTH)
    crowd = [np.clip(base + rng.integers(-3, 4, LENGTH), -127, 127).astype(np.int8).tobytes() for _ in range(400)]
    crowd += [crowd[0]] * 50
    pairs = twins(crowd)
    assert 450 <= len(pairs) < 450 * 80
    assert len(set(clusters(crowd, pairs))) == 1


def real(folder: str, count: int) -> list[Path]:
    found = sorted((REAL / folder).rglob("*.jpg"))
    if not found:
        pytest.skip(f"needs the photographs of {REAL / folder}")
    return found[:: max(1, len(found) // count)]


def small(path: Path) -> Image.Image:
    image = Image.open(path)
    image.draft("RGB", (128, 128))
    return image.convert("RGB")


def test_of_real_photographs_changed_copies_are_found_and_nothing_else() -> None:
    pictures = [small(path) for path in real("clothing", 160)]
    prints = [fingerprint(grey(image)) for image in pictures]
    assert twins(prints) == []
    for name, change in CHANGES.items():
        copies = [fingerprint(grey(change(image))) for image in pictures]
        found = set(twins(prints + copies)) - set(twins(copies))
        hits = [(row, row + len(prints)) in found for row in range(len(prints))]
        assert np.mean(hits) >= (1.0 if "quality" in name else 0.98), name
        assert len(found) == sum(hits), name


def test_crops_of_two_percent_are_mostly_found() -> None:
    pictures = [small(path) for path in real("clothing", 160)]
    hits = [are_twins(fingerprint(grey(image)), fingerprint(grey(trimmed(image, 0.02)))) for image in pictures]
    assert np.mean(hits) > 0.9
