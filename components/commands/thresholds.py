"""`stillhouse thresholds MEMBER...`: from which probability on a prediction may be acted on without asking a person."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.commands.pooling import MEMBERS, chosen, open_dataset, pooled, pooling_arguments
from components.errors import UsageError, UserError

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.data.tasks import Task
    from components.evaluation.operating import Given, Wish
    from components.probabilities.ensembling import Ensemble
    from components.probabilities.thresholds import Cuts

SPLITS = ("train", "val", "test")
RULE = """cuts: a prediction is acted on where its probability is the cut of its class or more; equal probabilities
stand or fall together. Of a task with one class a sample the prediction is the likeliest class, and besides the cut of
each class there is one for all. Of a task with several, every label has its own. --precision takes the lowest cut that
is precise enough, so that most can be acted on; --recall the highest that finds enough; --f1 the best F1, of equals the
highest cut. A class without a cut is always left to a person.

how surely: a precision or recall is taken for what it is at least, with --confidence, by the exact interval of Clopper
and Pearson: a class with few samples then has no cut (a precision of .95 with 90 % takes 45 predictions, all right; one
of .9 takes 22). --plain takes the shares as they are; about half the cuts then promise too much.

coverage: the share of a class's predictions that are acted on; of labels, the share of samples given the label.

held: whether the other split (--check) bears the wish out; no where even the upper end of the same interval lies below
it, open where chance may explain what lacks."""
OWN = "own cuts together"
COLUMNS = {"precision": ("precision", "recall"), "recall": ("recall", "precision"), "f1": ("f1", "precision", "recall")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{MEMBERS}\n\n{RULE}"
    pooling_arguments(parser)
    parser.add_argument("--task", default="", metavar="NAME",
                        help="the only task, which files are about too (default: all; files are about the first)")
    goals = parser.add_mutually_exclusive_group()
    goals.add_argument("--precision", type=share, metavar="P",
                       help="predictions of a class that are acted on are right at least so often (default: 0.95)")
    goals.add_argument("--recall", type=share, metavar="R",
                       help="so many of a label's samples are found at least (several labels a sample only)")
    goals.add_argument("--f1", action="store_true", help="the best F1 (several labels a sample only)")
    surely = parser.add_mutually_exclusive_group()
    surely.add_argument("--confidence", type=inside, default=0.9, metavar="C",
                        help="how surely the wish shall hold, and of what bounds are told (default: 0.9)")
    surely.add_argument("--plain", action="store_true", help="hold the wish against plain shares, without a bound")
    parser.add_argument("--split", choices=SPLITS, default="val", help="what cuts are fitted on (default: val)")
    parser.add_argument("--check", choices=SPLITS, help="another split, on which the cuts are looked at")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the same JSON, e.g. to thresholds.json")


def share(text: str) -> float:
    """A number from 0 to 1.

    >>> share("0.95")
    0.95
    """
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to 1")
    return value


def inside(text: str) -> float:
    """A number between 0 and 1."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number between 0 and 1 (without a bound: --plain)")
    return value


def number(text: str) -> float:
    """The number that a text spells, NaN where it spells none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def command(options: argparse.Namespace) -> None:
    """Find the cuts, write them where asked for, and print them with what they give."""
    from components.probabilities.thresholds import doubts, report
    from components.storage.atomic import write_file
    from components.storage.digests import json_text

    if options.check == options.split:
        raise UsageError(f"--check {options.check} is what the cuts are fitted on", "name another split")
    dataset, notes = open_dataset(options.dataset), list[str]()
    whole = pooled(options, dataset, chosen(dataset, options.task), notes, alone=bool(options.task))
    splits = [options.split, *([options.check] if options.check else [])]
    found = fitted(dataset, whole, asked(options), options.task, splits, notes)
    notes += [*weaknesses(options, whole), *(note for one in found for note in doubts(one, splits))]
    text = json_text(report(sealed(options.dataset), whole, found, splits) | made(options, whole))
    if options.out:
        write_file(options.out, text)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    print(text if options.json else "\n".join(line for one in found for line in lines(one)),
          end="" if options.json else "\n")


def asked(options: argparse.Namespace) -> "Wish":
    """The wish that the options spell."""
    from components.evaluation.operating import Wish

    confidence = None if options.plain else options.confidence
    if options.f1:
        return Wish("f1", confidence=confidence)
    if options.recall is not None:
        return Wish("recall", options.recall, confidence)
    return Wish("precision", 0.95 if options.precision is None else options.precision, confidence)


def fitted(dataset: "Dataset", whole: "Ensemble", wish: "Wish", name: str, splits: Sequence[str],
           notes: list[str]) -> "list[Cuts]":
    """The cuts of the named task, or of all that members speak of; UserError where there is none."""
    from components.probabilities.thresholds import fit

    tasks = [task for task in dataset.tasks if task.name in whole.said and name in ("", task.name)]
    if not tasks:
        raise UserError(f"no member speaks of {name}", "name another with --task")
    refuse_goal(tasks, wish)
    found = {task.name: fit(dataset, whole, task, wish, splits) for task in tasks}
    empty = [task for task, one in found.items() if one is None]
    if len(empty) == len(found):
        raise UserError(f"no sample of {splits[0]} has a label of {' or '.join(empty)} and a word of the members",
                        "fit on another split: --split")
    notes += [f"{task}: no sample of {splits[0]} has a label and a word of the members: there is no cut"
              for task in empty]
    return [one for one in found.values() if one is not None]


def refuse_goal(tasks: "Sequence[Task]", wish: "Wish") -> None:
    """UserError where recall or F1 is wished for of classes of which a sample has one."""
    single = [task.name for task in tasks if task.kind == "single"]
    if wish.goal != "precision" and single:
        raise UserError(f"--{wish.goal} is about labels of which a sample may have several; a sample has one class of "
                        f"{single[0]}, and the likeliest is named", "take --precision, or another --task")


def weaknesses(options: argparse.Namespace, whole: "Ensemble") -> Iterator[str]:
    """Why cuts may promise more than they keep."""
    if options.split == "train" and not all(head.get("folds") for head in heads(options)):
        yield ("cuts are fitted on train, whose labels models have learnt (a store says so unless it has folds): they "
               "promise too much")
    if options.weights == "learn" and options.split == "val" and len(whole.members) > 1:
        yield "weights and cuts are both fitted on val; --check test tells what they are worth"


def heads(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The head of every store among the members, an empty one for a file."""
    from components.probabilities.heads import read_head

    return [read_head(path) if path.is_dir() else {} for path in options.members]


