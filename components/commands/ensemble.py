"""`stillhouse ensemble MEMBER...`: models' words made one, by votes or by means; written as a store, and as a list."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UsageError, UserError, near

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.data.tasks import Task
    from components.probabilities.ensembling import Ensemble

RULE = """members: stores (every source is one, as it judges untouched images), and files of lines `id,label` or
`id,p,p,...` with a probability of every class; id is a path, the name of a file, that name up to its first dot, or a
SHA-256. Files may have a line of headings; their order, and that of their lines, has no influence.

ties: of equal votes the class wins that the members together find likelier; of equals even then, the first in the
order of the Dataset's classes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULE
    parser.add_argument("members", type=Path, nargs="+", metavar="MEMBER", help="stores and files of predictions")
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset that they are about (default: data/dataset)")
    parser.add_argument("--by", choices=["vote", "probability", "logit"], default="probability",
                        help="count votes, or take the mean of probabilities or of logits (default: probability)")
    parser.add_argument("--weights", default="equal", metavar="HOW",
                        help="equal; learn: on val, with a temperature each; names: 3 for deep_w3_.csv; or "
                        "deep=2,wide=0.5 where they are not 1 (default: equal)")
    parser.add_argument("--task", default="", help="task that files are about, where there are several")
    parser.add_argument("--partial", action="store_true", help="let members be silent about some samples")
    parser.add_argument("--out", type=Path, default=Path("data/ensemble"), metavar="PATH",
                        help="store to write (default: data/ensemble)")
    parser.add_argument("--metrics", type=Path, default=Path("reports/ensemble/metrics.json"), metavar="FILE",
                        help="figures by split (default: reports/ensemble/metrics.json)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write lines ID,Label of the task too")
    parser.add_argument("--numbers", action="store_true", help="numbers of classes, from 0, in --csv")


def command(options: argparse.Namespace) -> None:
    """Write the store, the figures and the list; print a short table."""
    from components.data.dataset import Dataset
    from components.data.list_files import csv_line
    from components.probabilities.ensembling import Wish, answer_lines, assembled, figures
    from components.probabilities.members import read_members
    from components.storage.atomic import write_file

    if not (options.dataset / "dataset.json").is_file():
        raise UserError(f"{options.dataset} is no Dataset: it has no dataset.json", "make it (dvc repro index), or "
                        "correct the path")
    dataset, notes = Dataset.open(options.dataset), list[str]()
    task = chosen(dataset, options.task)
    members = read_members(options.members, dataset, task, notes)
    whole = assembled(dataset, members, Wish(options.by, weights(options.weights), options.partial), notes)
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


def chosen(dataset: "Dataset", name: str) -> "Task":
    """The task that files are about: the named one, or the first."""
    named = {task.name: task for task in dataset.tasks}
    if name and name not in named:
        raise UserError(f"there is no task {name}.{near(name, named)}", f"expected one of {', '.join(named)}")
    return named[name] if name else dataset.tasks[0]


def weights(text: str) -> str | Mapping[str, float]:
    """How members are weighed, from the option.

    >>> weights("deep=2,wide=0.5")
    {'deep': 2.0, 'wide': 0.5}
    """
    if text in ("equal", "learn", "names"):
        return text
    found = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1.0
        if not name or not 0 <= found[name] < float("inf"):
            raise UsageError(f"--weights {text}: {part} is not NAME=NUMBER", "equal, learn, names, or deep=2,wide=0.5")
    return found


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
