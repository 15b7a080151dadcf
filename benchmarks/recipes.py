"""Losses, samplers and augmentations at an equal cost: one factor at a time against a base recipe, from scratch.

    python -m benchmarks.recipes --data FOLDER [--results benchmarks/results] [--scratch .stillhouse/recipes]
                                 [--seconds 110] [--seeds 3] [--best 5] [--rows NAME ...]

FOLDER holds train/CLASS, val/CLASS and test/CLASS; it is validated and indexed at 128 px once, into --scratch.

The rule. Every row may cost `--seconds` of CPU time on one thread: training and the look at val after each epoch.
The base's number of epochs follows from a warm-up at the start and is kept in the results. Any other row gets as many
epochs as cost the same, by the ratio of its CPU time a step to the base's, which are measured in turn in the row's own
process; so what else the machine does changes no row's number of epochs by much. Epochs are fixed before training, and
the rate falls to zero in the last one. All rows have one seed; then the best of them on val, and the base, have
`--seeds`. Each row is a process of its own. Results are written after each row, and finished rows are skipped when the
same command is given again; a row counts as finished if settings, data and budget are those of now.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.datasets import indexed
from benchmarks.rows import Rows, answer_of, machine, mean, told
from components.storage.digests import file_digest, value_digest

BASE = "base"
BASE_VALUES: dict[str, Any] = {
    "model": {"name": "resnet18", "options": {"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16,
                                              "zero_init_last": True}},
    "sizes": [64], "batch": 64, "smoothing": 0.1, "schedule": {"warmup": 0.08}, "averaging": {"decay": 0.998},
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05, "momentum": 0.9},
    "augment": {"crop": [0.35, 1.0], "ratio": [0.75, 1.333], "flip": 0.5, "brightness": 0.3, "contrast": 0.3,
                "saturation": 0.3, "erase": 0.25, "erase_area": [0.02, 0.2], "background": "reflect"}}
STILL = {"crop": [1.0, 1.0], "ratio": [1.0, 1.0], "flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0,
         "erase": 0.0}

# What a row changes in the base, in the order in which rows are trained.
ROWS: dict[str, dict[str, Any]] = {
    BASE: {},
    "augment: none": {"augment": STILL},
    "mixup .5": {"mix": {"mixup": 0.5}},
    "cutmix .5": {"mix": {"cutmix": 0.5}},
    "mixup .25, cutmix .25": {"mix": {"mixup": 0.25, "cutmix": 0.25}},
    "no erasing": {"augment": {"erase": 0.0}},
    "gentler crop": {"augment": {"crop": [0.6, 1.0]}},
    "smoothing 0": {"smoothing": 0.0},
    "smoothing .2": {"smoothing": 0.2},
    "sampler: balanced": {"sampler": {"name": "balanced"}},
    "progressive sizes": {"sizes": [48, 64]},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 5e-4, "momentum": 0.9}},
    "ema off": {"averaging": {"name": "none"}},
    "sigmoid": {"loss": {"base": "sigmoid"}},
    "focal 2": {"loss": {"focal": {"gamma": 2.0}}},
    "ohem .7": {"loss": {"ohem": {"ratio": 0.7}}},
    "ghm": {"loss": {"ghm": {"bins": 30}}},
    "logit-adjusted": {"loss": {"adjust": 1.0}},
    "class-balanced": {"loss": {"balance": 0.999}},
    "randaugment": {"augment": {"policy": "randaugment"}},
    "trivialaugment": {"augment": {"policy": "trivialaugment"}},
    "multi-scale": {"scales": {"share": 0.25, "grid": 16}},
    "sampler: adaptive": {"sampler": {"name": "adaptive", "refresh": 2, "samples_per_epoch": 2400}},
    "autoaugment": {"augment": {"policy": "autoaugment_imagenet"}},
    "augmix": {"augment": {"policy": "augmix"}},
    "myaugment": {"augment": {"policy": "myaugment"}},
    "threshold .95": {"loss": {"threshold": {"up": {"diagonal": 0.95}}}},
}
PIXELS = {"augment", "mix", "scales", "sizes"}  # what changes the cost of a step; anything else is lost in its noise


class Results(Rows):
    """Rows by `NAME/SEED`, under a budget."""

    def digest(self, name: str, seed: int) -> str:
        return row_digest(name, seed, self.under)

    def page(self) -> str:
        return page(self)


def row_digest(name: str, seed: int, under: dict[str, Any]) -> str:
    """What a row's result follows from, besides the program and the machine."""
    return value_digest([values_of(name), seed, under["budget"], under["data"]])


def values_of(name: str) -> dict[str, Any]:
    """The training section of a row, without its epochs."""
    found = dict(BASE_VALUES)
    for key, value in ROWS[name].items():
        whole = not isinstance(value, dict) or "name" in value  # what is chosen by name brings its own settings
        found[key] = value if whole else {**found.get(key, {}), **value}
    return found


def best(results: Results, count: int) -> list[str]:
    """The names that are best on val with the first seed, best first; the base too, if it is not among them."""
    known = [name for name in ROWS if results.finished(name, 0)]
    ranked = sorted(known, key=lambda name: (-results.rows[f"{name}/0"]["val"]["accuracy"], known.index(name)))
    return ranked[:count] + [BASE] * (BASE in ranked[count:])


