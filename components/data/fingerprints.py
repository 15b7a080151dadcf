"""Telling that two files show the same picture: a fingerprint that outlives resizing, recompression and light changes.

A fingerprint holds the 128 lowest frequencies of the picture's discrete cosine transform (type II, see
https://en.wikipedia.org/wiki/Discrete_cosine_transform), each weighted by its frequency, since the spectrum of
photographs falls with it and two garments on the same floor differ in what is fine. Both sides count as one, so that a
picture squeezed to another aspect is still itself. Two pictures are twins where at most 9 of the 64 signs of their
lowest frequencies differ and the cosine of the angle between their fingerprints is at least 0.95.

Of 4,725 photographs of clothes, many of one studio and one cut, the most alike two that differ reach 0.952 with 12
signs apart; copies at a quarter of the size and JPEG quality 30 reach at least 0.966. A crop of 2 % of both sides is
mostly found, one of 5 % is not, nor is a picture that was given a frame.

It sees brightness only: one pattern in two colours of equal brightness is one picture. A mirror image is another
picture (the left and the right side of a thing are not the same), and so is one turned by 90 degrees. Pictures of
almost one colour have no fingerprint worth comparing and no twins.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.int64]
Words = NDArray[np.uint64]

LENGTH = 128
SIDE = 16  # frequencies a side, of which the lowest in both directions together are kept
SIGNS = 64
MOST_SIGNS = 9  # that may differ
SAME = 0.95  # cosine
LOOSE = 0.85  # cosine of the middles of two clusters that are still joined
FLAT = 1.0  # grey levels of standard deviation, below which a picture shows nothing
LONGEST = 1024  # pixels of a side that are looked at
BANDS = 5  # MOST_SIGNS // BANDS = 1: pictures that are near enough differ by one sign at most in some band
CROWD = 8192
CLOSE = 64
ROWS = 64

_LOWEST = sorted((u * u + v * v, u, v) for u in range(SIDE) for v in range(SIDE) if u or v)[:LENGTH]
_U, _V = np.array(_LOWEST).T[1:]
_SCALE = np.sqrt(2.0) ** ((_U > 0).astype(int) + (_V > 0))  # makes the transform orthonormal
_WEIGHT = np.hypot(_U, _V)
# Neighbouring frequencies are alike, so each band takes its signs from all over the spectrum.
_SIGN_ORDER = np.concatenate([np.arange(band, SIGNS, BANDS) for band in range(BANDS)])
_WIDTHS = [len(range(band, SIGNS, BANDS)) for band in range(BANDS)]


@lru_cache(maxsize=512)
def _cosines(size: int) -> tuple[NDArray[np.float32], int]:
    """The cosines of a transform [SIDE, size] as whole numbers, and how many stand for 1.

    Their products with 8-bit pixels add up exactly in float32, so that no library or thread count changes a bit.
    """
    one = (2**24 - 1) // (128 * size)
    angles = np.pi / size * np.outer(np.arange(SIDE), np.arange(size) + 0.5)
    return np.rint(one * np.cos(angles)).astype(np.float32), one


def fingerprint(grey: NDArray[np.uint8]) -> bytes:
    """128 signed bytes that stand for a picture uint8 [h, w]; all of them 0 where it is of almost one colour."""
    step = -(-max(grey.shape) // LONGEST)
    pixels = np.subtract(grey[::step, ::step], 128, dtype=np.float32)
    (down, one_down), (across, one_across) = _cosines(pixels.shape[0]), _cosines(pixels.shape[1])
    table = (down @ pixels).astype(np.float64) @ across.T.astype(np.float64)
    waves = table[_U, _V] * _SCALE / (float(one_down * one_across) * pixels.size)
    if float(waves @ waves) < FLAT**2:
        return bytes(LENGTH)
    waves *= _WEIGHT
    whole: NDArray[np.int8] = np.rint(waves * (127.0 / np.abs(waves).max())).astype(np.int8)
    return whole.tobytes()


def similarity(one: bytes, other: bytes) -> float:
    """Cosine of the angle between two fingerprints, -1 to 1; 0 where one has nothing to compare."""
    rows = _table([one, other])
    return float(_cosine(rows, np.array([[0, 1]]))[0])


def twins(fingerprints: Sequence[bytes]) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of rows that show the same picture, sorted.

    The time is that of comparing all words of 64 signs that share one of five bands but for one sign: about one pair
    in a hundred. Crowds are never worked off by all their pairs: of more than 8,192 pictures that share a band each is
    compared with the 8,192 that follow it in the order of their signs, and more closely with the first 64 that are
    near it; of more than 64 equal fingerprints each is paired with the 64 that follow it. So of a crowd some pairs go
    unnamed, while it hangs together by the others. Memory: about 1 KB a row.
    """
    table = _table(fingerprints)
    distinct, group = np.unique(table.view(f"V{LENGTH}").ravel(), return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct) + 1))
    pairs = [*_equals(order, group), *_spread(similar(distinct.view(np.int8).reshape(-1, LENGTH)), order, starts)]
    found = _unique(np.concatenate([np.zeros((0, 2), np.int64), *pairs]), len(table))
    return list(zip(*found[table[found[:, 0]].any(axis=1)].T.tolist(), strict=True))


