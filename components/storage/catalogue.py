"""What was made below a folder, found by digest: artifacts by their receipts, file outputs by run.json."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.storage import receipts
from components.storage.digests import file_digest

DEPTH = 5  # artifacts lie at models/teachers/NAME; millions of raw images deeper down are not looked through
SKIPPED = {"mlruns", "mlartifacts", "node_modules", "__pycache__"}
RUNS = "run.json"
NEEDED = {"step", "section", "settings", "inputs", "outputs", "paths"}


@dataclass(frozen=True)
class Made:
    """Something that a step made: a sealed folder, or a file that a run.json knows.

    run: what run.json says of the run that made it (when, how long, under which MLflow run), empty where it is silent.
    here: whether it still lies at its path; run.json remembers what was replaced or not fetched.
    """

    path: Path
    digest: str
    step: str
    section: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    roots: dict[str, str]
    run: dict[str, Any] = field(default_factory=dict)
    here: bool = True


class Catalogue:
    """Things made, by digest."""

    def __init__(self, root: Path) -> None:
        found = list(_walk(root, DEPTH))
        runs = [entry for path in found if path.name == RUNS for entry in _entries(path)]
        self._runs = {digest: entry for entry in runs for digest in entry["outputs"].values()}
        self._sealed: dict[str, Path] = {}
        for path in found:
            if path.name == receipts.NAME:
                self._sealed.setdefault(receipts.digest(path.parent), path.parent)

    def find(self, digest: str) -> Made | None:
        """What has this digest, or None where nothing here has."""
        run = self._runs.get(digest, {})
        if digest in self._sealed:
            return self.sealed(self._sealed[digest])
        if not run:
            return None
        name = next(name for name, value in run["outputs"].items() if value == digest)
        path = Path(run["paths"][name])
        here = path.is_file() and file_digest(path) == digest
        return Made(path, digest, run["step"], run["section"], run["settings"], run["inputs"], {}, run, here)

    def sealed(self, path: Path) -> Made:
        """A sealed folder, wherever it lies; UserError where it is none."""
        receipt, digest = receipts.read(path), receipts.digest(path)
        return Made(path, digest, receipt.step, receipt.section, receipt.settings, receipt.inputs, receipt.roots,
                    self._runs.get(digest, {}))

    def folders(self, file: str) -> list[Path]:
        """The sealed folders that hold a file of this name."""
        return [path for path in self._sealed.values() if (path / file).is_file()]


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # not ours to read
        return
    names = {entry.name for entry in entries}
    if receipts.NAME in names:  # nothing is sealed inside a sealed folder
        yield folder / receipts.NAME
        return
    if RUNS in names:
        yield folder / RUNS
    for entry in entries:
        if depth and entry.is_dir() and not entry.name.startswith(".") and entry.name not in SKIPPED:
            yield from _walk(Path(entry.path), depth - 1)


def _entries(path: Path) -> list[dict[str, Any]]:
    """The runs of a section that this version can read, oldest first."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return [entry for entry in known.values() if entry.keys() >= NEEDED]
    except (OSError, ValueError, AttributeError):
        return []

