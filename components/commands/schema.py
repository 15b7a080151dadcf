"""`stillhouse schema`: params.yaml for editors (JSON schema) and for people (a page of tables), from the models."""

import argparse
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from components.settings import SECTIONS, From, Settings, section_model, shared_fields
from components.storage.atomic import write_file

NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
TITLE = "Settings of Stillhouse: params.yaml"
SEED_MEANING = "the one source of chance"
SEED = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63, "default": 0, "description": SEED_MEANING}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--output", type=Path, default=Path("docs"), metavar="FOLDER", help="where to (default: docs)")


def command(options: argparse.Namespace) -> None:
    """Write both files."""
    write_file(options.output / "params.schema.json", json_schema())
    write_file(options.output / "params.md", page())


def json_schema() -> str:
    """The JSON schema of the whole file, as text."""
    models = dict.fromkeys(section_model(name.replace("*", "NAME")) for name in SECTIONS)
    _, parts = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions = parts["$defs"]
    for definition, model in [(definitions[model.__name__], model) for model in models]:
        strip_shared(definition, model)
    properties: dict[str, Any] = {"seed": SEED}
    for name in SECTIONS:
        reference = {"$ref": f"#/$defs/{section_model(name.replace('*', 'NAME')).__name__}"}
        parent = name.removesuffix(".*")
        properties[parent] = {"type": "object", "additionalProperties": reference} if name != parent else reference
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": reachable(definitions, properties),
    }
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def strip_shared(definition: dict[str, Any], model: type[Settings]) -> None:
    """Take out what a section reads from elsewhere: it may not be set there."""
    for field in shared_fields(model):
        definition["properties"].pop(field, None)
        if field in definition.get("required", []):
            definition["required"].remove(field)
    if not definition.get("required", ["some"]):
        del definition["required"]


def reachable(definitions: dict[str, Any], start: Any) -> dict[str, Any]:
    """The definitions that something refers to, directly or through others."""
    found: dict[str, Any] = {}
    waiting = list(references(start))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting += references(definitions[name])
    return found


def references(value: Any) -> Iterator[str]:
    """The names of the definitions that a piece of schema mentions."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for below in value.values():
            yield from references(below)
    elif isinstance(value, list):
        for below in value:
            yield from references(below)


def page() -> str:
    """The reference page, as text."""
    lines = [
        "# Settings: params.yaml", "",
        "Written by `stillhouse schema` from the models that read the file; do not edit. One spelling everywhere: "
        "`stillhouse STEP --set NAME=VALUE`, `dvc exp run -S NAME=VALUE`, a Kubeflow run input, a parameter in MLflow.",
        "", "| section | what it holds |", "|---|---|", "| [seed](#seed) | the one source of chance |",
        *(f"| [{name.replace('*', 'NAME')}](#{anchor(name)}) | {about(name)} |" for name in SECTIONS),
        "", "## seed", "", *table([("seed", "whole number >= 0", "0", SEED_MEANING)]),
    ]
    for name in SECTIONS:
        lines += ["", *section_lines(name.replace("*", "NAME"))]
    return "\n".join(lines) + "\n"


def anchor(name: str) -> str:
    """The place on the page where a section stands.

    >>> anchor("teachers.*")
    'teachersname'
    """
    return name.replace("*", "NAME").replace(".", "").lower()


def about(name: str) -> str:
    """The sentence of a section's model."""
    return (section_model(name.replace("*", "NAME")).__doc__ or "").strip().splitlines()[0].rstrip(".")


def section_lines(name: str) -> list[str]:
    """The heading, table and shared values of one section."""
    model = section_model(name)
    lines = [f"## {name}", "", about(name) + ".", "", *table(rows(model, name, None))]
    shared = [f"`{mark.path}`" for mark in shared_fields(model).values() if not mark.path.startswith("@")]
    return lines + (["", f"Reads also: {', '.join(shared)}."] if shared else [])


def table(values: list[tuple[str, str, str, str]]) -> list[str]:
    """Rows as a table."""
    lines = ["| name | type | default | meaning |", "|---|---|---|---|"]
    return lines + [f"| `{name}` | {' | '.join(cell(text) for text in texts)} |" for name, *texts in values]


def cell(text: str) -> str:
    """A text as a table cell holds it."""
    return text.replace("|", "\\|").replace("\n", " ")


def rows(model: type[Settings], prefix: str, defaults: object) -> list[tuple[str, str, str, str]]:
    """Dotted name, type, default and meaning of every setting below a place; what comes from elsewhere is left out.

    defaults: the settings that stand there where the file is silent, if the place has some of its own.
    """
    found: list[tuple[str, str, str, str]] = []
    shared = shared_fields(model)
    for name, field in model.model_fields.items():
        nested, value = below(field.annotation), getattr(defaults, name, field.get_default(call_default_factory=True))
        if name in shared:
            continue
        if nested is not None and get_origin(field.annotation) is dict:
            found += rows(nested, f"{prefix}.{name}.NAME", None)
        elif nested is not None and get_origin(field.annotation) is None:
            found += rows(nested, f"{prefix}.{name}", value)
        else:
            shown = "required" if field.is_required() else spelled(value)
            found.append((f"{prefix}.{name}", kind(field), shown, field.description or ""))
    return found


def below(annotation: Any) -> type[Settings] | None:
    """The settings model in a type, if there is one."""
    candidates = [annotation, *get_args(annotation)]
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, Settings)), None)


def kind(field: FieldInfo) -> str:
    """The type of a setting in plain words, with its bounds."""
    bounds = [f"{sign} {getattr(mark, name):g}" for mark in field.metadata if not isinstance(mark, From)
              for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")) if hasattr(mark, name)]
    return " ".join([words(field.annotation), ", ".join(bounds)]).strip()


def words(annotation: Any) -> str:
    """A type in plain words.

    >>> words(tuple[int, ...]), words(Literal["a", "b"]), words(float | None)
    ('list of: whole number', 'a, b', 'number or null')
    """
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return words(inside[0])
    if origin is Literal:
        return ", ".join(str(value) for value in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(words(one) for one in inside)
    if origin in (tuple, list):
        parts = [words(one) for one in inside if one is not Ellipsis]
        return f"list of: {parts[0]}" if Ellipsis in inside or origin is list else f"[{', '.join(parts)}]"
    if origin is dict:
        return f"{words(inside[1])} by name"
    return NAMES.get(annotation, "anything")


def spelled(value: Any) -> str:
    """A default as params.yaml would spell it.

    >>> spelled("auto"), spelled(""), spelled((64, 96)), spelled(True)
    ('auto', '""', '[64, 96]', 'true')
    """
    plain = value.model_dump(mode="json") if isinstance(value, Settings) else value
    return plain if isinstance(plain, str) and plain else json.dumps(plain, ensure_ascii=False)
