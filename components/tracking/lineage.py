"""The stages that a pipeline run did not have to run, read from what they left behind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.storage.catalogue import Catalogue, Made
from components.storage.digests import file_digest
from components.tracking.keys import dotted, final_metrics


def upstream(inputs: Mapping[str, str], reports: Path, root: Path = Path()) -> list[dict[str, Any]]:
    """Every stage behind some inputs, first stage first, as the children that MLflow would have got from them."""
    catalogue = Catalogue(root)
    found: dict[str, Made] = {}
    waiting = list(inputs.values())
    while waiting:
        made = catalogue.find(waiting.pop(0))
        if made is not None:
            found.pop(made.section, None)  # again, so that it stands behind all that was made from it
            found[made.section] = made
            waiting += made.inputs.values()
    return [as_child(made, reports) for made in reversed(found.values())]


def as_child(made: Made, reports: Path) -> dict[str, Any]:
    """A stage that was not run again: its settings, digests and metrics."""
    tags = {"cached": "true", "stillhouse.step": made.step, "stillhouse.section": made.section,
            "stillhouse.artifact": made.digest}
    tags |= {f"input.{name}": digest for name, digest in made.inputs.items()}
    tags |= {f"output.{name}": digest for name, digest in made.run.get("outputs", {}).items()}
    return {
        "section": made.section,
        "params": dotted(made.section, made.settings),
        "tags": tags,
        "metrics": metrics_of(made, reports / made.section / "metrics.json"),
    }


def metrics_of(made: Made, path: Path) -> dict[str, float]:
    """The metrics that the stage wrote, unless the file is known to be of another run."""
    if not path.is_file() or made.run.get("outputs", {}).get("metrics", file_digest(path)) != file_digest(path):
        return {}
    return final_metrics(json.loads(path.read_text(encoding="utf-8")), path.with_name("curves.csv").is_file())
