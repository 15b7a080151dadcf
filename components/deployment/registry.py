"""Published models: sealed folders by digest, and which of them is the latest.

    models/<digest of the model>/model/...     the sealed Model
    models/<digest of the model>/export/...    the sealed export of it
    latest.json                                {"digest": ..., "previous": ...}
    tags/NAME.json                             {"digest": ...}

What is published never changes. A receipt is stored behind all files that it names, so a folder that has one is whole;
latest.json is replaced when everything else is there and proved.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.storage import atomic, receipts
from components.storage.places import Place

LATEST = "latest.json"
PARTS = ("model", "export")


@dataclass(frozen=True)
class Latest:
    """Which model is the latest and which was before it (None: none), and the version of the file that says so."""

    digest: str | None
    previous: str | None
    version: str = ""


def latest(place: Place) -> Latest:
    """What latest.json of a place says; UserError where it is damaged. A place without one is empty."""
    content, version = place.read(LATEST)
    found = pointed(content, f"{place.name}/{LATEST}") if content else {}
    return Latest(found.get("digest"), found.get("previous"), version)


def pointed(content: bytes, what: str) -> dict[str, Any]:
    """The JSON of a pointer; UserError where it is none."""
    try:
        found = json.loads(content)
        fits = isinstance(found, dict) and all(one is None or is_digest(one) for one in found.values())
    except ValueError:
        fits = False
    if not fits or "digest" not in found:
        raise UserError(f"{what} is damaged: no digest of a model stands there", "publish a model again, or write "
                        '{"digest": null, "previous": null} for an empty registry')
    return dict(found)


def is_digest(value: object) -> bool:
    """Whether a value looks like a SHA-256 in hexadecimal."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def point(place: Place, name: str, digest: str | None, previous: str | None, version: str) -> None:
    """Replace a pointer that still has that version; TryAgain where another was faster."""
    place.replace(name, pointer(name, digest, previous), version)


def pointer(name: str, digest: str | None, previous: str | None) -> bytes:
    """The content of latest.json, or of a tag, which has no model before it."""
    values = {"digest": digest} | ({"previous": previous} if name == LATEST else {})
    return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()


def store(place: Place, digest: str, part: str, folder: Path) -> None:
    """Keep a sealed folder as a part of a model, unless it is there; what is there must be of the same digest.

    Every file is read back by its digest. Raises UserError where another folder is published under that name.
    """
    base, own = f"models/{digest}/{part}", receipts.verify(folder)
    there = place.digest(f"{base}/{receipts.NAME}")
    if there not in ("", own):
        raise UserError(f"{place.name}: model {digest[:12]} is published with another {part}, {there[:12]}; what is "
                        "published never changes", "publish another model, or go on with the one that is there")
    for name, expected in [*receipts.read(folder).files.items(), (receipts.NAME, own)]:
        if place.digest(f"{base}/{name}") != expected:
            place.put(f"{base}/{name}", folder / name)
            if place.digest(f"{base}/{name}") != expected:
                raise UserError(f"{place.name}/{base}/{name} is not what was stored there", "look at that disk or "
                                "bucket, then publish again")


def fetch(place: Place, digest: str, part: str, target: Path) -> bool:
    """Copy a part of a model into a new folder and verify it; False where the model has no such part."""
    base = f"models/{digest}/{part}/"
    names = place.names(base)
    if f"{base}{receipts.NAME}" not in names:
        return False
    for name in names:
        file = target / name.removeprefix(base)
        file.parent.mkdir(parents=True, exist_ok=True)
        place.get(name, file)
    found = receipts.verify(target)
    if part == "model" and found != digest:
        raise UserError(f"{place.name}: model {digest[:12]} has the digest {found[:12]}", "publish it again")
    atomic.flush(target)
    return True


def published(place: Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The digest of every model that is there whole, and its parts."""
    names = set(place.names("models/"))
    for digest in sorted({name.split("/")[1] for name in names}):
        parts = tuple(part for part in PARTS if f"models/{digest}/{part}/{receipts.NAME}" in names)
        if "model" in parts:
            yield digest, parts
