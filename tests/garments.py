"""Steps of the data front run on a small drawn set, as the program runs them, without tracking."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from components import contract
from components.settings import Params

SMALL = {"count": 150, "size": 40}


def step(name: str, values: dict[str, Any], **paths: Path) -> dict[str, Any]:
    """Run a step under settings that params.yaml could hold; its facts."""
    root = next(iter(paths.values())).parent
    quiet = {"tracking": False, "work": str(root / ".work"), "reports": str(root / ".facts"), "threads": 1,
             "cache": str(root / ".cache")}
    params = Params({**values, "runtime": quiet | values.get("runtime", {})})
    return contract.run_step(contract.load_step(name), params.section(name), name, paths)


@cache
def drawn() -> Path:
    """A small drawn set, made once; nobody may change it."""
    root = Path(mkdtemp(prefix="stillhouse-"))
    step("sample", {"sample": SMALL}, data=root / "raw")
    return root / "raw"


def validated(root: Path, source: Path, **values: Any) -> dict[str, Any]:
    """Validate a folder into root; the figures."""
    step("validate", values, manifest=root / "manifest", source=source, report=root / "page.html",
         metrics=root / "found.json")
    figures: dict[str, Any] = json.loads((root / "found.json").read_text())
    return figures


def indexed(root: Path, source: Path, **values: Any) -> dict[str, Any]:
    """Index what was validated into root; the facts of the run."""
    return step("index", values, dataset=root / "dataset", source=source, manifest=root / "manifest",
                metrics=root / "built.json")
