"""The page of `benchmarks.distillation`: what came out, good or bad."""

import math
import statistics
from typing import Any

from benchmarks.rows import Rows, mean, told

Found = list[dict[str, Any]]


def page(results: Rows, against: dict[str, str], rule: str) -> str:
    """The results as Markdown; against: the plain student that each row is held against."""
    names = list(against)
    known = [name for name in names if results.of(name)]
    minutes = sum(row["cpu_seconds"] for row in results.rows.values()) / 60
    missing = [f"{name} ({len(results.of(name))} seeds)" if name in known else name for name in names
               if len(results.of(name)) < most_seeds(results, names)]
    return "\n".join([
        "# What a store is worth to a student", "", rule, "", f"Machine: {results.under['machine']}.",
        "Accuracies are in percent: means over seeds, with their standard deviation. Held out: val and test together. "
        "Gain: of the means over the plain student's (of as many epochs and labels, for a row from a store), with the "
        "standard error that the deviations of both give it. "
        "Seconds: CPU time of an epoch on one thread, looking at val included; measured on a shared machine, so that "
        "`benchmarks.distilling_speed` is what to compare by. Bytes: of all files of the store.",
        "", "| student | seeds | held out | gain | test | log-loss, held out | s an epoch | bytes a sample |",
        "|---" * 8 + "|", *(line(results, name, against[name]) for name in sorted(
            known, key=lambda name: -mean(results.of(name), "held_out", "accuracy"))),
        "", *verdicts(results, [name for name in names if against[name] == names[0]]),
        *table("| teacher | epochs | train | held out | test | CPU s |", teachers(results)),
        *table("| store, seed | views | bytes a sample and view | CPU s |", stores(results)),
        f"CPU minutes in all: {minutes:.0f}; of what was cut off and went on, those of its last part. Not "
        f"trained, or with fewer seeds: {'; '.join(missing) or 'none'}.", ""])


def table(head: str, lines: list[str]) -> list[str]:
    """A table between empty lines; a single empty line where it has no rows."""
    return ["", head, "|---" * (head.count("|") - 1) + "|", *lines, ""] if lines else [""]


def most_seeds(results: Rows, names: list[str]) -> int:
    """How many seeds a row has where it has most."""
    return max((len(results.of(name)) for name in names), default=0)


def line(results: Rows, name: str, plain: str) -> str:
    """A student's row of the table."""
    rows = results.of(name)
    seconds = statistics.mean(row["epoch_seconds"] for row in rows)
    room = f"{rows[0]['bytes_a_sample']:.0f}" if "bytes_a_sample" in rows[0] else "–"
    gain = "" if name == plain or not results.of(plain) else told_gain(rows, results.of(plain))
    cells = [told(rows, "held_out", "accuracy"), gain, told(rows, "test", "accuracy")]
    loss = mean(rows, "held_out", "log_loss")
    return f"| {name} | {len(rows)} | {' | '.join(cells)} | {loss:.3f} | {seconds:.2f} | {room} |"


def gained(rows: Found, others: Found) -> float:
    """Points of accuracy on held-out images over others."""
    return 100 * (mean(rows, "held_out", "accuracy") - mean(others, "held_out", "accuracy"))


def deviation(rows: Found) -> float:
    """Standard deviation over seeds, in points; not known of one."""
    return 100 * statistics.stdev(row["held_out"]["accuracy"] for row in rows) if len(rows) > 1 else math.nan


def told_gain(rows: Found, others: Found) -> str:
    """A gain with its standard error where that is known."""
    error = math.sqrt(deviation(rows) ** 2 / len(rows) + deviation(others) ** 2 / len(others))
    return f"{gained(rows, others):+.1f}" + (f" ± {error:.1f}" if math.isfinite(error) else "")


def verdicts(results: Rows, names: list[str]) -> list[str]:
    """Whether the best beats the plain student by more than seeds differ, and whether a store equals its teacher."""
    found, plain = [], results.of(names[0])
    learnt = [name for name in names[1:] if len(results.of(name)) > 1 and "heard" in results.of(name)[0]]
    if learnt and len(plain) > 1:
        best = max(learnt, key=lambda name: mean(results.of(name), "held_out", "accuracy"))
        spread = max(deviation(results.of(best)), deviation(plain))
        found.append(f"Best from a store: {best}, {gained(results.of(best), plain):+.1f} points over the plain "
                     f"student; the larger deviation of the two over seeds is {spread:.1f}.")
    for stored, live in (("replayed, 1 view", "live teacher, 1 view"), ("replayed, 16 views", "live teacher")):
        ours, theirs = results.of(stored), results.of(live)
        if len(ours) > 1 and len(theirs) > 1:
            found.append(f"{stored} against {live}: {gained(ours, theirs):+.1f} points; deviations over seeds "
                         f"{deviation(ours):.1f} and {deviation(theirs):.1f}.")
    return found


def teachers(results: Rows) -> list[str]:
    """Rows of the table of teachers."""
    return [f"| {name.removeprefix('teacher ')} | {row['epochs']} | {told([row], 'train', 'accuracy')} | "
            f"{told([row], 'held_out', 'accuracy')} | {told([row], 'test', 'accuracy')} | {row['cpu_seconds']:.0f} |"
            for name in named(results, "teacher ") for row in results.of(name)]


def stores(results: Rows) -> list[str]:
    """Rows of the table of stores."""
    return [f"| {name.removeprefix('store ')}, {seed} | {row['views']} and the untouched image | "
            f"{row['bytes'] / row['samples'] / (row['views'] + 1):.1f} | {row['cpu_seconds']:.0f} |"
            for name in named(results, "store ") for seed, row in enumerate(results.of(name))]


def named(results: Rows, kind: str) -> list[str]:
    """Names of a kind, in order."""
    return sorted({key.rpartition("/")[0] for key in results.rows if key.startswith(kind)})
