"""What dataset.json says a data set is like, recomputed picture by picture, and by other libraries."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from garments import drawn, indexed, validated
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.dataset import Dataset
from components.data.drift import PSI, Distance, frechet, pictures_apart, stability
from components.data.embedding import CELLS, DIRECTIONS, GRID, SHARPEST, WIDTH, Spread, embedded, total
from components.data.statistics import (
    EDGES,
    QUANTILES,
    cramers_v,
    histogram,
    histograms_of,
    pictures,
    quantiles,
    spreads_of,
    statistics,
    together,
)
from components.data.tasks import Task


def noise(count: int, height: int, width: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(-(-height // 4), axis=1).repeat(-(-width // 4), axis=2)
    fine = coarse[:, :height, :width] + rng.integers(-20, 21, (count, height, width, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


def described_by_hand(picture: Any) -> list[int]:
    """One embedding, pixel by pixel."""
    height, width = (-(-side // -(-side // 96)) for side in picture.shape[:2])
    picture = picture[:: -(-picture.shape[0] // 96), :: -(-picture.shape[1] // 96)].tolist()

    def span(cell: int, side: int) -> range:
        first = min(cell * side // GRID, side - 1)
        return range(first, max((cell + 1) * side // GRID, first + 1))

    def mean(row: int, column: int, channel: int) -> int:
        values = [picture[y][x][channel] for y in span(row, height) for x in span(column, width)]
        return sum(values) // len(values)

    grid = [[[mean(row, column, channel) for channel in range(3)] for column in range(GRID)] for row in range(GRID)]
    part = GRID // CELLS
    found = [sum(grid[row][column][channel] for row in range(top * part, top * part + part)
                 for column in range(left * part, left * part + part)) // part**2
             for top in range(CELLS) for left in range(CELLS) for channel in range(3)]
    luma = [[(77 * r + 150 * g + 29 * b) // 256 for r, g, b in line] for line in grid]
    edges = [0] * DIRECTIONS
    for row in range(1, GRID - 1):
        for column in range(1, GRID - 1):
            across = luma[row][column + 1] - luma[row][column - 1]
            down = luma[row + 1][column] - luma[row - 1][column]
            slope = 12 / 29  # the tangent of an eighth of a right angle's half, nearly
            steep = abs(down) / abs(across) if across else math.inf
            eighth = sum(steep >= bound for bound in (slope, 1 + 1e-9, 1 / slope + 1e-9))
            edges[7 - eighth if (across < 0) != (down < 0) else eighth] += abs(across) + abs(down)
    return [*found, *(min(255, edge * 256 // (SHARPEST * (GRID - 2) ** 2)) for edge in edges)]


@pytest.mark.parametrize(("height", "width"), [(24, 24), (7, 5), (1, 1), (50, 31), (100, 64), (193, 96)])
def test_an_embedding_is_what_a_plain_loop_finds(height: int, width: int) -> None:
    shown = noise(3, height, width)
    assert embedded(shown).tolist() == [described_by_hand(picture) for picture in shown]
    assert embedded(shown).shape == (3, WIDTH)


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_edges_are_counted_in_the_direction_that_they_have(degrees: int) -> None:
    y, x = np.mgrid[:72, :72]
    wave = np.cos((x * np.cos(np.deg2rad(degrees)) + y * np.sin(np.deg2rad(degrees))) / 6)
    shown = np.repeat((128 + 100 * wave)[None, :, :, None], 3, axis=3).astype(np.uint8)
    edges = embedded(shown)[0, -DIRECTIONS:]
    middles = (np.arange(DIRECTIONS) + 0.5) * 22.5
    apart = np.minimum(abs(middles - degrees), 180 - abs(middles - degrees))
    assert apart[int(edges.argmax())] <= 22.5


def test_a_spread_is_the_mean_and_the_covariance_exactly_however_it_was_added_up() -> None:
    table = embedded(noise(90, 30, 30))
    whole = Spread.of(table)
    parts = total([Spread.of(table[first : first + 7]) for first in range(0, 90, 7)])
    assert (parts.count, parts.sums.tolist(), parts.products.tolist()) == (
        90, whole.sums.tolist(), whole.products.tolist())
    np.testing.assert_allclose(whole.mean(), table.mean(axis=0))
    np.testing.assert_allclose(whole.covariance(), np.cov(table.T, bias=True), atol=1e-8)
    again = Spread.from_json(whole.to_json())
    assert (again.products == whole.products).all() and (again.sums == whole.sums).all() and again.count == 90


def test_the_distance_of_pictures_is_the_formula_with_a_general_square_root() -> None:
    from scipy.linalg import sqrtm

    one, other = embedded(noise(200, 24, 24)), embedded(noise(150, 24, 24, 1) // 2)
    first, second = np.cov(one.T, bias=True), np.cov(other.T, bias=True)
    apart = one.mean(axis=0) - other.mean(axis=0)
    expected = apart @ apart + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(Spread.of(one), Spread.of(other)) == pytest.approx(expected, rel=1e-4)
    assert frechet(Spread.of(one), Spread.of(one)) == pytest.approx(0, abs=1e-6)


def test_pictures_of_one_kind_are_within_chance_and_darker_ones_are_not() -> None:
    def halves(shown: Any) -> list[Spread]:
        return [Spread.of(embedded(shown[part::2])) for part in range(2)]

    old, new = halves(noise(300, 24, 24)), halves(noise(240, 24, 24, 1))
    assert pictures_apart(old, new).verdict((0.05, 0.25)) == "none"
    dark = pictures_apart(old, halves((noise(240, 24, 24, 1) * 0.6).astype(np.uint8)))
    assert dark.verdict((0.05, 0.25)) == "major"
    assert pictures_apart(old, halves(noise(2, 24, 24)[:0])) == Distance(0.0, 0.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=2, max_size=12))
def test_the_stability_index_is_both_relative_entropies(cells: list[tuple[int, int]]) -> None:
    from scipy.special import rel_entr

    old, new = (np.array(side, float) for side in zip(*cells, strict=True))
    found = stability(*zip(*cells, strict=True))
    assert found.figure >= 0
    kept = (old + new) > 0
    if kept.sum() < 2 or not old.any() or not new.any():
        assert found == Distance(0.0, 0.0)
        return
    p, q = ((side[kept] + 0.5) / (side[kept] + 0.5).sum() for side in (old, new))
    assert found.figure == pytest.approx((rel_entr(p, q) + rel_entr(q, p)).sum())


def test_chance_alone_hardly_ever_exceeds_what_is_said_of_it() -> None:
    from scipy.stats import chi2

    rng = np.random.default_rng(0)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    pairs = [(rng.multinomial(200, shares), rng.multinomial(120, shares)) for _ in range(2000)]
    found = [stability(old.tolist(), new.tolist()) for old, new in pairs]
    assert found[0].chance == pytest.approx(chi2.ppf(0.999, 3) * (1 / 200 + 1 / 120), rel=0.02)
    assert np.mean([one.figure > one.chance for one in found]) < 0.004
    assert 2.5 < np.mean([one.figure / (1 / 200 + 1 / 120) for one in found]) < 3.5  # the mean of chi-squared of 3


@pytest.mark.parametrize(("figure", "chance", "verdict"), [
    (0.1, 0.0, "none"), (0.11, 0.0, "minor"), (0.25, 0.0, "minor"), (0.26, 0.0, "major"), (0.26, 0.3, "none"),
    (0.0, 0.0, "none"), (5.0, math.inf, "none")])
def test_a_verdict_needs_more_than_the_bound_and_more_than_chance(figure: float, chance: float, verdict: str) -> None:
    assert Distance(figure, chance).verdict(PSI) == verdict


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.floats(-1, 10), st.just(math.nan)), max_size=50), st.sampled_from(sorted(EDGES)))
def test_histograms_and_quantiles_are_those_of_numpy(values: list[float], name: str) -> None:
    array = np.array(values, np.float64)
    known = array[~np.isnan(array)]
    bounds = np.array([-np.inf, *EDGES[name], np.inf])
    assert histogram(name, array).tolist() == np.histogram(known, bounds)[0].tolist()
    expected = np.quantile(known, QUANTILES, method="lower") if len(known) else []
    np.testing.assert_allclose(quantiles(array), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_cramers_v_is_that_of_scipy(seed: int) -> None:
    from scipy.stats.contingency import association

    table = np.random.default_rng(seed).integers(1, 30, (3, 4))
    assert cramers_v(table) == pytest.approx(association(table, method="cramer"), abs=1e-6)
    padded = np.pad(table, ((0, 1), (1, 0)))
    assert cramers_v(padded) == cramers_v(table)
    assert cramers_v(table[:1]) is None


def test_labels_of_two_tasks_are_counted_together() -> None:
    table = pd.DataFrame({"one": ["a", "a", "b", "", "b"], "tags": ["x|y", "x", "", "y", "y"]})
    one, tags = Task("one", "single", ("a", "b")), Task("tags", "multi", ("x", "y"))
    assert together(table, one, tags)["counts"] == {"a": {"x": 2, "y": 1}, "b": {"y": 1}}
    plain = pd.DataFrame({"one": list("aabbab"), "other": list("xyxyxx")})
    counted = together(plain, one, Task("other", "single", ("x", "y")))["counts"]
    assert counted == pd.crosstab(plain["one"], plain["other"]).T.to_dict()


def test_halves_by_content_add_up_and_blocks_change_nothing() -> None:
    table = embedded(noise(60, 20, 20))
    samples = pd.DataFrame({"sha256": [hashlib.sha256(bytes([number])).hexdigest() for number in range(60)],
                            "split": ["train"] * 40 + ["val"] * 15 + ["test"] * 5})
    ways = [pictures(samples, [table[first : first + length] for first in range(0, 60, length)])
            for length in (1, 7, 32, 60)]
    assert ways[0] == ways[1] == ways[2] == ways[3]
    spreads = spreads_of({"statistics": {"pictures": ways[0]}})
    assert total(spreads["train"]).to_json() == Spread.of(table[:40]).to_json()
    odd = [row for row in range(40, 55) if int(samples["sha256"][row], 16) % 2]
    assert spreads["val"][1].to_json() == Spread.of(table[odd]).to_json()


def test_a_data_set_carries_statistics_of_its_own_pixels(tmp_path: Path) -> None:
    validated(tmp_path, drawn())
    indexed(tmp_path, drawn())
    dataset = Dataset.open(tmp_path / "dataset")
    known = dataset.head["statistics"]
    spreads = spreads_of(dataset.head)
    for split in ("train", "val", "test"):
        table = embedded(dataset.pixels(dataset.rows(split)))
        assert total(spreads[split]).to_json() == Spread.of(table).to_json()
        for name, by_split in histograms_of(dataset.head).items():
            assert sum(by_split[split]) == len(table), name
    assert known["quantiles"]["short_side"] == [40.0] * 7
    pattern = dataset.samples["pattern"]
    assert known["labelled"]["pattern"]["train"] == ((dataset.samples["split"] == "train") & (pattern >= 0)).sum()
    assert set(known["together"]) == {"category x colour", "category x pattern", "colour x pattern"}


def test_statistics_need_no_measures(tmp_path: Path) -> None:
    samples = pd.DataFrame({"id": ["0" * 64, "1" * 64], "split": ["train", "val"], "width": [40, 60],
                            "height": [20, 20], "kind": ["a", ""]})
    found = statistics(samples, [Task("kind", "single", ("a",))], [embedded(noise(2, 8, 8))])
    assert found["labelled"] == {"kind": {"train": 1, "val": 0, "test": 0}}
    assert sorted(found["quantiles"]) == ["aspect", "short_side"]
    assert found["quantiles"]["aspect"][0] == 2.0
    assert found["together"] == {}
