"""params.yaml -> typed sections; the one voice of configuration errors.

A step's settings are its own section plus the shared values that it names with `From`. A field that is excluded from
dumps (`Field(exclude=True)`) cannot change a result and so enters no digest.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, to_jsonable_python

from components.errors import UserError
from components.errors import near as near  # settings and their errors are read together
from components.errors import shown as shown
from components.strict_yaml import parse_scalar, parse_yaml

# Every section of params.yaml and the model that reads it; `*` stands for a name of the user's.
SECTIONS = {
    "data": "components.data.settings:Data",
    "fetch": "components.fetch:Fetch",
    "sample": "components.sample:Sample",
    "validate": "components.validate:Validate",
    "index": "components.index:Index",
    "teachers.*": "components.train:Train",
    "student": "components.train:Train",
    "teach": "components.teach:Teach",
    "distill": "components.distill:Distill",
    "evaluate": "components.evaluate:Evaluate",
    "pull": "components.pull:Pull",
    "compare": "components.compare:Compare",
    "export": "components.export:Export",
    "promote": "components.promote:Promote",
    "runtime": "components.runtime:Runtime",
}


@dataclass(frozen=True)
class From:
    """Marks a field that is read from elsewhere in params.yaml.

    path: dotted, from the top; `@name` is the last part of the section's own name. keys: take the names below the
    path instead of the values.
    """

    path: str
    keys: bool = False


class Settings(BaseModel):
    """A frozen part of params.yaml: types are strict, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def resolved(self) -> "Settings":
        """These settings with every `auto` replaced by what it stands for on this machine."""
        return self

    def digestible(self) -> dict[str, Any]:
        """The values that can change a result, as JSON would hold them."""
        dumped: dict[str, Any] = self.model_dump(mode="json")
        return dumped

    def complete(self) -> dict[str, Any]:
        """Every value, also those that can change no result, as JSON would hold them: for another process to read."""
        values = self.digestible()
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Settings):
                values[name] = value.complete()
            elif field.exclude:
                values[name] = to_jsonable_python(value)
        return values


Seed = Annotated[int, From("seed"), Field(ge=0, lt=2**63, description="the one source of chance")]


class Params:
    """The whole of params.yaml, read strictly and overridden by `--set`."""

    def __init__(self, values: dict[str, Any], origin: str = "params.yaml") -> None:
        self.values = values
        self.origin = origin

    @classmethod
    def load(cls, path: Path, overrides: Iterable[str] = ()) -> "Params":
        """Read and check a file; UserError says what is wrong and where."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}", "name the file with --params FILE") from None
        params = cls(parse_yaml(content, str(path)), str(path))
        for text in overrides:
            override(params.values, text, "--set", "student.epochs=3")
        params.check()
        return params

    def check(self) -> None:
        """Validate every section, so that no step starts under a file that a later one will refuse."""
        known = sorted({name.partition(".")[0] for name in SECTIONS} | {"seed"})
        for name in self.values:
            if name not in known:
                raise not_a_section(f"{self.origin}: {name}", name, known)
        for section in self.sections():
            self.section(section)

    def sections(self) -> Iterator[str]:
        """The names of all sections, those below `teachers` included."""
        for pattern in SECTIONS:
            if not pattern.endswith(".*"):
                yield pattern
                continue
            parent = pattern.removesuffix(".*")
            below = self.values.get(parent) or {}
            if not isinstance(below, dict):
                cause = f"{self.origin}: {parent} is {shown(below)}; expected a name for each of the {parent}"
                raise UserError(cause, f"for example: {parent}: {{big: {{epochs: 30}}}}")
            for name in below:
                if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
                    raise UserError(f"{self.origin}: {parent}.{name} is no usable name",
                                    "use letters, digits and underscores: it names files and runs")
                yield f"{parent}.{name}"

    def section(self, name: str) -> Settings:
        """The typed settings of one section, shared values included."""
        model = section_model(name)
        raw = self._assemble(name, model)
        try:
            return model.model_validate_json(json.dumps(raw))
        except ValidationError as error:
            raise self._explain(name, model, error) from None

    def setting(self, name: str) -> Any:
        """One typed value by its dotted name, defaults included."""
        section, _, field = name.rpartition(".")
        return getattr(self.section(section), field)

    def _assemble(self, name: str, model: type[Settings]) -> dict[str, Any]:
        own = self._lookup(name)
        own = {} if own is None else own
        if not isinstance(own, dict):
            cause = f"{self.origin}: {name} is {shown(own)}; expected keys below it"
            raise UserError(cause, f"see docs/params.md, {name}")
        raw = dict(own)
        for field, source in shared_fields(model).items():
            if field in own:
                cause = f"{self.origin}: {name}.{field} is not read here"
                raise UserError(cause, f"it comes from {source.path}; set that")
            value = self._shared(name, model, field, source)
            if value is not None:
                raw[field] = value
        return raw

    def _shared(self, section: str, model: type[Settings], field: str, source: From) -> Any:
        if source.path == "@name":
            return section.rpartition(".")[2]
        kind = field_model(model, field)
        if kind is not None and source.path in SECTIONS:
            return self._assemble(source.path, kind)
        value = self._lookup(source.path)
        return list(value or ()) if source.keys else value

    def _lookup(self, name: str) -> Any:
        value: Any = self.values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def _explain(self, section: str, model: type[Settings], error: ValidationError) -> UserError:
        detail = error.errors(include_url=False)[0]
        where, kind = [str(part) for part in detail["loc"]], model
        prefix = section
        while where and where[0] in (shared := shared_fields(kind)):  # the value stands elsewhere in the file
            prefix, nested = shared[where[0]].path, field_model(kind, where.pop(0))
            kind = nested or kind
        name = ".".join([prefix, *(part for part in where if part != "[key]")])
        return UserError(f"{self.origin}: {name} {complaint(detail, model)}", f"see docs/params.md, {prefix}")


def override(values: dict[str, Any], text: str, option: str, example: str) -> None:
    """Set what an option `NAME=VALUE` says among nested values; UserError where it cannot be understood."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"{option} {text} is not of the form name=value", f"for example: {option} {example}")
    *parents, last = name.split(".")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise UserError(f"{option} {text}: {parent} is a value, not a section", "name a key below a section")
    place[last] = parse_scalar(value, f"{option} {name}")


