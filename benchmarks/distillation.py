"""What a store of teachers' words is worth to a student, at equal student steps.

    python -m benchmarks.distillation --data FOLDER [--results benchmarks/results]
                                      [--scratch .stillhouse/distillation] [--seeds 3] [--jobs 1] [--rows NAME ...]

FOLDER holds train/CLASS, val/CLASS and test/CLASS; it is validated and indexed at 128 px once, into --scratch.

The rule. Every student has the same network, optimiser, batch, number of epochs and strength of augmentation, starts
from scratch, and is the one of the last epoch. So neither val nor test chose a student, and both are held out; val gave
the teachers their temperatures and weights, and let them be heard only where they beat the plain student. Teachers are
trained once; a store is made once where students see views of their own, and once a seed where they replay its views.
Where half of the labels are hidden, teacher and plain student learn from the other half, at twice the epochs.
Every row, teacher and store is a process of its own on one thread. Results are written after each, and what is finished
is skipped when the same command is given again; it counts as finished if settings and data are those of now.
"""

import argparse
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.datasets import half_labelled, indexed
from benchmarks.distillation_page import page
from benchmarks.rows import Rows, answer_of, machine
from components.storage.digests import file_digest, value_digest

PLAIN, VIEWS, SEEDS = "plain", 16, 3
GENTLE = {"crop": [0.6, 1.0]}
MIXED = {**GENTLE, "mix": {"mixup": 0.5, "cutmix": 0.5}}
STUDENT: dict[str, Any] = {
    "model": {"name": "resnet18", "options": {"layers": [1, 1, 1, 1], "channels": [32, 64, 128, 240],
                                              "stem_type": "deep", "stem_width": 16, "zero_init_last": True}},
    "epochs": 20, "sizes": [64], "select": "last", "augment": GENTLE}
TEACHERS: dict[str, dict[str, Any]] = {
    "deep": {"model": {"name": "resnet18", "options": {"channels": [32, 64, 128, 256], "stem_type": "deep",
                                                       "stem_width": 16, "zero_init_last": True}},
             "epochs": 45, "sizes": [64, 96, 112], "select": "last"},
    "broad": {"model": {"name": "resnet18", "options": {"layers": [1, 1, 1, 1], "channels": [48, 96, 192, 384],
                                                        "stem_type": "deep", "stem_width": 16, "zero_init_last": True}},
              "epochs": 40, "sizes": [64, 96], "select": "last"}}
TEACHERS["half"] = TEACHERS["broad"] | {"epochs": 80}  # with half the images as many steps
STORES: dict[str, dict[str, Any]] = {
    "deep": {"teachers": ["deep"], "augment": GENTLE},
    "mixed": {"teachers": ["deep"], "augment": MIXED},
    "both": {"teachers": ["deep", "broad"], "augment": GENTLE},
    "broad": {"teachers": ["broad"], "augment": GENTLE},
    "broad folds": {"teachers": ["broad"], "augment": GENTLE, "teach": {"folds": 3}},
    "half": {"teachers": ["half"], "augment": GENTLE}}


def stored(store: str, views: int, match: str, **distill: Any) -> dict[str, Any]:
    """A student that learns from the first views of a store."""
    return {"by": "store", "store": store, "views": views, "distill": {"match": match, **distill},
            "student": {"augment": STORES[store]["augment"]} if match == "exact" else {}}


def longer(row: dict[str, Any], epochs: int) -> dict[str, Any]:
    """A row with another number of epochs."""
    return {**row, "student": {**row.get("student", {}), "epochs": epochs}}


# What a student learns from, in the order in which rows are trained.
ROWS: dict[str, dict[str, Any]] = {
    PLAIN: {"by": "labels"},
    "mean, 16 views": stored("deep", 16, "mean"),
    "live teacher": {"by": "live", "teacher": "deep", "fixed": False},
    "mean, 16 views, temperature 1": stored("deep", 16, "mean", temperature=1.0),
    "two teachers, mean, 16 views": stored("both", 16, "mean", teachers={"fit": True}),
    "as 002: text, 1 clean view": {"by": "text", "store": "deep"},
    "replayed, 16 views": stored("deep", 16, "exact"),
    "replayed, 1 view": stored("deep", 1, "exact"),
    "live teacher, 1 view": {"by": "live", "teacher": "deep", "fixed": True},
    "mean, 1 view": stored("deep", 1, "mean"),
    "mean, 4 views": stored("deep", 4, "mean"),
    "replayed, 4 views": stored("deep", 4, "exact"),
    "any, 16 views": stored("deep", 16, "any"),
    "mean, 16 views, no labels": stored("deep", 16, "mean", weight=1.0),
    "mixed views replayed, 16": stored("mixed", 16, "exact"),
    "broad teacher, mean, 16 views": stored("broad", 16, "mean"),
    "broad teacher out of fold, mean, 16 views": stored("broad folds", 16, "mean"),
    "plain, 40 epochs": longer({"by": "labels"}, 40),
    "replayed, 16 views, 40 epochs": longer(stored("deep", 16, "exact"), 40),
    "plain, half of the labels": longer({"by": "labels", "labels": "half"}, 40),
    "mean, 16 views, half of the labels": stored("half", 16, "mean") | {"labels": "half"},
}
# The plain student that a row is held against, where that is not the first.
AGAINST = {"replayed, 16 views, 40 epochs": "plain, 40 epochs",
           "mean, 16 views, half of the labels": "plain, half of the labels"}


@dataclass
class Evidence(Rows):
    """Rows, teachers and stores by `NAME/SEED`."""

    def digest(self, name: str, seed: int) -> str:
        return value_digest([wish_of(name), seed, self.under["data"]])

    def page(self) -> str:
        return page(self, {name: plain_of(name) for name in ROWS}, __doc__.partition("The rule. ")[2].strip())


