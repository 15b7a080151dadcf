"""`stillhouse exchange export|import`: probabilities, labels and weights as lines of text, as others have them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UsageError, UserError, near

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.data.tasks import Task
    from components.probabilities.exchange import Given

RULE = """files, all of lines `path,number,...` with numbers that are read back exactly (a probability of 0 is taken for
1e-12, since few decimals make zeros):
  distill_SOURCE.txt   a probability of every class, as SOURCE judges the untouched image
  label.txt            1 for the label of the image, 0 for the others
  curriculum.txt       one weight (export with --thresholds and --weights; import makes a manifest with weights)

export writes them into FOLDER. import makes a store of distill*.txt (a source each), held against label.txt if that is
named too, so that classes in another order are noticed; or, of curriculum.txt alone, a manifest for data.path."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = RULE
    parser.add_argument("action", choices=["export", "import"], metavar="ACTION", help="export or import")
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE", help="what to import")
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset (default: data/dataset)")
    parser.add_argument("--probabilities", type=Path, default=Path("data/probabilities"), metavar="PATH",
                        help="the store to export (default: data/probabilities)")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH",
                        help="folder of text files, or the store or manifest (.csv) to write")
    parser.add_argument("--task", default="", help="the task, where there are several")
    parser.add_argument("--split", choices=["train", "val", "test"], default="train",
                        help="whose samples to export, or must all be in what is imported (default: train)")
    parser.add_argument("--prefix", default="", metavar="THEIRS=OURS",
                        help="what paths begin with in the files and in the Dataset, e.g. ./data/=")
    parser.add_argument("--partial", action="store_true",
                        help="import although samples of the split are missing, or paths are not the Dataset's")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[], metavar="P",
                        help="falling probabilities of the true class, down to 0, for curriculum.txt")
    parser.add_argument("--weights", type=float, nargs="+", default=[], metavar="W", help="a weight for each threshold")


def command(options: argparse.Namespace) -> None:
    """Export or import; UserError where files and Dataset do not fit."""
    from components.data.dataset import Dataset

    if not (options.dataset / "dataset.json").is_file():
        raise UserError(f"{options.dataset} is no Dataset: it has no dataset.json", "make it (dvc repro index), or "
                        "correct the path")
    if bool(options.files) != (options.action == "import"):
        raise UsageError("import takes files, export none", "stillhouse exchange --help")
    dataset, notes = Dataset.open(options.dataset), list[str]()
    (exported if options.action == "export" else imported)(options, dataset, chosen(dataset, options.task), notes)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)


def chosen(dataset: "Dataset", name: str) -> "Task":
    """The task that is meant; UserError where that is not clear."""
    named = {task.name: task for task in dataset.tasks}
    if (name and name not in named) or (not name and len(named) > 1):
        wrong = f"there is no task {name}.{near(name, named)}" if name else "these files hold one task"
        raise UserError(f"{wrong}; the Dataset has {', '.join(named)}", f"--task {dataset.tasks[0].name}")
    return named[name] if name else dataset.tasks[0]


def exported(options: argparse.Namespace, dataset: "Dataset", task: "Task", notes: list[str]) -> None:
    """Write what a store and a Dataset hold as text files into a folder."""
    from components.probabilities.exchange import Wish, texts
    from components.probabilities.sayings import open_both
    from components.storage.atomic import write_file

    sayings = open_both(options.dataset, options.probabilities, tasks=[task.name])
    notes += sayings.notes
    wish = Wish(options.split, options.prefix, tuple(options.thresholds), tuple(options.weights))
    written = texts(sayings, task, wish, notes)
    for name, text in written.items():
        write_file(options.out / name, text)
    print(f"{options.out}: {', '.join(written)}")


def imported(options: argparse.Namespace, dataset: "Dataset", task: "Task", notes: list[str]) -> None:
    """Make a store, or a manifest, of text files."""
    from components.probabilities.exchange import Given, kind_of

    kinds = {path: kind_of(path) for path in options.files}
    given = Given(dataset, task, options.split, options.prefix, options.partial)
    if set(kinds.values()) == {"curriculum"} and len(kinds) == 1:
        manifest(options, given, notes)
    elif "distill" in kinds.values() and "curriculum" not in kinds.values():
        store(options, given, kinds, notes)
    else:
        raise UsageError("import takes distill*.txt, with label.txt if you have it, or curriculum.txt alone",
                         "stillhouse exchange --help")


def store(options: argparse.Namespace, given: "Given", kinds: dict[Path, str], notes: list[str]) -> None:
    """Write a store of files of probabilities."""
    from components.probabilities.exchange import refuse_other_labels, said_of, write_said
    from components.storage import atomic
    from components.storage.locks import locked

    if options.out.exists():
        raise UserError(f"{options.out} is there already", "remove it, or name another place with --out")
    for path, kind in kinds.items():
        if kind == "label":
            refuse_other_labels(path, given, notes)
    said = {path.name.partition(".")[0]: said_of(path, given, notes) for path, kind in kinds.items()
            if kind == "distill"}
    with locked([options.out]), atomic.private([options.out]) as (private,):
        write_said(private, given, said)
        atomic.flush(private)
        atomic.move_into_place(private, options.out)
    print(f"{options.out}: {', '.join(sorted(said))}")


def manifest(options: argparse.Namespace, given: "Given", notes: list[str]) -> None:
    """Write a manifest with the weights of a file."""
    from components.probabilities.exchange import weights_of
    from components.probabilities.policies import manifest as table
    from components.storage.atomic import write_file

    if options.out.suffix != ".csv" or options.out.exists():
        raise UserError(f"{options.out} is there already, or not called .csv", "name a new file .csv with --out")
    write_file(options.out, table(given.dataset, weights_of(options.files[0], given, notes), ()))
    print(f"{options.out}: data.path can name it, data.root the folder of the images")
