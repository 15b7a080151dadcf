"""`stillhouse compare-data OLD NEW`: what changed between two Datasets, and whether it matters."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UserError

if TYPE_CHECKING:
    from components.data.comparing import Comparison

MOST = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("old", type=Path, metavar="OLD", help="a Dataset folder, or its dataset.json alone")
    parser.add_argument("new", type=Path, metavar="NEW", help="the one to hold against it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON (-: to the terminal)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page to look at in a browser")
    parser.add_argument("--fail-on", choices=["minor", "major"], help="exit with 1 where the verdict is this or worse")


def command(options: argparse.Namespace) -> None:
    """Compare, write and print; UserError where the verdict is as bad as --fail-on says."""
    from components.data.comparing import compare, opened
    from components.data.comparing_page import page
    from components.data.drift import VERDICTS
    from components.storage.atomic import write_file
    from components.storage.digests import json_text

    found = compare(opened(options.old), opened(options.new))
    text = json_text(found.to_json())
    to_terminal = options.json == Path("-")
    print(text if to_terminal else "\n".join(lines(found)), end="" if to_terminal else "\n")
    if options.json and not to_terminal:
        write_file(options.json, text)
    if options.page:
        write_file(options.page, page(found))
    worst = options.fail_on and VERDICTS.index(found.verdict) >= VERDICTS.index(options.fail_on)
    if worst:
        first = next(one for one in found.findings if one.verdict == found.verdict)
        raise UserError(f"{options.new} differs from {options.old}: {found.verdict}, {first.kind}, {first.what}: "
                        f"{first.reason}", "look at --page FILE; where the change is meant, train again on the new set")


def lines(found: "Comparison") -> Iterator[str]:
    """What the terminal shows: the verdict, the samples, then findings that matter."""
    yield f"{found.new.name} against {found.old.name}: {found.verdict}"
    yield from ("  " + line for line in told(found))
    mattering = [one for verdict in ("major", "minor") for one in found.findings if one.verdict == verdict]
    yield from (f"  {one.verdict}  {one.kind}, {one.what}: {one.reason}" for one in mattering[:MOST])
    if len(mattering) > MOST:
        yield f"  and {len(mattering) - MOST} more (--json, --page)"
    yield f"  {len(found.findings) - len(mattering)} of {len(found.findings)} comparisons found nothing that matters"


def told(found: "Comparison") -> Iterator[str]:
    """What became of the samples."""
    if found.counts is None:
        yield "samples: not compared, a samples.parquet is missing beside a dataset.json"
        return
    counts = found.counts
    yield f"samples: {counts['kept']} stayed, {counts['added']} came, {counts['removed']} went"
    if counts["moved"]:
        yield "moved: " + ", ".join(f"{number} from {way}" for way, number in counts["moved"].items())
    changed = {task: number for task, number in counts["relabelled"].items() if number}
    if changed:
        yield "relabelled: " + ", ".join(f"{number} of {task}" for task, number in changed.items())