def wish_of(name: str) -> dict[str, Any]:
    """All that a row, `teacher NAME` or `store NAME` follows from, besides its seed."""
    kind, _, rest = name.partition(" ")
    if kind == "teacher":
        return {"kind": "teacher", "name": rest, "settings": TEACHERS[rest]} | labels_of(rest)
    if kind == "store":
        teachers = {one: TEACHERS[one] for one in STORES[rest]["teachers"]}
        own = {key: value for key, value in STORES[rest].items() if key != "teachers"}
        return {"kind": "store", "settings": teachers, "views": VIEWS, **own} | labels_of(rest)
    row = ROWS[name]
    needs = {"teachers": wish_of(f"teacher {row['teacher']}")} if row["by"] == "live" else {}
    needs |= {"stores": wish_of(f"store {row['store']}")} if "store" in row else {}
    return {"kind": "row", **row, **needs, "student": {**STUDENT, **row.get("student", {})}}


def labels_of(name: str) -> dict[str, Any]:
    """Which labels a teacher or store knows, where these are not all."""
    return {"labels": "half"} if name == "half" else {}


def plain_of(name: str) -> str:
    """The plain student that a row is held against, and whom its teachers have to beat."""
    return AGAINST.get(name, PLAIN)


def needed(name: str, seed: int) -> list[tuple[str, int]]:
    """The teachers and stores that must be there first, those that others need before these."""
    kind, _, rest = name.partition(" ")
    if kind == "teacher":
        return []
    if kind == "store":
        return [(f"teacher {one}", 0) for one in STORES[rest]["teachers"]]
    row = ROWS[name]
    own = [(f"teacher {row['teacher']}", 0)] if row["by"] == "live" else []
    own += [(plain_of(name), 0)] if row["by"] == "store" else []
    if "store" in row:
        own.append((f"store {row['store']}", seed if row.get("distill", {}).get("match") == "exact" else 0))
    return [one for need in own for one in [*needed(*need), need]]


def wanted(results: Evidence, names: list[str], seeds: int, scratch: Path) -> list[tuple[str, int]]:
    """What is still to be made, each after what it needs; all seeds of a row, then the next row."""
    found: dict[tuple[str, int], None] = {}
    for row in [(name, seed) for name in names for seed in range(seeds)]:
        if not results.finished(*row):
            found |= dict.fromkeys(need for need in needed(*row) if not there(results, scratch, *need))
            found[row] = None
    return list(found)


def there(results: Evidence, scratch: Path, name: str, seed: int) -> bool:
    """Whether a row is finished, or a teacher or store can be used."""
    return results.finished(name, seed) and (name in ROWS or folder_of(results, scratch, name, seed).exists())


def folder_of(results: Evidence, scratch: Path, name: str, seed: int) -> Path:
    """Where a teacher or store lies."""
    return scratch.resolve() / f"{name.replace(' ', '-')}-{seed}-{results.digest(name, seed)[:12]}"


def make_missing(results: Evidence, datasets: dict[str, Path], scratch: Path, left: list[tuple[str, int]],
                 jobs: int) -> None:
    """Make what is left, as many at once as there are jobs, and write each as it is finished."""
    running: dict[Future[Any], tuple[str, int]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while left or running:
            for one in [one for one in left if not {*left, *running.values()} & set(needed(*one))]:
                if len(running) < jobs:
                    left.remove(one)
                    running[pool.submit(make, results, datasets, scratch, *one)] = one
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                keep(results, *running.pop(done), done.result())


def keep(results: Evidence, name: str, seed: int, made: dict[str, Any]) -> None:
    """Write what was made, and say it."""
    results.rows[f"{name}/{seed}"] = {**made, "digest": results.digest(name, seed)}
    results.write()
    said = f"held out {made['held_out']['accuracy']:.4f}, " if "held_out" in made else ""
    print(f"{time.strftime('%H:%M')} {name}, seed {seed}: {said}{made['cpu_seconds']:.0f} CPU s", flush=True)


def make(results: Evidence, datasets: dict[str, Path], scratch: Path, name: str, seed: int) -> Any:
    """A row, teacher or store, in a process of its own."""
    folders = {one: str(folder_of(results, scratch, one, of)) for one, of in [*needed(name, seed), (name, seed)]}
    bar = {to: results.rows[f"{plain_of(name)}/0"]["val"][of] for to, of in
           (("accuracy", "accuracy"), ("loss", "log_loss")) if (plain_of(name), 0) in needed(name, seed)}
    wish = wish_of(name) | {"folders": folders, "own": folders[name], "bar": bar}
    return answer_of("benchmarks.one_distillation", str(datasets[wish.pop("labels", "all")]), wish, seed)


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="train/, val/, test/ with classes")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), metavar="FOLDER")
    parser.add_argument("--scratch", type=Path, default=Path(".stillhouse/distillation"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"seeds of every row (default: {SEEDS})")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once, a thread each (default: 1)")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS), metavar="NAME", help="default: all")
    options = parser.parse_args()
    dataset = indexed(options.data, options.scratch, 128, {"layout": "folders"})
    results = Evidence.read(options.results / "distillation.json")
    results.under = {"data": file_digest(dataset / "receipt.json"), "machine": machine()}
    left = wanted(results, options.rows, options.seeds, options.scratch)
    half = half_labelled(options.data, options.scratch / "half", 128)
    make_missing(results, {"all": dataset, "half": half}, options.scratch, left, options.jobs)
    results.write()


if __name__ == "__main__":
    main()