def wanted(results: Results, names: Iterable[str], seeds: int, count: int) -> Iterator[tuple[str, int]]:
    """Rows that are still to be trained, as they become due: all names with one seed, then the best with the others."""
    for name in names:
        if not results.finished(name, 0):
            yield name, 0
    for name in best(results, count):
        for seed in range(1, seeds):
            if not results.finished(name, seed):
                yield name, seed


def child(dataset: Path, *wish: object) -> Any:
    """What `benchmarks.one_recipe` answers."""
    return answer_of("benchmarks.one_recipe", str(dataset), *wish)


def data_digest(dataset: Path) -> str:
    """What a Dataset says to a training: pixels, and the split and label of each sample."""
    from components.data.dataset import Dataset

    opened = Dataset.open(dataset)
    shards = [file_digest(path) for path in sorted((dataset / "shards").iterdir())]
    columns = ["id", "split", *(task.name for task in opened.tasks)]
    return value_digest([shards, opened.samples[columns].to_numpy().tolist()])


def surroundings(results: Results, dataset: Path, seconds: int) -> dict[str, Any]:
    """What rows are measured under; the base's epochs are kept while the budget and the machine are the same."""
    now = {"data": data_digest(dataset), "machine": machine()}
    if {**results.under, **now} == results.under and results.under["budget"]["seconds"] == seconds:
        return results.under
    each = child(dataset, "epoch", values_of(BASE))
    return {**now, "epoch_seconds": each, "budget": {"seconds": seconds, "epochs": max(round(seconds / each), 1)}}


def train_missing(results: Results, dataset: Path, rows: Iterable[tuple[str, int]]) -> None:
    """Train rows one after the other and write each as it is finished."""
    for name, seed in rows:
        relative, digest = relative_cost(results, dataset, name), row_digest(name, seed, results.under)
        epochs = max(round(results.under["budget"]["epochs"] / relative), 1)
        row = child(dataset, "train", values_of(name) | {"epochs": epochs}, seed)
        results.rows[f"{name}/{seed}"] = {**row, "cost": relative, "digest": digest}
        results.write()
        print(f"{time.strftime('%H:%M')} {name}, seed {seed}: {epochs} epochs, val {row['val']['accuracy']:.3f}, "
              f"test {row['test']['accuracy']:.3f}, {row['cpu_seconds']:.0f} CPU s", flush=True)


def relative_cost(results: Results, dataset: Path, name: str) -> float:
    """The cost of a row's step relative to the base's: known from another seed, measured, or the base's own."""
    for row in results.of(name):
        return float(row["cost"])
    return float(child(dataset, "cost", values_of(BASE), values_of(name))) if PIXELS & set(ROWS[name]) else 1.0


def page(results: Results) -> str:
    """The results as Markdown: the best on val first."""
    budget = results.under["budget"]
    lines = ["# Recipes at an equal cost", "", __doc__.partition("The rule. ")[2].strip(), "",
             f"Here: {budget['seconds']:g} CPU seconds a row, which are {budget['epochs']} epochs of the base "
             f"({results.under['epoch_seconds']:.2f} CPU seconds each). Machine: {results.under['machine']}.",
             "Accuracies are in percent, of the epoch best on val: means over seeds, with the standard deviation where "
             "there are several. One standard error of a single row is about 2.4 points, on val and on test. The "
             "adaptive sampler reads the recall of classes on val, so its figure there flatters it.",
             "", "| row | changes | seeds | epochs | CPU s | val | test | test, balanced |", "|---" * 8 + "|"]
    names = [name for name in ROWS if results.of(name)]
    for name in sorted(names, key=lambda name: -mean(results.of(name), "val", "accuracy")):
        rows = results.of(name)
        cells = [told(rows, "val", "accuracy"), told(rows, "test", "accuracy"), told(rows, "test", "balanced_accuracy")]
        cpu = statistics.mean(row["cpu_seconds"] for row in rows)
        changes = "; ".join(f"`{key}: {json.dumps(value)}`" for key, value in ROWS[name].items())
        lines.append(f"| {name} | {changes} | {len(rows)} | {rows[0]['epochs']} | {cpu:.0f} | {' | '.join(cells)} |")
    missing = [name for name in ROWS if name not in names]
    return "\n".join([*lines, "", f"Not trained: {'; '.join(missing) or 'none'}.", ""])


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="train/, val/, test/ with classes")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), metavar="FOLDER")
    parser.add_argument("--scratch", type=Path, default=Path(".stillhouse/recipes"), metavar="FOLDER")
    for name, value, text in (("seconds", 110, "CPU seconds a row"), ("seeds", 3, "seeds of the best"),
                              ("best", 5, "how many are the best")):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{text} (default: {value})")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS), metavar="NAME",
                        help="rows to train with one seed; none: only further seeds of the best")
    options = parser.parse_args()
    dataset = indexed(options.data, options.scratch, 128, {"layout": "folders"})
    results = Results.read(options.results / "recipes.json")
    results.under = surroundings(results, dataset, options.seconds)
    train_missing(results, dataset, wanted(results, options.rows, options.seeds, options.best))
    results.write()


if __name__ == "__main__":
    main()
