"""`stillhouse trace PATH`: walk from anything the pipeline made back to the images it was made from."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.commands.ancestry import NOT_HERE, Node, Tracer, read_head
from components.errors import UserError
from components.storage import receipts
from components.storage.catalogue import Catalogue, Made
from components.storage.digests import file_digest

SHOWN_SETTINGS = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("path", type=Path, help="an artifact, a file of one, a report, a metrics file, an image")
    parser.add_argument("--json", action="store_true", help="print the whole tree as JSON, every setting included")
    parser.add_argument("--verify", action="store_true", help="hash every file on the way again")


def command(options: argparse.Namespace) -> None:
    """Print the tree; UserError where the path is unknown, or where verification finds a change."""
    path: Path = options.path
    if not path.exists():
        raise UserError(f"{path} does not exist", "name an artifact (models/student), a report or an image")
    catalogue = Catalogue(Path())
    known = catalogue.find(file_digest(path)) if path.is_file() else None
    row = sample_row(path, catalogue) if path.is_file() and known is None else None
    made = row[0] if row else known or locate(path, catalogue)
    tree = Tracer(catalogue, options.verify).tree(made.path.name, made)
    if options.json:
        print(json.dumps({"image": row[1] if row else None, "tree": asdict(tree)}, indent=1, ensure_ascii=False))
    else:
        print("\n".join([*(row_lines(path, row[1]) if row else []), *lines(tree)]))
    if changed := [node.problem for node in walk(tree) if node.problem and node.problem != NOT_HERE]:
        raise UserError(changed[0], "make it again (dvc repro) or fetch it again (dvc checkout --force)")


def locate(path: Path, catalogue: Catalogue) -> Made:
    """The artifact that a path is or lies in; UserError where it is in none."""
    around = [folder for folder in (path, *path.parents) if receipts.is_sealed(folder)]
    if around:
        return catalogue.sealed(around[0])
    remedy = "name an artifact such as exported or models/student"
    if path.is_dir():
        raise UserError(f"{path} has no {receipts.NAME}: it is a raw folder, or not of this pipeline", remedy)
    raise UserError(f"{path} is in no artifact, and no run.json here knows its bytes", remedy)


def sample_row(path: Path, catalogue: Catalogue) -> tuple[Made, dict[str, Any]] | None:
    """The Dataset here that holds an image, and its row, found by the bytes of the image; None where there is none."""
    digest = file_digest(path)
    for folder in catalogue.folders("samples.parquet"):
        import pandas as pd

        table = pd.read_parquet(folder / "samples.parquet")
        rows = table[table["id"] == digest]
        if len(rows):
            row: dict[str, Any] = json.loads(rows.iloc[0].to_json())
            tasks = {task["name"]: task["classes"] for task in read_head(folder / "dataset.json").get("tasks", [])}
            named = {name: class_names(value, tasks.get(name)) for name, value in row.items()}
            return catalogue.sealed(folder), {"row": int(rows.index[0])} | named
    return None


def class_names(value: Any, classes: list[str] | None) -> Any:
    """The name of a class, or of several, in place of its number; other values stay."""
    if classes is None or value is None:
        return value
    if isinstance(value, list):
        return [classes[index] for index in value]
    return classes[value] if value >= 0 else None


def row_lines(path: Path, row: dict[str, Any]) -> list[str]:
    """A sample as its Dataset knows it."""
    shown = {name: value for name, value in row.items() if value is not None and name not in ("id", "row")}
    facts = ", ".join(f"{name} {value}" for name, value in shown.items())
    return [f"{path} is row {row['row']} of this Dataset: {facts}", ""]


def lines(node: Node, prefix: str = "", below: str = "", seen: set[str] | None = None) -> Iterator[str]:
    """The tree in print; what stands further up is only named again."""
    seen = set() if seen is None else seen
    again = node.digest in seen and bool(node.inputs)
    seen.add(node.digest)
    yield prefix + title(node) + ("  (as above)" if again else "")
    if again:
        return
    for detail in details(node):
        yield f"{below}{'│' if node.inputs else ' '}    {detail}"
    for number, child in enumerate(node.inputs, 1):
        last = number == len(node.inputs)
        yield from lines(child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), seen)


def title(node: Node) -> str:
    """What, where, which bytes, made by whom."""
    if node.step == "raw":
        return f"{node.name}: the raw folder  {node.digest[:12]}  {node.about}".rstrip()
    if node.problem == NOT_HERE:
        return f"{node.name}: not here  {node.digest[:12]}  ({node.remedy})"
    maker = node.step if node.step == node.section else f"{node.step} {node.section}"
    name = f"{node.name}: " if node.name != Path(node.path).name else ""
    return f"{name}{node.path}  {node.digest[:12]}  by {maker}" + (f"  {node.about}" if node.about else "")


def details(node: Node) -> Iterator[str]:
    """What else is worth a line: what is wrong, settings that are not the defaults, where to look, what to type."""
    if node.step == "raw" or node.problem == NOT_HERE:
        return
    if node.problem:
        yield f"CHANGED: {node.problem}"
    if node.changed:
        shown = [f"{name}={value}" for name, value in node.changed.items()]
        more = f" and {len(shown) - SHOWN_SETTINGS} more (--json)" if len(shown) > SHOWN_SETTINGS else ""
        yield ", ".join(shown[:SHOWN_SETTINGS]) + more
    yield f"again: {node.remedy}" + (f"   MLflow run {node.mlflow_run}" if node.mlflow_run else "")


def walk(node: Node) -> Iterator[Node]:
    """A node and all above it."""
    yield node
    for child in node.inputs:
        yield from walk(child)
