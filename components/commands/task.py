"""One step run as a task of an orchestrator: settings arrive as JSON, artifacts lie where it put them."""

import csv
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

from components.contract import load_step, run_step
from components.errors import UserError
from components.settings import Params
from components.storage import receipts
from components.tracking.keys import flat_metrics

HEADS = ("dataset.json", "probabilities.json", "model.json", "validation.json")
MATRIX = "confusion/distilled-"  # how `evaluate` calls the distilled student's confusions, before the task's name
COUNTS = ("splits/", "rows", "parameters")


class Artifact(Protocol):
    """What an orchestrator hands over: a place, and facts to show beside it (`dsl.Artifact` is one)."""

    path: str
    metadata: dict[str, Any]


Ports = Mapping[str, Artifact | Sequence[Artifact]]


def run_task(name: str, section: str, settings: str, artifacts: Ports) -> None:
    """Run a step on the artifacts given by port, and write digests and a few figures into their metadata.

    settings: JSON of the part of params.yaml that the section reads. Raises what the step raises, after two plain
    lines on stderr.
    """
    try:
        step = load_step(name)
        with tempfile.TemporaryDirectory(prefix="stillhouse-") as folder:
            paths = {port: place(artifact, Path(folder) / port) for port, artifact in artifacts.items()}
            values = Params(json.loads(settings), "settings").section(section)
            facts = run_step(step, values, section, paths)
    except UserError as error:
        print(f"stillhouse: {error.cause}\n  remedy: {error.remedy}", file=sys.stderr)
        raise
    for port, digest in facts["outputs"].items():
        artifact = artifacts[port]
        assert not isinstance(artifact, Sequence), f"{port}: an output is one artifact"
        artifact.metadata.update({"digest": digest} | figures(Path(artifact.path), port))


def place(artifact: Artifact | Sequence[Artifact], folder: Path) -> Path:
    """Where a port's artifact lies; for a collection a folder of links, each named by the artifact's own head."""
    if not isinstance(artifact, Sequence):
        return Path(artifact.path)
    folder.mkdir()
    for one in artifact:
        (folder / head(Path(one.path))["name"]).symlink_to(Path(one.path).absolute())
    return folder


def head(path: Path) -> dict[str, Any]:
    """The JSON head of an artifact, empty where it has none."""
    found = [path / name for name in HEADS if (path / name).is_file()]
    content: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8")) if found else {}
    return content


def figures(path: Path, port: str) -> dict[str, Any]:
    """What is worth showing beside an artifact: all of a metrics file, of a folder its counts and who made it."""
    if port == "metrics":
        return flat_metrics(json.loads(path.read_text(encoding="utf-8")))
    if not receipts.is_sealed(path):
        return {}
    counts = {key: value for key, value in flat_metrics(head(path)).items() if key.startswith(COUNTS)}
    receipt = receipts.read(path)
    return {"step": receipt.step, "section": receipt.section, "files": len(receipt.files)} | counts


def tasks_with_matrix(plots: Path) -> list[str]:
    """The tasks of which `evaluate` wrote the distilled student's confusions."""
    return sorted(unquote(path.stem.removeprefix(Path(MATRIX).name)) for path in plots.glob(f"{MATRIX}*.csv"))


def confusion_matrix(task: str, dataset: Path, plots: Path) -> tuple[list[str], list[list[int]]]:
    """Class names of a task in their order, and how often each (row) was taken for each (column)."""
    (classes,) = [list(one["classes"]) for one in head(dataset)["tasks"] if one["name"] == task]
    matrix = [[0] * len(classes) for _ in classes]
    with (plots / f"{MATRIX}{quote(task, safe='')}.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            matrix[classes.index(row["actual"])][classes.index(row["predicted"])] += 1
    return classes, matrix
