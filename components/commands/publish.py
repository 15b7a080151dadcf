"""`stillhouse publish`: make a model that passed the gate the latest of a registry, or go back to an earlier one."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import UsageError, UserError
from components.settings import Params

if TYPE_CHECKING:
    from components.deployment.promotion import Candidate
    from components.storage.places import Place

REGISTRY = "promote.registry"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", type=Path, default=Path("models/distilled"), metavar="FOLDER",
                        help="the sealed Model (default: models/distilled)")
    parser.add_argument("--exported", type=Path, default=Path("exported"), metavar="FOLDER",
                        help="the export of that Model (default: exported)")
    parser.add_argument("--no-export", action="store_true", help="publish the Model alone")
    parser.add_argument("--verdict", type=Path, default=Path("reports/compare/verdict.json"), metavar="FILE",
                        help="what `compare` said of it (default: reports/compare/verdict.json)")
    parser.add_argument("--force", action="store_true", help="publish against the verdict, or without one")
    parser.add_argument("--tag", default="", metavar="NAME", help="name that is moved to the model as well")
    parser.add_argument("--rollback", nargs="?", const="previous", default="", metavar="WHICH",
                        help="publish nothing, but make the previous model the latest again, or the one of a tag or of "
                        "the beginning of a digest")
    registry_arguments(parser)


def registry_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says which registry, and how to print."""
    parser.add_argument("--registry", default="", metavar="PLACE",
                        help=f"folder, or s3://bucket/prefix (default: {REGISTRY} of params.yaml)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help=f"settings, of which {REGISTRY} is read where the file is there (default: params.yaml)")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def command(options: argparse.Namespace) -> None:
    """Publish or roll back; UserError where the model may not be published, TryAgain where another was faster."""
    from components.deployment.promotion import publish, roll_back
    from components.deployment.registry import latest

    place = registry(options)
    before = latest(place).digest
    if options.rollback:
        if options.tag or options.force:
            raise UsageError("--rollback takes no --tag and no --force", "stillhouse publish --help")
        digest = roll_back(place, options.rollback)
    else:
        digest = publish(place, candidate(options), options.tag, options.force)
    done = {"digest": digest, "previous": before, "place": place.name}
    print(json.dumps(done, indent=1, sort_keys=True) if options.json else "\n".join(told(done, options.tag)))


def registry(options: argparse.Namespace) -> "Place":
    """The place that the options or params.yaml name."""
    from components.storage.places import place_of

    return place_of(options.registry or str(settings(options.params).setting(REGISTRY)))


def settings(path: Path) -> Params:
    """The settings of a file; defaults where it is not there."""
    return Params.load(path) if path.is_file() else Params({}, str(path))


def candidate(options: argparse.Namespace) -> "Candidate":
    """What is to be published; UserError where it is not here."""
    from components.deployment.promotion import Candidate
    from components.storage import receipts

    exported = None if options.no_export else options.exported
    for folder, stage in ((options.model, "distill"), (exported, "export")):
        if folder is not None and not receipts.is_sealed(folder):
            raise UserError(f"{folder} is no sealed artifact", f"make it: dvc repro {stage}" + (
                "; or publish the model alone: --no-export" if stage == "export" else ""))
    return Candidate(options.model, exported, verdict_in(options.verdict))


def verdict_in(path: Path) -> dict[str, Any] | None:
    """The content of a verdict.json; None where there is none, UserError where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}", "make it again: dvc repro compare") from None
    return found if isinstance(found, dict) else {}


def told(done: dict[str, Any], tag: str) -> list[str]:
    """What was done, in words."""
    digest, before, place = done["digest"], done["previous"], done["place"]
    if before == digest:
        lines = [f"{place}: model {digest[:12]} was the latest already"]
    else:
        lines = [f"{place}: the latest is now model {digest[:12]}" + (f", before it {before[:12]}" if before else "")]
    return lines + ([f"tag {tag} names it"] if tag else [])
