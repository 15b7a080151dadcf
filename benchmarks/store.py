"""Rows a second and bytes of a store of the likeliest 10 of 1,000 classes against a text file of every class with two
decimals (`path,p0,p1,...`, what system 002 keeps), read the way it reads them, and against dense half precision; the
cases in turn, ratios of each turn. A store is opened and hashed anew in every turn.

    python benchmarks/store.py [--rows 10000] [--rounds 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components import process
from components.data.tasks import Task
from components.probabilities.planning import Subject, predicted_bytes
from components.probabilities.store import Store
from components.probabilities.writing import StoreWriter

CLASSES, K, BATCH = 1000, 10, 128
TASK = Task("kind", "single", tuple(f"class {number}" for number in range(CLASSES)))


def said(rows: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, 1, classes] of a sharp model."""
    logits = np.random.default_rng(int(rows[0])).normal(size=(len(rows), 1, CLASSES)) * 3
    logits[np.arange(len(rows)), 0, rows % CLASSES] += 12
    return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))


def write_store(folder: Path, count: int, k: int) -> Path:
    """A store of one view."""
    ids = np.random.default_rng(0).integers(0, 256, (count, 32), np.uint8)
    head = {"tasks": [TASK.to_json()], "sources": ["deep"], "views": [0], "k": k}
    writer = StoreWriter(folder, head, ids)
    for shard in writer.unwritten("deep"):
        writer.put("deep", "kind", shard, said(writer.rows_of(shard)))
    writer.finish()
    return folder


def write_text(path: Path, store: Store, count: int) -> Path:
    """The same probabilities as text."""
    with path.open("w") as stream:
        for start in range(0, count, 1000):
            rows = np.arange(start, min(start + 1000, count))
            for row, values in zip(rows, np.exp(store.log_probabilities("deep", "kind", rows)[:, 0]), strict=True):
                stream.write(f"./data/train/image{row:08d}.jpg," + ",".join(f"{value:.2f}" for value in values) + "\n")
    return path


def read_text(path: Path) -> int:
    """Every line into a list of floats by path, as a data set that learns from such a file has to at its start."""
    table = {}
    with path.open() as stream:
        for line in stream:
            name, *values = line.split(",")
            table[name] = np.array([float(value) for value in values], np.float32)
    return len(table)


def read_text_fast(path: Path) -> int:
    """The same, parsed by numpy."""
    table = {}
    with path.open() as stream:
        for line in stream:
            name, _, values = line.partition(",")
            table[name] = np.fromstring(values, np.float32, sep=",")
    return len(table)


def read_kept(path: Path, order: np.ndarray) -> int:
    """The likeliest classes in shuffled batches, found by id."""
    store, count = Store.open(path), 0
    rows = store.rows_of(store.ids[order])
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        count += len(store.sparse("deep", "kind", batch, np.zeros(len(batch), np.int64)).indices)
    return count


def read_spread(path: Path, order: np.ndarray) -> int:
    """Every class in shuffled batches, found by id."""
    store, count = Store.open(path), 0
    rows = store.rows_of(store.ids[order])
    for start in range(0, len(rows), BATCH):
        count += len(store.log_probabilities("deep", "kind", rows[start : start + BATCH]))
    return count


def speed(read: Callable[[], int]) -> float:
    """Rows a second."""
    started = time.perf_counter()
    return read() / (time.perf_counter() - started)


def sizes() -> None:
    """Bytes of all files for a large set, as they would be written."""
    for views in (1, 4, 16):
        subject = Subject(1_281_167, (TASK,), ("deep",))
        kept, dense = (predicted_bytes(subject, views, k) for k in (K, 0))
        cells = subject.rows * (views + 1)
        print(f"{views:>2} views and the untouched image: {kept / cells:.1f} bytes a sample and view at k = {K}, "
              f"{dense / cells:.1f} dense, ratio {dense / kept:.1f}")


def main() -> None:
    """Print speeds, sizes and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    order = np.random.default_rng(1).permutation(options.rows)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        kept, dense = (write_store(root / f"k{k}", options.rows, k) for k in (K, 0))
        text = write_text(root / "distill.txt", Store.open(dense), options.rows)
        cases: dict[str, Callable[[], int]] = {
            "text": lambda: read_text(text), "text by numpy": lambda: read_text_fast(text),
            "top-k": lambda: read_kept(kept, order), "top-k, spread": lambda: read_spread(kept, order),
            "dense": lambda: read_spread(dense, order)}
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, read in cases.items():
                found[name].append(speed(read))
        for name, speeds in found.items():
            ratios = np.array(speeds) / np.array(found["text"])
            print(f"{name:<14} {statistics.median(speeds):>12,.0f} rows/s, {np.median(ratios):7.1f} of text "
                  f"({', '.join(f'{ratio:.1f}' for ratio in ratios)})")
        weights = {name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir()
                   else path.stat().st_size for name, path in (("text", text), ("top-k", kept), ("dense", dense))}
    print(", ".join(f"{name} {size / options.rows:,.1f} bytes a row" for name, size in weights.items())
          + f"; cells alone: dense / top-k {2 * CLASSES / (4 * K + 2):.1f}")
    sizes()


if __name__ == "__main__":
    process.prepare()
    main()
