"""YAML 1.2 as DVC reads it, less what could hang, surprise or run something: anchors, aliases, tags, duplicate keys."""

import io
import math
from collections.abc import Iterator
from typing import Any

from components.errors import UserError, shown

MAX_BYTES = 1 << 18
MAX_DEPTH = 20
MAX_PARTS = 20_000  # ruamel takes 70 microseconds a part
QUOTE = "put it in quotes"


def parse_yaml(content: bytes, origin: str) -> dict[str, Any]:
    """The mapping in a YAML document; UserError names the line or the key of whatever else is found."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(content) > MAX_BYTES:
        cause = f"{origin} has {len(content)} bytes; at most {MAX_BYTES} are read"
        raise UserError(cause, "settings belong here, data does not")
    try:
        text = content.decode("utf-8")
        refuse_features(text, origin)
        values = YAML(typ="safe", pure=True).load(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{origin} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{origin}{place}: {problem}", "correct the YAML there") from None
    except ValueError as error:  # a number with thousands of digits, a date that is none
        raise UserError(f"{origin}: {error}", "correct the value") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{origin} holds {shown(values)}; expected sections", "see docs/params.md")
    refuse_values(values, origin)
    return values


def refuse_features(text: str, origin: str) -> None:
    """UserError for what settings have no use for, found before anything is built from it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent

    depth = 0
    for count, event in enumerate(YAML(typ="safe", pure=True).parse(io.StringIO(text))):
        kind, line = type(event).__name__, event.start_mark.line + 1
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise UserError(f"{origin}, line {line}: anchors and aliases are not read", "write the value out")
        if getattr(event, "tag", None) is not None:
            raise UserError(f"{origin}, line {line}: tags are not read", "write a plain value")
        if depth > MAX_DEPTH or count > MAX_PARTS:
            raise UserError(f"{origin}, line {line}: nested deeper than {MAX_DEPTH} or more than {MAX_PARTS} values",
                            "settings belong here, data does not")


def refuse_values(values: dict[Any, Any], origin: str) -> None:
    """UserError for what JSON has no word for: dates, infinite numbers, half characters, keys that are no text."""
    for place, value in walk(values, origin):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{origin}: {place} is {value}; expected a finite number", "write a finite number")
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(f"{origin}: {place} holds half a character: {ascii(value)[:60]}", "write the whole one")
        if not isinstance(value, str | int | float | bool | None):
            kind = type(value).__name__
            raise UserError(f"{origin}: {place} is read as a {kind} ({shown(str(value))}); expected text", QUOTE)


def walk(value: Any, origin: str, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and plain value with its dotted place; UserError for a key that is no text."""
    if isinstance(value, dict):
        for key, below in value.items():
            here = f"{place}.{key}" if place else str(key)
            if not isinstance(key, str):
                raise UserError(f"{origin}: the key {here} is no text", QUOTE)
            yield f"a key of {place or 'the file'}", key
            yield from walk(below, origin, here)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from walk(below, origin, f"{place}[{number}]")
    else:
        yield place, value


def parse_scalar(text: str, origin: str) -> Any:
    """The value of an override, read as it would be in the file.

    >>> parse_scalar("1e-3", "--set lr"), parse_scalar("[64, 96]", "--set sizes"), parse_scalar("no", "--set x")
    (0.001, [64, 96], 'no')
    """
    return parse_yaml(b"value: " + text.encode(), origin).get("value")