def not_a_section(place: str, name: str, known: list[str]) -> UserError:
    """The error for a section that does not exist."""
    cause = f"{place} is not a section; expected one of {', '.join(known)}.{near(name, known)}"
    return UserError(cause, "see docs/params.md for what each holds")


def section_model(name: str) -> type[Settings]:
    """The settings model of a section; UserError for a name that is none."""
    parent, dot, _ = name.partition(".")
    pattern = f"{parent}.*" if dot else name
    if pattern not in SECTIONS:
        raise not_a_section(name, name, sorted(SECTIONS))
    module, _, attribute = SECTIONS[pattern].partition(":")
    model: type[Settings] = getattr(import_module(module), attribute)
    return model


def shared_fields(model: type[BaseModel]) -> dict[str, From]:
    """The fields of a model that are read from elsewhere, and from where."""
    fields = model.model_fields.items()
    return {name: mark for name, field in fields for mark in field.metadata if isinstance(mark, From)}


def field_model(model: type[BaseModel], field: str) -> type[Settings] | None:
    """The settings model that a field holds, if it holds one."""
    annotation = model.model_fields[field].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None


# Pydantic's error types that mean: another kind of value stands here.
KINDS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "string_type": "text", "tuple_type": "a list", "list_type": "a list",
    "dict_type": "keys below it", "model_type": "keys below it", "model_attributes_type": "keys below it",
}


def complaint(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """One pydantic error in plain words, with the nearest spelling where a name is wrong."""
    value, kind, context = detail["input"], detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        keys = model_keys(model, detail["loc"][:-1])
        return f"is not a setting; expected one of {', '.join(keys)}.{near(str(detail['loc'][-1]), keys)}"
    if kind == "missing":
        return "is missing"
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", "")).replace(" or ", ", ")
        names = [name.strip().strip("'") for name in expected.split(",")]
        found = "is not a key" if detail["loc"][-1] == "[key]" else f"is {shown(value)}"
        return f"{found}; expected one of {', '.join(names)}.{near(str(value), names)}"
    words = re.sub(r"^Value error, |^\w+ should (be )?(?!have)| after validation, not \d+$", "", detail["msg"])
    words = re.sub(r"^\w+ should have", "to have", words)
    return f"is {shown(value)}; expected {KINDS.get(kind, words)}"


def model_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at a place inside a model."""
    here: type[BaseModel] = model
    for part in location:
        field = here.model_fields.get(str(part))
        nested = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)] if field else []
        here = next((a for a in nested if issubclass(a, BaseModel)), here)
    return [name for name in here.model_fields if name not in shared_fields(here)]


def plain(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as flat dotted names, the spelling of `--set`, `dvc exp run -S` and MLflow.

    >>> plain({"optimizer": {"name": "sgd"}, "sizes": [64]}, "student")
    {'student.optimizer.name': 'sgd', 'student.sizes': [64]}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        dotted = f"{prefix}.{name}" if prefix else name
        flat |= plain(value, dotted) if isinstance(value, Mapping) and value else {dotted: value}
    return flat
