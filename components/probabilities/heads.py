"""The head of a store: JSON in one spelling, with a digest of itself; and how two heads differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError, shown
from components.probabilities.parts import REMEDY
from components.storage.digests import value_digest

SCHEMA = 2
HEAD = "probabilities.json"
UNFINISHED = "unfinished.json"  # the head of a store that is being written, without what is known at the end


def head_text(head: Mapping[str, Any]) -> str:
    """The bytes of a head: sorted keys, one space of indent, `digest` over all other fields."""
    fields = {name: value for name, value in head.items() if name != "digest"}
    return json.dumps(fields | {"digest": value_digest(fields)}, indent=1, sort_keys=True, allow_nan=False,
                      ensure_ascii=False) + "\n"


def read_head(path: Path, name: str = HEAD) -> dict[str, Any]:
    """The head of a store; UserError where there is none, where it is of another schema, or where it was changed."""
    file = path / name
    try:
        text = file.read_text(encoding="utf-8", errors="strict")
        head = json.loads(text)
        schema = head["schema"]
    except FileNotFoundError:
        raise UserError(*absent(path)) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{file} is damaged: it is no JSON object with a schema", REMEDY) from None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {shown(schema)}; this version reads {SCHEMA}",
                        "make it again: dvc repro teach")
    if head_text(head) != text:
        raise UserError(f"{file} is damaged: its digest is {shown(head.get('digest'))}, and its bytes do not fit it",
                        REMEDY)
    return dict(head)


def folds_head(count: int, seed: int, by: Sequence[str], weights: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the head of a store says of copies that judged what they had not learnt.

    by: what stays in one fold. weights: SHA-256 of the weights of each copy by source.
    """
    return {"count": count, "seed": seed, "by": list(by), "weights": {name: list(of) for name, of in weights.items()},
            "others": "mean of the probabilities of all"}


def absent(path: Path) -> tuple[str, str]:
    """Cause and remedy where a folder has no head."""
    if (path / UNFINISHED).is_file():
        return (f"{path} is not finished: it has {UNFINISHED} and no {HEAD} yet",
                "wait for its writer, or run the same teach again: it goes on")
    return f"{path} is no store: it has no {HEAD}", "make it (dvc repro teach), or correct the path"


def differences(field: str, have: Any, want: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every innermost place in which two values of a head differ: its name and both values.

    >>> list(differences("models", {"a": 1, "b": 2}, {"a": 1, "b": 3}))
    [('models.b', 2, 3)]
    """
    if isinstance(have, Mapping) and isinstance(want, Mapping):
        for name in sorted({*have, *want}):
            yield from differences(f"{field}.{name}" if field else name, have.get(name), want.get(name))
    elif named(have) and named(want):
        yield from differences(field, named(have), named(want))
        names = [[one["name"] for one in side] for side in (have, want)]
        if sorted(names[0]) == sorted(names[1]) and names[0] != names[1]:
            yield field, names[0], names[1]
    elif isinstance(have, list) and isinstance(want, list) and len(have) == len(want):
        for place, (one, other) in enumerate(zip(have, want, strict=True)):
            yield from differences(f"{field}[{place}]", one, other)
    elif have != want:
        yield field, have, want


def named(values: Any) -> dict[str, Any]:
    """Objects of a list by their names, empty where the value is no such list."""
    if isinstance(values, list) and values and all(isinstance(one, dict) and "name" in one for one in values):
        return {one["name"]: one for one in values}
    return {}


def refuse_difference(path: Path, head: Mapping[str, Any], expected: Mapping[str, Any], remedy: str) -> None:
    """UserError that names the first place in which a head is not as expected, and both values."""
    for field, value in expected.items():
        for place, have, want in differences(field, head.get(field), value):
            raise UserError(f"{path}: {place} is {told(have)}; expected {told(want)}", remedy)


def told(value: Any) -> str:
    """A value of a head in a message: text as it stands, lists and others short."""
    return value if isinstance(value, str) else shown(value)
