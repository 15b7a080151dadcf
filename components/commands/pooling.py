"""The options by which commands name members and say how their words are made one."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UsageError, UserError, near

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.data.tasks import Task
    from components.probabilities.ensembling import Ensemble
    from components.probabilities.members import Member

MEMBERS = """members: stores (every source is one, as it judges untouched images), and files of lines `id,label` or
`id,p,p,...` with a probability of every class (0 is taken for 1e-12); id is a path, the name of a file, that name up to
its first dot, or a SHA-256. Files may have a line of headings; their order, and that of their lines, has no influence.
A store may speak of some of the Dataset's tasks only."""


def pooling_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the members, the Dataset, and how members are weighed and averaged."""
    parser.add_argument("members", type=Path, nargs="+", metavar="MEMBER", help="stores and files of predictions")
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset that they are about (default: data/dataset)")
    parser.add_argument("--source", action="append", default=[], metavar="NAME",
                        help="a member whose words count (default: all)")
    parser.add_argument("--by", choices=["vote", "probability", "logit"], default="probability",
                        help="count votes, or take the mean of probabilities or of logits (default: probability)")
    parser.add_argument("--weights", default="equal", metavar="HOW",
                        help="equal; learn: on val, with a temperature each; names: 3 for deep_w3_.csv; or "
                        "deep=2,wide=0.5 where they are not 1 (default: equal)")
    parser.add_argument("--partial", action="store_true", help="let members be silent about some samples")


def open_dataset(path: Path) -> "Dataset":
    """The Dataset that members are about; UserError where there is none."""
    from components.data.dataset import Dataset

    if not (path / "dataset.json").is_file():
        raise UserError(f"{path} is no Dataset: it has no dataset.json", "make it (dvc repro index), or "
                        "correct the path")
    return Dataset.open(path)


def pooled(options: argparse.Namespace, dataset: "Dataset", task: "Task", notes: list[str],
           alone: bool = False) -> "Ensemble":
    """What the members say together. task: what files are about; alone: and nothing else counts."""
    from components.probabilities.ensembling import Wish, assembled
    from components.probabilities.members import read_members

    members = heard(read_members(options.members, dataset, task, notes), options.source)
    wish = Wish(options.by, weights(options.weights), options.partial)
    return assembled(dataset, members, wish, notes, (task,) if alone else ())


def heard(members: "Sequence[Member]", names: Sequence[str]) -> "list[Member]":
    """The members of some names, all where none is named; UserError for a name that nobody has."""
    known = [one.name for one in members]
    for name in names:
        if name not in known:
            raise UserError(f"there is no member {name}.{near(name, known)}", f"expected some of {', '.join(known)}")
    return [one for one in members if not names or one.name in names]


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
