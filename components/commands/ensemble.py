"""`stillhouse ensemble MEMBER...`: models' words made one, by votes or by means; written as a store, and as a list."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.commands.pooling import MEMBERS, chosen, open_dataset, pooled, pooling_arguments
from components.errors import UserError

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.probabilities.ensembling import Ensemble

TIES = """ties: of equal votes the class wins that the members together find likelier; of equals even then, the first
in the order of the Dataset's classes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{MEMBERS}\n\n{TIES}"
    pooling_arguments(parser)
    parser.add_argument("--task", default="", help="task that files are about, where there are several")
    parser.add_argument("--out", type=Path, default=Path("data/ensemble"), metavar="PATH",
                        help="store to write (default: data/ensemble)")
    parser.add_argument("--metrics", type=Path, default=Path("reports/ensemble/metrics.json"), metavar="FILE",
                        help="figures by split (default: reports/ensemble/metrics.json)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write lines ID,Label of the task too")
    parser.add_argument("--numbers", action="store_true", help="numbers of classes, from 0, in --csv")


def command(options: argparse.Namespace) -> None:
    """Write the store, the figures and the list; print a short table."""
    from components.data.list_files import csv_line
    from components.probabilities.ensembling import answer_lines, figures
    from components.storage.atomic import write_file

    dataset, notes = open_dataset(options.dataset), list[str]()
    task = chosen(dataset, options.task)
    whole = pooled(options, dataset, task, notes)
    if options.csv and task.name not in whole.said:
        raise UserError(f"no member speaks of {task.name}", "name another with --task")
    found = figures(dataset, whole)
    write_store(options.out, dataset, whole, options.by)
    write_file(options.metrics, json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n")
    if options.csv:
        text = "".join(csv_line(row) for row in answer_lines(dataset, whole, task, options.numbers))
        write_file(options.csv, text)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    print("\n".join(lines(whole, found)))


def write_store(folder: Path, dataset: "Dataset", whole: "Ensemble", by: Any) -> None:
    """Write the store whole, in the place of an earlier ensemble and of nothing else."""
    from components.probabilities.ensembling import write_ensemble
    from components.probabilities.heads import HEAD, read_head
    from components.storage import atomic
    from components.storage.locks import locked

    earlier = (folder / HEAD).is_file() and "ensemble" in read_head(folder)
    if folder.exists() and not earlier and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there and holds no ensemble; it would be replaced",
                        "name another folder with --out")
    with locked([folder]), atomic.private([folder]) as (private,):
        write_ensemble(private, dataset, whole, by)
        atomic.flush(private)
        atomic.move_into_place(private, folder)


def lines(whole: "Ensemble", found: dict[str, dict[str, dict[str, dict[str, float]]]]) -> Iterator[str]:
    """A table a task: weight, and on every split accuracy (macro F1 for `multi`), of members and ensemble."""
    for task, voices in whole.voices.items():
        splits = [split for split in ("train", "val", "test") if any(task in one.get(split, {})
                                                                     for one in found.values())]
        yield f"{task:<24}{'weight':>8}" + "".join(f"{split:>9}" for split in splits)
        for name, weight in [*((one.source, f"{one.weight:.3f}") for one in voices), ("ensemble", "")]:
            values = [found.get(name, {}).get(split, {}).get(task, {}) for split in splits]
            cells = [value.get("accuracy", value.get("f1_macro")) for value in values]
            yield f"  {name:<22}{weight:>8}" + "".join("        -" if one is None else f"{one:>9.4f}" for one in cells)
