"""`stillhouse pull-model`: copy a published model here, verified, or tell what is published."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.commands.publish import registry, registry_arguments
from components.errors import UserError

if TYPE_CHECKING:
    from components.storage.places import Place


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("which", nargs="?", default="latest", metavar="WHICH",
                        help="latest, previous, a tag, or the beginning of a digest (default: latest)")
    parser.add_argument("--to", type=Path, default=Path("models/champion"), metavar="FOLDER",
                        help="where model/ and export/ go (default: models/champion)")
    parser.add_argument("--mirror", nargs="?", type=Path, const=Path("registry"), metavar="FOLDER",
                        help="fill a registry folder instead, whose latest it becomes (default: registry), so that "
                        "`compare` holds new models against it")
    parser.add_argument("--list", action="store_true", help="copy nothing, tell what is published")
    registry_arguments(parser)


def command(options: argparse.Namespace) -> None:
    """Copy or list; UserError where nothing is published, or what is there was changed."""
    place = registry(options)
    if options.list:
        found = listed(place)
        print(as_json({"place": place.name, "models": found}) if options.json else "\n".join(lines(place, found)))
        return
    from components.deployment.pulling import into_folder, into_registry
    from components.deployment.registry import chosen

    digest = chosen(place, options.which)
    if digest is None:
        raise UserError(f"{place.name} has no {options.which} model", "publish one: stillhouse publish")
    where: Path = options.mirror or options.to
    if options.mirror:
        into_registry(place, digest, where)
    else:
        into_folder(place, digest, where)
    done = {"digest": digest, "place": place.name, "folder": str(where)}
    print(as_json(done) if options.json else f"{where}: model {digest[:12]} of {place.name}, verified")


def as_json(value: Any) -> str:
    """A value as this command prints it."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


def listed(place: "Place") -> list[dict[str, Any]]:
    """What is known of every published model: the latest first, then the previous, then by digest."""
    from components.deployment.registry import latest, published, tags

    now, named = latest(place), tags(place)
    order = {now.previous: 1, now.digest: 0}
    found = []
    for digest, parts in sorted(published(place), key=lambda one: (order.get(one[0], 2), one[0])):
        words = ["latest"] * (digest == now.digest) + ["previous"] * (digest == now.previous)
        names = words + sorted(tag for tag, tagged in named.items() if tagged == digest)
        found.append({"digest": digest, "parts": list(parts), "names": names} | about(place, digest))
    return found


def about(place: "Place", digest: str) -> dict[str, Any]:
    """What the head of a published model says; of a damaged one that, with a warning."""
    name = f"models/{digest}/model/model.json"
    try:
        head = json.loads(place.read(name)[0])
        return {"name": str(head["name"]), "architecture": str(head["architecture"]["name"]),
                "parameters": int(head.get("parameters", 0)), "tasks": [str(task["name"]) for task in head["tasks"]],
                "damaged": False}
    except (ValueError, LookupError, TypeError, AttributeError):
        print(f"warning: {place.name}/{name} is damaged; publish that model again from where it was made: "
              "stillhouse publish --model FOLDER", file=sys.stderr)
        return {"name": "", "architecture": "", "parameters": 0, "tasks": [], "damaged": True}


def lines(place: "Place", found: list[dict[str, Any]]) -> list[str]:
    """The list as the terminal shows it."""
    if not found:
        return [f"{place.name}: no model is published yet"]
    rows = [(one["digest"][:12], ", ".join(one["names"]),
             "damaged" if one["damaged"] else f"{one['name']} ({one['architecture']})",
             "" if one["damaged"] else f"{one['parameters']:,}", ", ".join(one["parts"])) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [f"{place.name}: {len(found)} published", *(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)]
