"""`stillhouse range-test SECTION`: a learning rate for a section, from a short training at climbing rates."""

import argparse
import base64
import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from components.commands.folders import write_folder
from components.errors import UsageError, UserError
from components.progress import progress
from components.settings import Params

if TYPE_CHECKING:
    from components.train import Train
    from components.training.rates import Climb, Climbed

RULES = ("tenth", "steepest")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("section", help="a section of params.yaml that is trained: student or teachers.NAME")
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset (default: data/dataset)")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="steps from --low to --high (default: 200)")
    parser.add_argument("--low", type=float, default=1e-5, metavar="RATE", help="the first rate (default: 1e-5)")
    parser.add_argument("--high", type=float, default=10.0, metavar="RATE", help="the last rate (default: 10)")
    parser.add_argument("--rule", choices=RULES, default="tenth",
                        help="tenth: a tenth of the rate at which the smoothed loss is lowest; steepest: the rate at "
                             "which it falls fastest, often higher (default: tenth)")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="where to (default: reports/range-test/SECTION)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a setting, e.g. student.optimizer.name=sgd")


def command(options: argparse.Namespace) -> None:
    """Write range.json, loss.csv and page.html, and print the suggestion.

    UsageError for a section that nothing trains; UserError, with the files written, where nothing can be suggested.
    """
    from components.train import Train

    if options.steps < 20 or not 0 < options.low < options.high:
        raise UsageError("--steps must be at least 20, and --low above 0 and below --high",
                         "stillhouse range-test --help")
    settings = Params.load(options.params, options.set).section(options.section)
    if not isinstance(settings, Train):
        raise UsageError(f"nothing is trained by section {options.section}", "expected student or teachers.NAME")
    from components.training.rates import RULES as MEANINGS
    from components.training.rates import Climb, suggestions

    wish = Climb(options.steps, options.low, options.high)
    climbed = climbed_by(settings.resolved(), options.dataset, wish)
    found = suggestions(climbed)
    told = report(options, settings, climbed, found, MEANINGS)
    files = {"range.json": json.dumps(told, sort_keys=True, indent=1, allow_nan=False) + "\n",
             "loss.csv": table(climbed), "page.html": page(told, picture(climbed, found, options.rule))}
    folder = options.out or Path("reports/range-test") / options.section
    write_folder(folder, files, "range.json")
    wrote = f"{climbed.ended}; wrote {', '.join(sorted(files))} to {folder}"
    if not found:
        print(wrote)
        raise UserError("no rate is suggested: the loss never fell by more than it wavers",
                        f"look at {folder / 'page.html'}; raise --steps or the batch, or set --low and --high")
    print(f"{options.section}.optimizer.lr: {found[options.rule]:.2g}   # {options.rule}: {MEANINGS[options.rule]}")
    print(wrote)


def climbed_by(settings: "Train", dataset: Path, wish: "Climb") -> "Climbed":
    """The test itself."""
    from components.data.dataset import Dataset
    from components.losses.objective import trained
    from components.training.devices import pick_device, use_threads
    from components.training.goals import Goal, losses_of
    from components.training.rates import climb

    samples = Dataset.open(dataset)
    use_threads(settings.runtime.threads)
    goal = Goal(settings.name, settings, trained(losses_of(settings, samples, settings.name)), settings.seed)
    return climb(goal, samples, pick_device(settings.runtime.device), wish,
                 lambda batches, total: progress(batches, total, f"range test of {settings.name}"))


def report(options: argparse.Namespace, settings: "Train", climbed: "Climbed", found: dict[str, float],
           meanings: dict[str, str]) -> dict[str, object]:
    """The facts of range.json."""
    from components.storage import receipts

    digest = receipts.digest(options.dataset) if receipts.is_sealed(options.dataset) else None
    return {"schema": 1, "kind": "range-test", "section": options.section, "dataset": digest, "seed": settings.seed,
            "optimizer": settings.optimizer.model_dump(mode="json"), "batch": settings.batch,
            "low": options.low, "high": options.high, "steps": options.steps, "made": len(climbed.losses),
            "ended": climbed.ended, "suggested": found, "rules": meanings, "rule": options.rule,
            "suggestion": found.get(options.rule)}


def table(climbed: "Climbed") -> str:
    """Rates and losses as CSV."""
    from components.training.rates import smoothed

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["step", "rate", "loss", "smoothed"])
    rows = zip(climbed.rates, climbed.losses, smoothed(climbed.losses), strict=True)
    writer.writerows([step, f"{rate:.6g}", f"{loss:.6f}", f"{mean:.6f}"] for step, (rate, loss, mean)
                     in enumerate(rows, start=1))
    return stream.getvalue()


def picture(climbed: "Climbed", found: dict[str, float], rule: str) -> str:
    """The loss over the rate, as the address of a PNG."""
    from matplotlib.figure import Figure

    from components.evaluation.figures import COLOURS, DPI, finished
    from components.training.rates import smoothed

    figure = Figure(figsize=(8.0, 4.4), dpi=DPI, layout="constrained")
    axes, means = figure.subplots(), smoothed(climbed.losses)
    axes.plot(climbed.rates, climbed.losses, ".", color=COLOURS[5], markersize=3, label="loss of a step")
    axes.plot(climbed.rates, means, color=COLOURS[0], label="smoothed")
    for number, (name, rate) in enumerate(found.items()):
        axes.axvline(rate, color=COLOURS[1 + number], linestyle="-" if name == rule else ":",
                     label=f"{name}: {rate:.2g}")
    axes.set_xscale("log")
    spread = float(means.max() - means.min())
    axes.set_ylim(float(means.min()) - 0.1 * spread, float(means.max()) + 0.1 * spread)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    return "data:image/png;base64," + base64.b64encode(finished(figure).png).decode("ascii")


def page(told: dict[str, object], image: str) -> str:
    """The report as one HTML file that needs nothing else."""
    from components.pages.rendering import rendered

    return rendered(Path(__file__).with_name("range_test.html"), {"told": told, "image": image})
