"""Rows a second of `components.data.fingerprints.twins` against two peers that look for words of signs within the same
distance: scikit-learn's BallTree (Hamming), and NumPy's popcount over all pairs. One in ten rows is a near copy.

The peers take each row against all others and no second look at what they find; of so many rows that this would take
hours, a sample is timed (the tree whole, its queries by 50 rows; all pairs by 500 rows) and scaled up.
`strangers` are as random as can be; `alike` are photographs from 300 studios, those of one studio 0.7 similar.

    python benchmarks/near_duplicates.py [ROWS ...]
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import BallTree

from components.data.fingerprints import LENGTH, MOST_SIGNS, SIGNS, signs, twins

ROUNDS = 3
STUDIOS = 300
Table = NDArray[np.int8]


def made(rows: int, alike: bool) -> Table:
    """Fingerprints int8 [rows, 128], the last tenth near copies of the first."""
    rng = np.random.default_rng(7)
    table = rng.normal(size=(rows, LENGTH)).astype(np.float32)
    if alike:
        studios = rng.normal(size=(STUDIOS, LENGTH)).astype(np.float32)
        table = 0.3**0.5 * table + 0.7**0.5 * studios[rng.integers(0, STUDIOS, rows)]
    copies = rows // 10
    table[-copies:] = table[:copies] + rng.normal(0, 0.1, (copies, LENGTH)).astype(np.float32)
    return np.rint(table * (127 / np.abs(table).max(axis=1, keepdims=True))).astype(np.int8)


def seconds(work: Callable[..., object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ball_tree(table: Table, queries: int = 50) -> float:
    """Seconds to build the tree and ask it for the neighbours of every row, the latter scaled up."""
    bits = (table[:, :SIGNS] > 0).astype(np.float64)
    start = time.perf_counter()
    tree = BallTree(bits, metric="hamming")
    built = time.perf_counter() - start
    rows = bits[:: len(bits) // queries][:queries]
    return built + seconds(lambda: tree.query_radius(rows, (MOST_SIGNS + 0.5) / SIGNS)) * len(bits) / len(rows)


def all_pairs(table: Table, queries: int = 500) -> float:
    """Seconds to compare every row with all after it, scaled up."""
    words = signs(table)
    rows = words[:: len(words) // queries][:queries]

    def compare() -> None:
        for word in rows:
            np.flatnonzero(np.bitwise_count(words ^ word) <= MOST_SIGNS)

    return seconds(compare) * len(words) / len(rows) / 2


def main() -> None:
    """Print rows a second and the ratios, the median of rounds in which the three take turns."""
    for rows in [int(text) for text in sys.argv[1:]] or [100_000, 1_000_000]:
        for kind in ("strangers", "alike"):
            table = made(rows, kind == "alike")
            prints = [row.tobytes() for row in table]
            found = len(twins(prints))
            times = np.array([[seconds(lambda given=prints: twins(given)), ball_tree(table), all_pairs(table)]
                              for _ in range(ROUNDS if rows <= 100_000 else 1)])
            ours, tree, pairs = np.median(times, axis=0)
            tree_ratio, pairs_ratio = np.median(times[:, 1:] / times[:, :1], axis=0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"{rows:,} {kind}: {found:,} pairs in {ours:.1f} s, {rows / ours:,.0f} rows/s; "
                  f"BallTree / twins = {tree_ratio:.0f} ({tree:,.0f} s), all pairs / twins = {pairs_ratio:.1f} "
                  f"({pairs:,.0f} s); peak memory of the process {peak:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
