"""Published models: sealed folders by digest, and which of them is the latest.

    models/<digest of the model>/model/...     the sealed Model
    models/<digest of the model>/export/...    the sealed export of it
    latest.json                                {"digest": ..., "previous": ...}
    tags/NAME.json                             {"digest": ...}

What is published never changes. A receipt is stored behind all files that it names, so a folder that has one is whole;
latest.json is replaced when everything else is there and proved.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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
        raise UserError(f"{what} is damaged: no digest of a model stands there", 'write {"digest": "...", '
                        '"previous": null} there, with the digest of a model below models/, or null for none')
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

    Every file is stored and compared: in a folder by reading it back, in a bucket by the checksum to which the server
    held it. Raises UserError where another folder is published under that name.
    """
    base, own = f"models/{digest}/{part}", receipts.verify(folder)
    there = place.digest(f"{base}/{receipts.NAME}")
    if part != "model" and there not in ("", own):  # of a model, another one can only be damage: its name is its digest
        raise UserError(f"{place.name}: model {digest[:12]} is published with another {part}, {there[:12]}; what is "
                        "published never changes", "publish another model, or go on with the one that is there")
    for name, expected in [*receipts.read(folder).files.items(), (receipts.NAME, own)]:
        put_proved(place, f"{base}/{name}", folder / name, expected)


def put_proved(place: Place, name: str, source: Path, expected: str) -> None:
    """Keep a file whose digest is known, unless it is there; a damaged one is replaced with a warning."""
    before = place.digest(name)
    if before == expected:
        return
    if before:
        print(f"warning: {place.name}/{name} was damaged and is replaced", file=sys.stderr)
    place.put(name, source)
    if place.digest(name) != expected:
        raise UserError(f"{place.name}/{name} is not what was stored there", "look at that disk or bucket, then "
                        "publish again")


def fetch(place: Place, digest: str, part: str, target: Path) -> bool:
    """Copy a part of a model into a folder and verify it; False where the model has no such part.

    Only files that the receipt names are copied, it behind them; the receipt must be the one that was published.
    """
    base = f"models/{digest}/{part}"
    content, _ = place.read(f"{base}/{receipts.NAME}")
    if not content:
        return False
    files, made_from = receipt_of(content, f"{place.name}/{base}")
    if digest not in ((hashlib.sha256(content).hexdigest(),) if part == "model" else (made_from,)):
        raise UserError(f"{place.name}/{base} is of another model than {digest[:12]}", "publish it again")
    for name in files:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        place.get(f"{base}/{name}", file)
    (target / receipts.NAME).write_bytes(content)
    receipts.verify(target)
    atomic.flush(target)
    return True


def receipt_of(content: bytes, what: str) -> tuple[dict[str, str], str]:
    """Files of a published receipt, and the model that it was made from; UserError for one that is none of ours."""
    try:
        found = json.loads(content)
        files, made_from = dict(found["files"]), str(found["inputs"].get("model", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{what}/{receipts.NAME} is damaged", "publish the model again") from None
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{what}/{receipts.NAME} names {name}, which leads out of its folder",
                            "do not use this registry before you know who wrote that")
    return files, made_from


def published(place: Place) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The digest of every model that is there whole, and its parts."""
    names = set(place.names("models/"))
    for digest in sorted({name.split("/")[1] for name in names}):
        parts = tuple(part for part in PARTS if f"models/{digest}/{part}/{receipts.NAME}" in names)
        if "model" in parts:
            yield digest, parts


def tags(place: Place) -> dict[str, str]:
    """The digest that each tag names."""
    found = {}
    for name in place.names("tags/"):
        content, _ = place.read(name)
        found[name.removeprefix("tags/").removesuffix(".json")] = pointed(content, f"{place.name}/{name}")["digest"]
    return found


def chosen(place: Place, which: str) -> str | None:
    """The digest that a word means: latest, previous, a tag, or the beginning of a digest; None: nothing is published.

    Raises UserError for a word that means nothing there, or several models.
    """
    if which in ("latest", "previous"):
        found = latest(place)
        return found.digest if which == "latest" else found.previous
    if which in (named := tags(place)):
        return named[which]
    known = [digest for digest, _ in published(place) if digest.startswith(which)]
    if len(known) == 1:
        return known[0]
    cause = f"{len(known)} models of {place.name} begin with" if known else f"{place.name} has no model or tag called"
    raise UserError(f"{cause} {which}", "stillhouse pull-model --list tells what is there")


def check(place: Place, digest: str) -> None:
    """UserError where a published model is not there whole, or a file of it is not what was published."""
    parts = dict(published(place)).get(digest, ())
    if not parts:
        raise UserError(f"{place.name}: model {digest[:12]} is not there whole", "publish it again")
    for part in parts:
        base = f"models/{digest}/{part}"
        content, _ = place.read(f"{base}/{receipts.NAME}")
        own = digest if part == "model" else hashlib.sha256(content).hexdigest()
        files, _ = receipt_of(content, f"{place.name}/{base}")
        for name, expected in (files | {receipts.NAME: own}).items():
            if place.digest(f"{base}/{name}") != expected:
                raise UserError(f"{place.name}/{base}/{name} was changed after it was published", "publish it again")