def _equals(order: NDArray[np.int64], group: NDArray[np.int64]) -> Iterator[Pairs]:
    """Pairs of rows of one group, each row with the CLOSE that follow it; order: the rows, group by group."""
    for step in range(1, min(CLOSE + 1, len(order))):
        here = np.flatnonzero(group[order[:-step]] == group[order[step:]])
        if not len(here):
            return
        yield np.stack([order[here], order[here + step]], axis=1)


def _spread(pairs: Pairs, order: NDArray[np.int64], starts: NDArray[np.int64]) -> Iterator[Pairs]:
    """Pairs of rows for pairs of groups, of each its first CLOSE rows. starts: of the groups in order, [G + 1]."""
    sizes = np.diff(starts)
    single = (sizes[pairs] == 1).all(axis=1)
    yield order[starts[pairs[single]]]
    for one, other in pairs[~single].tolist():
        rows, others = (order[starts[number] : starts[number + 1]][:CLOSE] for number in (one, other))
        yield np.stack([np.repeat(rows, len(others)), np.tile(others, len(rows))], axis=1)


def _unique(pairs: Pairs, count: int) -> Pairs:
    """Pairs of different rows out of `count`, each once, the smaller row first, sorted."""
    codes = np.sort(pairs.min(axis=1) * count + pairs.max(axis=1))
    first = np.diff(codes, prepend=-1) > 0
    return np.stack(np.divmod(codes[first], max(count, 1)), axis=1)


