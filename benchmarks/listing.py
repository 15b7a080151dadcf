"""What it costs to list a folder of images, against os.walk with a stat of every file, interleaved in one run.

    python benchmarks/listing.py [FILES]

FILES empty files (default 100,000) are made below a temporary folder as train/CLASS/*, 100 classes.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from components.data.reading import read_listing
from components.data.settings import Data

ROUNDS = 5


def plant(root: Path, count: int) -> None:
    """Empty files with the names of images, in three splits of a hundred classes."""
    for number in range(count):
        folder = root / ("train", "val", "test")[number % 10 % 3] / f"class{number % 100:03d}"
        if number < 1000:
            folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(folder / f"image{number:08d}.jpg", os.O_CREAT | os.O_WRONLY))


def walk_and_stat(root: Path) -> int:
    """The number of files, each looked at once."""
    return sum(os.stat(os.path.join(parent, name)).st_size == 0  # noqa: PTH116, PTH118 - the peer, at its fastest
               for parent, _, names in os.walk(root) for name in names)


def table(root: Path) -> Path:
    """A labels.csv of every file, in a folder of its own."""
    rows = read_listing(root, Data()).rows
    folder = root.parent / "table"
    folder.mkdir()
    rows[["path", "split", "label"]].to_csv(folder / "images.csv", index=False)
    return folder / "images.csv"


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print the medians and their ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "raw"
        plant(root, count)
        manifest = table(root)
        kinds: dict[str, Callable[[], object]] = {
            "os.walk + os.stat": lambda: walk_and_stat(root),
            "listing of folders": lambda: read_listing(root, Data()),
            "listing of a manifest": lambda: read_listing(manifest, Data(root=str(root))),
        }
        times = {name: [] for name in kinds}  # type: dict[str, list[float]]
        for _ in range(ROUNDS):
            for name, work in kinds.items():
                times[name].append(seconds(work))
    base = statistics.median(times["os.walk + os.stat"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:<22} {middle * 1e6 / count:6.1f} us a file, {middle / base:5.2f} of os.walk + os.stat")


if __name__ == "__main__":
    main()