def sealed(path: Path) -> str | None:
    """The digest of a sealed artifact, None for another folder."""
    from components.storage import receipts

    return receipts.digest(path) if receipts.is_sealed(path) else None


def made(options: argparse.Namespace, whole: "Ensemble") -> dict[str, Any]:
    """How members were made one, and the models that speak: whoever acts on the cuts compares their digests."""
    models = {name: digest for head in heads(options) for name, digest in head.get("models", {}).items()}
    return {"by": options.by, "models": {one.name: models.get(one.name) for one in whole.members}}


def lines(cuts: "Cuts") -> Iterator[str]:
    """A table of a task and split: cut, figures, and how many predictions are acted on."""
    width = max(map(len, [*cuts.task.classes, OWN]))
    for place, (split, one) in enumerate(cuts.splits.items()):
        missing = f", {one.unlabelled} more without a label" * (one.unlabelled > 0)
        missing += f", of {one.unspoken} more nothing is said" * (one.unspoken > 0)
        done = "checked" if place else "fitted"
        yield f"{cuts.task.name}, {promise(cuts.wish)}: {done} on {one.samples} samples of {split}{missing}"
        heading = [f"{name:>10}" for name in titles(cuts.wish)] + ["   held"] * (place > 0)
        yield f"  {'':<{width}}{'cut':>9}{''.join(heading)}"
        for row in cuts.every:
            held = f"{row.held(split, cuts.wish):>7}" if place else ""
            yield f"  {row.name:<{width}}{shown(row.value):>9}{cells(row.given(split), cuts.wish)}{held}"
        yield f"  {OWN:<{width}}{'':>9}{cells(cuts.whole(split), cuts.wish)}"
        if cuts.shared is not None:
            yield f"  {left(cuts, split)}"


def promise(wish: "Wish") -> str:
    """A wish in words."""
    if wish.goal == "f1":
        return "best F1"
    surely = "" if wish.confidence is None else f" with {100 * wish.confidence:g} % confidence"
    return f"{wish.goal} of at least {wish.value:g}{surely}"


def titles(wish: "Wish") -> list[str]:
    """The names of the columns after the cut."""
    first, *others = COLUMNS[wish.goal]
    bound = ["at least"] if wish.confidence and wish.goal != "f1" else []
    return [first, *bound, *others, "coverage", "acted on"]


def cells(given: "Given", wish: "Wish") -> str:
    """The figures of a row."""
    figures = given.to_json(wish.confidence)
    first, *others = COLUMNS[wish.goal]
    names = [first, *([f"{first}_bound"] if wish.confidence and wish.goal != "f1" else []), *others, "coverage"]
    return "".join(f"{cell(figures[name]):>10}" for name in names) + f"{f'{given.named}/{given.predictions}':>10}"


def shown(cut: float | None) -> str:
    """A cut with its digits cut short: who types it in acts on the samples that stand at it too.

    >>> shown(0.75009), shown(None)
    ('0.7500', '-')
    """
    return cell(None if cut is None else floor(cut * 1e4) / 1e4)


def cell(value: float | None) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.4f}"


def left(cuts: "Cuts", split: str) -> str:
    """How many samples a person sees."""
    assert cuts.shared is not None
    own, shared = cuts.whole(split), cuts.shared.given(split)
    return f"left to a person: {own.predictions - own.named} of {own.predictions} samples by the cuts of classes, " \
           f"{shared.predictions - shared.named} by the one for all"
