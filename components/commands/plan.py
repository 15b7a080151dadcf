"""`stillhouse teach --plan`: room and time that a store takes, what truncation loses, what a budget buys."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UsageError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.data.dataset import Dataset
    from components.probabilities.planning import Plan, Subject
    from components.settings import Params
    from components.teach import Teach

    Said = dict[tuple[str, str], NDArray[Any]]

OTHER = {"float16": "float32", "float32": "float16"}
WARM = 16  # samples judged before the clock runs


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="what the store would be about (default: data/dataset)")
    parser.add_argument("--teachers", type=Path, metavar="FOLDER",
                        help="models: ask them about a sample, to measure speed and truncation")
    parser.add_argument("--probabilities", type=Path, metavar="PATH",
                        help="a store that keeps all classes: measure truncation on a sample of it")
    parser.add_argument("--gb", type=float, metavar="N", help="budget of room, in 1e9 bytes")
    parser.add_argument("--hours", type=float, metavar="N", help="budget of time for all teachers, one after the other")
    parser.add_argument("--rate", type=float, metavar="N", help="views a second of each teacher, where not measured")
    parser.add_argument("--most", type=int, metavar="N",
                        help="views beyond which more are of no use (default: student.epochs)")
    parser.add_argument("--tolerance", type=float, default=0.01, metavar="NATS",
                        help="mean divergence that truncation may cost at distill.temperature (default: 0.01)")
    parser.add_argument("--sample", type=int, default=256, metavar="N", help="samples to measure on (default: 256)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a setting")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def command(options: argparse.Namespace) -> None:
    """Measure, plan and print; UserError where the budget buys nothing."""
    from components import process
    from components.data.dataset import Dataset
    from components.probabilities.planning import GB, affordable, candidates, choose, plan
    from components.settings import Params

    refuse_nonsense(options)
    process.prepare()
    params = Params.load(options.params, options.set)
    samples = Dataset.open(options.dataset)
    subject, said = measured(options, params, samples)
    most, heat = options.most or params.setting("student.epochs"), float(params.setting("distill.temperature"))
    limits = None if options.gb is None else options.gb * GB, options.hours
    views = most if options.gb or options.hours else params.setting("teach.views")
    plans = [one for k in candidates(subject) if (one := affordable(subject, k, views, limits))]
    if not plans:
        least = plan(subject, 1, min((k for k in candidates(subject) if k), default=0))
        raise UserError(f"the budget does not buy one view: it takes {sized(least)}",
                        "raise it, or take fewer teachers")
    plans = [costed(one, subject, said, heat) for one in plans]
    chosen = choose(plans, heat, options.tolerance)
    same = [chosen, costed(plan(replace(subject, dtype=OTHER[chosen.dtype]), chosen.views, chosen.k), subject, said,
                           heat)]
    if options.json:
        print(json.dumps(as_json(subject, plans, chosen, same), indent=1, sort_keys=True, allow_nan=False))
    else:
        limits = heat, options.tolerance
        print("\n".join([*table(subject, plans, heat), *advice(subject, plans, chosen, limits),
                         *types(same, limits, halves(said)), *taken(chosen)]))


def refuse_nonsense(options: argparse.Namespace) -> None:
    """UsageError for numbers that mean nothing."""
    for name in ("gb", "hours", "rate", "most", "sample"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} is {value}; expected more than 0", "stillhouse teach --plan --help")


def measured(options: argparse.Namespace, params: "Params", samples: "Dataset") -> tuple["Subject", "Said"]:
    """What the store would be about, and what is said of a sample of it, by source and task."""
    from components.data.dataset import SPLITS
    from components.probabilities.planning import Subject

    settings: Teach = params.section("teach")  # type: ignore[assignment]
    if not settings.teachers:
        raise UserError("params.yaml names no teachers", "add one below teachers:")
    splits = {split: len(samples.rows(split)) for split in SPLITS}
    rates = dict.fromkeys(settings.teachers, options.rate) if options.rate else {}
    subject = Subject(len(samples), samples.tasks, settings.teachers, settings.dtype, {}, splits, rates,
                      seed=settings.seed, mixed=settings.augment.mix.on)
    subject = folded(subject, settings, samples) if settings.folds > 1 else subject
    said: Said = from_store(options.probabilities, options.sample) if options.probabilities else {}
    if options.teachers is None:
        if settings.embedding:
            print("warning: embeddings are not counted: their width stands in the models; name them with --teachers",
                  file=sys.stderr)
        return subject, said
    asked, widths, speeds = from_models(options, settings, samples)
    return replace(subject, widths=widths if settings.embedding else {}, rates=rates or speeds), said or asked


def folded(subject: "Subject", settings: "Teach", samples: "Dataset") -> "Subject":
    """The same where copies of each teacher judge what they have not learnt from; UserError where folds do not fit."""
    from components.data.folds import divide
    from components.training.goals import labelled_rows

    learnt = labelled_rows(samples, "train")
    folds = divide(samples, learnt, settings.folds, settings.seed)
    return replace(subject, folds=folds.count, learnt=len(learnt), by=folds.by)


def from_store(path: Path, count: int) -> "Said":
    """What a store says of some samples, evenly over its rows; UserError where it is truncated itself."""
    import numpy as np

    from components.probabilities.store import Store

    store = Store.open(path)
    cut = [name for name, form in store.forms.items() if form.k]
    if cut:
        raise UserError(f"{path} keeps the likeliest {store.forms[cut[0]].k} classes of {cut[0]} only; what it lost "
                        "cannot be measured", "name a store that keeps all, or models with --teachers")
    rows = np.unique(np.linspace(0, len(store.ids) - 1, count).astype(np.int64))
    return {(source, task.name): store.log_probabilities(source, task.name, rows)
            for source in store.sources for task in store.tasks}


def from_models(options: argparse.Namespace, settings: "Teach",
                samples: "Dataset") -> tuple["Said", dict[str, int], dict[str, float]]:
    """What models say of some samples, untouched and in one view; the widths of their embeddings; views a second."""
    import numpy as np

    from components.models.artifact import load_model, refuse_misfit
    from components.probabilities.judging import Program, judge_batch
    from components.training.devices import pick_device, use_threads

    use_threads(settings.runtime.threads)
    program, device = Program(settings.augment, settings.seed, samples.size), pick_device(settings.runtime.device)
    rows = np.unique(np.linspace(0, len(samples) - 1, options.sample).astype(np.int64))
    said: Said = {}
    widths, rates = {}, {}
    for name in settings.teachers:
        model = load_model(options.teachers / name)
        refuse_misfit(name, model.head, samples)
        model.network.to(device)
        model.preprocess.to(device)
        judge_batch(model, samples, program, rows[:WARM], [0, 1])
        started = time.perf_counter()
        parts = [judge_batch(model, samples, program, block, [0, 1])
                 for block in np.array_split(rows, -(-len(rows) // 128))]
        rates[name] = 2 * len(rows) / (time.perf_counter() - started)
        widths[name] = int(parts[0][1].shape[2])
        said |= {(name, task.name): np.concatenate([words[task.name] for words, _ in parts]) for task in samples.tasks}
    return said, widths, rates


def costed(one: "Plan", subject: "Subject", said: "Said", heat: float) -> "Plan":
    """A plan and what its truncation loses at temperature 1 and at that of distillation, where words are known."""
    from components.probabilities.planning import with_costs
    from components.probabilities.truncation import worst

    form = (one.k, one.dtype)
    return with_costs(one, {each: worst(said, subject.tasks, form, each) for each in (1.0, heat)}) if said else one


def sized(one: "Plan") -> str:
    """Room and time of a plan in words."""
    return room(one.size) + ("" if one.hours is None else f" and {one.hours:.3g} hours")


def room(size: int) -> str:
    """A number of bytes, short.

    >>> room(999), room(15_750), room(481_000_000_000)
    ('999 B', '15.8 kB', '481 GB')
    """
    scale = min(4, max(0, (len(str(size)) - 1) // 3))
    return f"{size / 1000**scale:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[scale]}"


def as_json(subject: "Subject", plans: list["Plan"], chosen: "Plan", same: list["Plan"]) -> dict[str, Any]:
    """The plans as data; same: the chosen one in both types of numbers."""
    return {"rows": subject.rows, "sources": list(subject.sources), "rates": dict(subject.rates),
            "plans": [asdict(one) for one in plans], "chosen": plans.index(chosen),
            "dtypes": {one.dtype: asdict(one) for one in same}}


def table(subject: "Subject", plans: list["Plan"], heat: float) -> Iterator[str]:
    """The plans as a table."""
    classes = ", ".join(f"{task.name} ({len(task.classes)})" for task in subject.tasks)
    yield f"{subject.rows:,} samples, tasks {classes}, teachers {', '.join(subject.sources)}"
    for name, rate in subject.rates.items():
        yield f"{name} judges {rate:,.0f} views a second"
    if subject.folds:
        yield (f"teach.folds: {subject.folds} copies of each teacher are trained first, each as long as the teacher "
               f"less 1/{subject.folds}: hours count judging alone")
    yield ""
    heats = [1.0] if heat == 1 else [1.0, heat]
    yield "".join(["       k  views      room  bytes a view     hours"]
                  + [f"  lost at T={each:<4g} (99 %)" for each in heats] * bool(plans[0].costs))
    for one in plans:
        each = one.size / (subject.rows * (one.views + 1) * len(subject.sources))
        hours = "-" if one.hours is None else f"{one.hours:.3g}"
        lost = [f"  {one.costs[at].mean:>9.2g} {one.costs[at].most:>9.2g}" for at in heats] if one.costs else []
        yield f"{one.k or 'all':>8}{one.views:>7}{room(one.size):>10}{each:>14.1f}{hours:>10}" + "  ".join(lost)


def advice(subject: "Subject", plans: list["Plan"], chosen: "Plan", limits: tuple[float, float]) -> Iterator[str]:
    """What there is to say of the plans, and of the one to take."""
    from components.probabilities.planning import whole_tasks

    yield ""
    for task in subject.tasks:
        if larger := [str(one.k) for one in plans if task.name in whole_tasks(subject, one.k)]:
            yield f"{task.name}: dense is cheaper than k = {', '.join(larger)}, and is what those plans take"
    if len(plans) == 1 and not plans[0].k:
        yield "dense is cheaper than any k for every task"
    heat, tolerance = limits
    if not chosen.costs:
        yield "what truncation loses was not measured: name --probabilities or --teachers"
    elif chosen.costs[heat].mean > tolerance:
        yield f"no plan loses less than {tolerance:g} nats at temperature {heat:g}; this one loses least"
    yield "views: besides the untouched image; bytes a view: of one sample and teacher, the untouched image a view too"
    if chosen.costs:
        yield "lost: divergence of what is read back from what was said, in nats: mean of the worst task and teacher"


def types(same: list["Plan"], limits: tuple[float, float], unknown: bool) -> Iterator[str]:
    """What half precision saves and what it loses; unknown: what it loses was lost before anything was measured."""
    half, full = sorted(same, key=lambda one: one.dtype)
    heat, tolerance = limits
    yield f"dtype: the same plan takes {room(half.size)} as float16 and {room(full.size)} as float32"
    if not half.costs:
        return
    if unknown:
        yield "what float16 loses cannot be measured on a store of float16: name --teachers"
        return
    lost, kept = half.costs[heat].mean, full.costs[heat].mean
    yield f"in all, float16 loses {lost:.2g} nats at temperature {heat:g}, float32 {kept:.2g}"
    if kept <= tolerance < lost:
        yield f"float16 loses more than {tolerance:g}, float32 does not: --set teach.dtype=float32 plans with it"


def halves(said: "Said") -> bool:
    """Whether all that was said are numbers that half precision holds."""
    import numpy as np

    return all(np.array_equal(values, values.astype(np.float16)) for values in said.values())


def taken(chosen: "Plan") -> list[str]:
    """The plan to take, as lines for params.yaml."""
    return ["", "take:", "", "teach:", f"  views: {chosen.views}", f"  k: {chosen.k}", f"  dtype: {chosen.dtype}"]
