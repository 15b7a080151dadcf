"""`stillhouse tune SECTION`: how fast the section trains in each way that this machine offers."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UsageError
from components.settings import Params

if TYPE_CHECKING:
    from components.training.tuning import Course, Way

HEADINGS = ("images/s", "of usual", "precision", "memory_format", "compile", "threads", "workers")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("section", help="a section of params.yaml that is trained: student or teachers.NAME")
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset (default: data/dataset)")
    parser.add_argument("--threads", type=numbers, default=[], metavar="N,...",
                        help="CPU threads to try (default: runtime.threads)")
    parser.add_argument("--workers", type=numbers, default=[], metavar="N,...",
                        help="loader processes to try (default: runtime.workers)")
    parser.add_argument("--compile", action="store_true", help="try compiled code too; each takes minutes to begin")
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="how often all ways are measured in turn (default: 5)")
    parser.add_argument("--steps", type=int, default=4, metavar="N", help="steps in each round (default: 4)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a setting, e.g. student.batch=128")


def numbers(text: str) -> list[int]:
    """Whole numbers between commas.

    >>> numbers("1,2")
    [1, 2]
    """
    return [int(part) for part in text.split(",")]


def command(options: argparse.Namespace) -> None:
    """Measure, print the table and the lines for params.yaml; UsageError for a section that nothing trains."""
    if options.rounds < 1 or options.steps < 1 or min([*options.threads, *options.workers, 0]) < 0:
        raise UsageError("--rounds and --steps must be at least 1, --threads and --workers at least 0",
                         "stillhouse tune --help")
    settings = Params.load(options.params, options.set).section(options.section)
    from components.data.dataset import Dataset
    from components.train import Train
    from components.training.devices import pick_device
    from components.training.tuning import goal_of, measure, usual, ways

    if not isinstance(settings, Train):
        raise UsageError(f"nothing is trained by section {options.section}", "expected student or teachers.NAME")
    runtime, dataset = settings.runtime, Dataset.open(options.dataset)
    device = pick_device(runtime.device)
    now = usual(settings, device, runtime.threads, runtime.workers)
    found = ways(device, options.threads or [runtime.threads], options.workers or [runtime.workers], options.compile)
    tried = list(dict.fromkeys([now, *found]))
    goal = goal_of(settings, settings.seed, settings.name, dataset)
    courses = measure(goal, dataset, device, tried, (options.rounds, options.steps))
    print("\n".join([about(courses[0], options), "", *table(courses, now), "", *advice(courses, now, options.section)]))


def about(course: "Course", options: argparse.Namespace) -> str:
    """What was measured."""
    height, width = course.size
    return (f"{options.section}: {course.job.recipe.model.name}, {height} x {width} pixels, batches of "
            f"{course.job.recipe.batch}, {course.job.device.type} with {os.cpu_count()} CPU cores; median of "
            f"{options.rounds} rounds of {options.steps} steps, by turns")


def table(courses: list["Course"], now: "Way") -> list[str]:
    """A line for each way, the fastest first; * marks the settings as they are."""
    base = next(course.speed() for course in courses if course.way == now)
    rows = [HEADINGS] + [(f"{course.speed():.1f}", f"{course.speed() / base:.2f}" + "*" * (course.way == now),
                          *(str(value) for value in vars(course.way).values())) for course in courses]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def advice(courses: list["Course"], now: "Way", section: str) -> list[str]:
    """The lines for params.yaml, or that nothing need be changed."""
    best, base = courses[0], next(course.speed() for course in courses if course.way == now)
    if best.way == now:
        return ["The settings as they are (*) are the fastest of these."]
    told = [f"The fastest, {best.speed() / base:.2f} times as fast as now (*), is written in params.yaml as", ""]
    return told + [f"    {line}" for line in best.way.lines(section)] + [
        "", "Another precision, layout or code makes another model: what was trained before is then trained anew."]
