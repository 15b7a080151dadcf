"""`stillhouse suggest`: which images are most worth a label."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.commands.folders import write_folder
from components.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from components.probabilities.sayings import Floats, Rows, Sayings
    from components.probabilities.suggestions import Wish

MEASURES = ("entropy", "margin", "disagreement")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset, unlabelled images among its rows (default: data/dataset)")
    parser.add_argument("--probabilities", type=Path, default=Path("data/probabilities"), metavar="PATH",
                        help="what models say of it, from teach (default: data/probabilities)")
    parser.add_argument("--out", type=Path, default=Path("reports/suggest"), metavar="FOLDER",
                        help="where to (default: reports/suggest)")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="how many images (default: 100)")
    parser.add_argument("--task", action="append", default=[], metavar="NAME",
                        help="a task whose labels are wanted (default: all)")
    parser.add_argument("--split", default="", metavar="NAME", help="only samples of this split")
    parser.add_argument("--labelled", action="store_true", help="rank samples that have their labels too")
    parser.add_argument("--by", choices=MEASURES, default="entropy", help="measure of uncertainty (default: entropy)")
    parser.add_argument("--diversity", type=float, default=1.0, metavar="POWER",
                        help="power of the distance in the choice; 0: by uncertainty alone (default: 1)")
    parser.add_argument("--model", type=Path, metavar="PATH",
                        help="a model in whose embedding images differ (default: they differ by their probabilities)")
    parser.add_argument("--source", action="append", default=[], metavar="NAME",
                        help="a model whose words count (default: all in the store)")
    parser.add_argument("--most", type=int, default=100, metavar="N", help="images in the page (default: 100)")


def command(options: argparse.Namespace) -> None:
    """Write suggestions.csv, suggestions.json and page.html, and print where they are."""
    from components.probabilities.sayings import open_both
    from components.probabilities.suggestions import candidates, suggestions
    from components.probabilities.suggestions_page import page

    if options.count < 1 or options.diversity < 0:
        raise UsageError("--count must be at least 1 and --diversity at least 0", "stillhouse suggest --help")
    sayings = open_both(options.dataset, options.probabilities, options.source)
    wish = wished(options, sayings)
    notes = [*sayings.notes, *warnings(sayings, wish)]
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    found = candidates(sayings, wish)
    chosen = suggestions(sayings, wish, found, vectors(options.model, sayings, wish, found["place"].to_numpy()))
    text = json.dumps(report(sayings, wish, options.model, len(found), notes), sort_keys=True, indent=1,
                      ensure_ascii=False, allow_nan=False)
    files = {"suggestions.csv": table(chosen, wish), "suggestions.json": text + "\n",
             "page.html": page(sayings.dataset, chosen, wish, max(0, options.most), notes)}
    write_folder(options.out, files, "suggestions.json")
    print(f"{len(chosen)} images to label next\nwrote {', '.join(sorted(files))} to {options.out}")


def wished(options: argparse.Namespace, sayings: "Sayings") -> "Wish":
    """The options as the room takes them."""
    from components.probabilities.auditing import chosen_tasks
    from components.probabilities.suggestions import Wish

    tasks = tuple(chosen_tasks(sayings, options.task))
    return Wish(tasks, options.count, options.by, options.split, options.labelled, options.diversity)


def warnings(sayings: "Sayings", wish: "Wish") -> list[str]:
    """What makes the ranking weaker than it looks."""
    if wish.by == "disagreement" and len(sayings.sources) * len(sayings.store.views) == 1:
        return ["one source and one view cannot disagree: all samples rank alike; use --by entropy"]
    return []


def vectors(model: Path | None, sayings: "Sayings", wish: "Wish", places: "Rows") -> "Floats":
    """Where candidates stand: in the embedding of a model, or by what is said of them."""
    from components.probabilities.suggestions import spoken

    if model is None:
        return spoken(sayings, wish.tasks, places)
    from components.models.artifact import load_model, refuse_misfit
    from components.probabilities.embedding import embeddings

    loaded = load_model(model)
    refuse_misfit(loaded.name, loaded.head, sayings.dataset)
    return embeddings(loaded, sayings.dataset, sayings.rows[places])


def report(sayings: "Sayings", wish: "Wish", model: Path | None, found: int, notes: list[str]) -> dict[str, object]:
    """The facts of suggestions.json."""
    from components.storage import receipts

    artifacts = {"dataset": sayings.dataset.path, "probabilities": sayings.store.path, "model": model}
    digests = {name: receipts.digest(path) if path and receipts.is_sealed(path) else None
               for name, path in artifacts.items()}
    return digests | {"schema": 1, "kind": "suggestions", "sources": list(sayings.sources), "candidates": found,
                      "tasks": [task.name for task in wish.tasks], "by": wish.by, "split": wish.split,
                      "labelled": wish.labelled, "diversity": wish.diversity, "count": wish.count, "notes": notes}


def table(chosen: "pd.DataFrame", wish: "Wish") -> str:
    """The ranking as CSV; the first image has no distance."""
    from components.data.manifest import harmless
    from components.probabilities.policies import written

    cells: dict[str, list[str]] = {"rank": [str(rank) for rank in chosen["rank"]], "id": chosen["id"].tolist()}
    cells |= {name: [harmless(cell) for cell in chosen[name]] for name in ("path", "split")}
    cells |= {name: [f"{value:.6f}" for value in chosen[name]] for name in MEASURES}
    cells |= {"distance": [f"{value:.6f}" if value < float("inf") else "" for value in chosen["distance"]]}
    for task in wish.tasks:
        cells[f"suggested.{task.name}"] = [harmless(cell) for cell in chosen[f"suggested.{task.name}"]]
        cells[f"probability.{task.name}"] = [f"{value:.6f}" for value in chosen[f"probability.{task.name}"]]
    return written(tuple(cells), zip(*cells.values(), strict=True))