def clusters(fingerprints: Sequence[bytes], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The cluster of every row: the number of its first row.

    Twins are joined, the most alike first, and what is joined to one of them, with it. A chain in which each picture
    is like the next and the ends are not (a film) is cut: two clusters are joined only where the pictures in their
    middles (the oldest of the larger cluster stays the middle) are alike to 0.85. Twins on both sides of such a cut
    stay twins. The order of rows changes nothing but the numbers.
    """
    table = _table(fingerprints)
    middle, sets = list(range(len(table))), {row: [row] for row in range(len(table))}
    for pair in _most_alike_first(fingerprints, pairs):
        one, other = (middle[row] for row in pair)
        if one != other and _cosine(table, np.array([[one, other]]))[0] >= LOOSE:
            kept, lost = sorted((one, other), key=lambda row: (-len(sets[row]), fingerprints[row], row))
            for row in sets[lost]:
                middle[row] = kept
            sets[kept] += sets.pop(lost)
    firsts = {row: min(rows) for row, rows in sets.items()}
    return [firsts[row] for row in middle]


def _most_alike_first(fingerprints: Sequence[bytes], pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs by falling similarity, those of the same by their fingerprints: an order that no order of rows changes."""
    likeness = _cosine(_table(fingerprints), np.array(pairs, np.int64).reshape(-1, 2)).tolist()
    keys = [(-like, *sorted((fingerprints[i], fingerprints[j])), (i, j))
            for like, (i, j) in zip(likeness, pairs, strict=True)]
    return [key[-1] for key in sorted(keys)]


def similar(table: NDArray[np.int8]) -> Pairs:
    """Pairs (i < j) of twins among different fingerprints int8 [N, 128], int64 [n, 2], sorted."""
    shown = np.flatnonzero(table.any(axis=1))
    words = signs(table[shown])
    kept = [np.zeros((0, 2), np.int64)]
    for candidates in _candidates(words):
        pairs = shown[candidates]
        kept.append(pairs[_cosine(table, pairs) >= SAME])
    return _unique(np.concatenate(kept), len(table))


def signs(table: NDArray[np.int8]) -> Words:
    """The signs of the 64 lowest frequencies of fingerprints int8 [N, 128], as bits of uint64 [N]."""
    packed = np.packbits(table[:, _SIGN_ORDER] > 0, axis=1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8").ravel().astype(np.uint64)


def _candidates(words: Words) -> Iterator[Pairs]:
    """Pairs of rows whose words differ by at most MOST_SIGNS bits, each at least once."""
    if len(words) <= CROWD:
        yield from _near(words, np.argsort(words, kind="stable"), len(words))
        return
    shift = 0
    for width in _WIDTHS:
        values = (words >> np.uint64(shift)).astype(np.int64) & ((1 << width) - 1)
        shift += width
        order = np.lexsort((words, values))
        starts = np.searchsorted(values[order], np.arange((1 << width) + 1))
        for value in np.unique(values).tolist():
            beside = [value ^ (1 << bit) for bit in range(width) if not value >> bit & 1]  # larger: each pair once
            buckets = [order[starts[one] : starts[one + 1]] for one in (value, *beside)]
            yield from _near(words, np.concatenate(buckets), len(buckets[0]))


def _near(words: Words, rows: Pairs, count: int) -> Iterator[Pairs]:
    """Pairs of near words of which the first is one of the first `count` rows and the second follows it."""
    held = words[rows]
    for start in range(0, count, ROWS):
        stop = min(start + ROWS, count)
        window = held[start : start + CROWD]
        hits = np.bitwise_count(held[start:stop, None] ^ window[None, :]) <= MOST_SIGNS
        hits[:, : stop - start] &= np.triu(np.ones((stop - start, stop - start), bool), 1)[:, : len(window)]
        for row in np.flatnonzero(np.count_nonzero(hits, axis=1) > CLOSE):
            hits[row, np.flatnonzero(hits[row])[CLOSE]:] = False
        first, second = np.nonzero(hits)
        if len(first):
            yield np.stack([rows[start + first], rows[start + second]], axis=1)


def _cosine(table: NDArray[np.int8], pairs: Pairs) -> NDArray[np.float64]:
    """Cosines of pairs [n, 2] of rows, float64 [n]; whole numbers until the last division."""
    result = np.zeros(len(pairs))
    for start in range(0, len(pairs), CROWD):
        one, other = (table[pairs[start : start + CROWD, side]].astype(np.float32) for side in (0, 1))
        dots, lengths = np.einsum("ij,ij->i", one, other), [np.einsum("ij,ij->i", x, x) for x in (one, other)]
        product = np.sqrt(lengths[0].astype(np.float64) * lengths[1].astype(np.float64))
        result[start : start + CROWD] = dots / np.maximum(product, 1.0)
    return result


def _table(fingerprints: Sequence[bytes]) -> NDArray[np.int8]:
    """Fingerprints as int8 [N, 128]; one that is missing is all 0."""
    whole = b"".join(one or bytes(LENGTH) for one in fingerprints)
    return np.frombuffer(whole, np.int8).reshape(-1, LENGTH)
