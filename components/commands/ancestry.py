"""What an artifact was made from, as a tree that ends in raw images."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.settings import From, Settings, section_model
from components.storage import receipts
from components.storage.catalogue import Catalogue, Made
from components.tracking.keys import dotted

NOT_HERE = "not here"

# Which stage of dvc.yaml writes what a step calls by this name, for artifacts that are not here to be asked.
MAKERS = {
    "source": "sample", "manifest": "validate", "dataset": "index", "probabilities": "teach", "student": "student",
    "distilled": "distill", "model": "distill", "evaluation": "evaluate",
}


@dataclass
class Node:
    """Something made, or raw, or not here; `name` is what the step that reads it calls it.

    remedy: what to type to make it again, or to get it here. problem: what is wrong with it.
    """

    name: str
    digest: str
    path: str = ""
    step: str = ""
    section: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    about: str = ""
    mlflow_run: str = ""
    remedy: str = ""
    problem: str = ""
    inputs: list["Node"] = field(default_factory=list)


@dataclass(frozen=True)
class Tracer:
    """Builds trees; each artifact's tree is built once however often it is read.

    verify: hash every file again.
    """

    catalogue: Catalogue
    verify: bool = False
    known: dict[str, Node] = field(default_factory=dict)

    def tree(self, name: str, made: Made) -> Node:
        """The tree above something made."""
        if made.digest in self.known:
            node = self.known[made.digest]
            return Node(**(vars(node) | {"name": name}))
        settings = dotted(made.section, made.settings)
        node = Node(name, made.digest, str(made.path), made.step, made.section, settings)
        node.changed = {key: value for key, value in settings.items() if default(made.section).get(key) != value}
        node.mlflow_run = made.run.get("mlflow_run", "")
        node.about = describe(made.path) if made.here else NOT_HERE
        node.remedy = ("" if made.here else "dvc checkout, or ") + f"dvc repro {stage(made.section)}"
        node.problem = self.check(made)
        inputs = made.inputs | started(made.settings)
        node.inputs = [self.input(port, digest, made) for port, digest in inputs.items()]
        self.known[made.digest] = node
        return node

    def input(self, port: str, digest: str, reader: Made) -> Node:
        """The tree above an input: made by a step, raw, or not here."""
        made = self.catalogue.find(digest)
        if made is not None:
            return self.tree(port, made)
        if reader.roots.get(port) == digest:
            listing = self.catalogue.find(reader.inputs.get("manifest", "")) or reader
            return Node(port, digest, step="raw", about=images(listing.path))
        maker = f"train@{port.partition('/')[2]}" if "/" in port else MAKERS.get(port, "")
        return Node(port, digest, problem=NOT_HERE, remedy=f"dvc checkout, or dvc repro {maker}".rstrip())

    def check(self, made: Made) -> str:
        """What is wrong with something made, looked for only on request; "" where nothing is."""
        if not self.verify or not made.here or not receipts.is_sealed(made.path):
            return ""
        try:
            receipts.verify(made.path)
        except UserError as error:
            return error.cause
        return ""


def started(settings: Mapping[str, Any]) -> dict[str, str]:
    """The Model that a training went on from, if any: its digest stands among the settings.

    >>> started({"model": {"start": {"digest": "ab"}}}), started({"student": {"model": {"start": {"digest": ""}}}})
    ({'start': 'ab'}, {})
    """
    model = settings.get("student", settings).get("model", {})
    digest = model.get("start", {}).get("digest", "") if isinstance(model, Mapping) else ""
    return {"start": digest} if digest else {}


def stage(section: str) -> str:
    """The stage of dvc.yaml that runs a section.

    >>> stage("teachers.broad"), stage("index")
    ('train@broad', 'index')
    """
    parent, _, name = section.rpartition(".")
    return f"train@{name}" if parent == "teachers" else section


def default(section: str) -> dict[str, str]:
    """The settings of a section where params.yaml is silent."""
    try:
        model = section_model(section)
        return dotted(section, model.model_construct(**unset(model)).digestible())
    except UserError:  # a section that this version does not know
        return {}


def unset(model: type[Settings]) -> dict[str, Any]:
    """Values for the fields that have no default."""
    return {name: None for name, field in model.model_fields.items()
            if field.is_required() and not any(isinstance(mark, From) for mark in field.metadata)}


def describe(path: Path) -> str:
    """A few words on an artifact from its head."""
    if (head := read_head(path / "dataset.json")) and "splits" in head:
        splits = ", ".join(f"{count:,} {name}" for name, count in head["splits"].items())
        return f"{splits}; tasks {', '.join(task['name'] for task in head['tasks'])}"
    if (head := read_head(path / "model.json")) and "architecture" in head:
        return f"{head['architecture']['name']}, {head.get('parameters', 0):,} parameters"
    if (head := read_head(path / "probabilities.json")) and "sources" in head:
        return f"{head['rows']:,} rows by {', '.join(head['sources'])}; {len(head['views'])} views"
    return images(path)


def images(path: Path) -> str:
    """How many images a folder or a manifest stands for; "" where it does not say."""
    if not receipts.is_sealed(path):
        return ""
    if (path / "manifest.parquet").is_file():
        from pyarrow import parquet

        return f"{parquet.read_metadata(path / 'manifest.parquet').num_rows:,} images"
    suffixes = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
    count = sum(name.lower().endswith(suffixes) for name in receipts.read(path).files)
    return f"{count:,} images" if count else ""


def read_head(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
