"""`stillhouse audit`: which given labels are likely wrong, by what models say of the samples."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.commands.folders import write_folder

if TYPE_CHECKING:
    import pandas as pd

    from components.probabilities.sayings import Sayings

POLICIES = ("report", "weight", "quarantine")
SHOWN = ("path", "split", "judged", "task", "label", "given", "suggested", "probability", "suggested_probability",
         "margin", "score", "rank", "id")
FIGURES = ("probability", "suggested_probability", "margin", "score")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--dataset", type=Path, default=Path("data/dataset"), metavar="PATH",
                        help="the Dataset (default: data/dataset)")
    parser.add_argument("--probabilities", type=Path, default=Path("data/probabilities"), metavar="PATH",
                        help="what models say of it: from teach, or data/predictions (default: data/probabilities)")
    parser.add_argument("--out", type=Path, default=Path("reports/audit"), metavar="FOLDER",
                        help="where to (default: reports/audit)")
    parser.add_argument("--policy", choices=POLICIES, default="report",
                        help="weight: less weight for doubted samples; quarantine: a manifest without them")
    parser.add_argument("--everywhere", action="store_true",
                        help="apply the policy to val and test too, which flatters every later figure")
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="a task to audit (default: all)")
    parser.add_argument("--source", action="append", default=[], metavar="NAME",
                        help="a model whose words count (default: all in the store)")
    parser.add_argument("--most", type=int, default=48, metavar="N", help="samples of each task in the page (48)")


def command(options: argparse.Namespace) -> None:
    """Write audit.csv, audit.json, page.html and the files of the policy; print what was found."""
    from components.probabilities.audit_page import page
    from components.probabilities.auditing import audit, findings, summary
    from components.probabilities.policies import applied
    from components.probabilities.sayings import open_both

    sayings = open_both(options.dataset, options.probabilities, options.source)
    parts = audit(sayings, options.task)
    found, figures = findings(sayings, parts), summary(parts)
    notes = [*sayings.notes, *warnings(sayings, figures, options.task)]
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    concerned = found if options.everywhere else found[found["split"] == "train"]
    files = applied(sayings.dataset, concerned, options.policy)
    head = {"policy": options.policy, "everywhere": options.everywhere, "notes": notes}
    text = json.dumps(report(sayings, figures) | head, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    files |= {"audit.csv": table(found), "audit.json": text + "\n",
              "page.html": page(sayings.dataset, found, figures, max(0, options.most), notes)}
    write_folder(options.out, files, "audit.json")
    print("\n".join(lines(figures, options.out, sorted(files), concerned["row"].nunique())))


def warnings(sayings: "Sayings", figures: dict[str, Any], tasks: Sequence[str]) -> list[str]:
    """What makes the findings weaker than they look."""
    found = []
    if any("learnt" in one for one in figures.values()):
        found.append("the models had learnt the labels of train (the store has no folds): findings in train are weak, "
                     "and ranked apart from the others")
    found += [f"task {task.name} has no labelled sample that the store covers"
              for task in sayings.tasks if task.name not in figures and (not tasks or task.name in tasks)]
    return found


def report(sayings: "Sayings", figures: dict[str, Any]) -> dict[str, Any]:
    """The facts of audit.json."""
    from components.storage import receipts

    digests = {name: receipts.digest(path) if receipts.is_sealed(path) else None
               for name, path in (("dataset", sayings.dataset.path), ("probabilities", sayings.store.path))}
    return digests | {"schema": 1, "kind": "audit", "sources": list(sayings.sources), "tasks": figures,
                      "out_of_fold": sayings.out_of_fold, "covered": len(sayings.rows)}


def table(found: "pd.DataFrame") -> str:
    """Every finding as CSV."""
    from components.data.manifest import harmless
    from components.probabilities.policies import written

    cells = {name: [f"{value:.6f}" for value in found[name]] if name in FIGURES else
             [harmless(str(value)) for value in found[name]] for name in SHOWN}
    return written(SHOWN, zip(*cells.values(), strict=True))


def lines(figures: dict[str, Any], out: Path, files: Sequence[str], concerned: int) -> list[str]:
    """What is printed: a line for each task and side, and what was written."""
    found = [f"{name}, {judged.replace('_', ' ')}: {one['flagged']} of {one['labels']} labels doubted, about "
             f"{one['estimated_errors']:.0f} estimated wrong"
             for name, sides in figures.items() for judged, one in sides.items() if judged != "kind"]
    if "manifest.csv" in files:
        found.append(f"policy: {concerned} samples; data.path can name {out / 'manifest.csv'}, data.root the folder of "
                     "the images")
    return [*found, f"wrote {', '.join(files)} to {out}"]
