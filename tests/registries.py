"""Sealed models with exports and verdicts, small enough to be published many times."""

import json
from pathlib import Path
from typing import Any

from small_models import seal

from components.deployment.promotion import Candidate
from components.storage import receipts


def write_model(folder: Path, name: str, size: int = 300) -> Path:
    """A sealed folder that a registry takes for a model; its head says the name."""
    folder.mkdir(parents=True)
    head = {"name": name, "architecture": {"name": "resnet18"}, "parameters": size, "tasks": [{"name": "kind"}]}
    (folder / "model.json").write_text(json.dumps(head))
    (folder / "model.safetensors").write_bytes(name.encode() * size)
    return seal(folder, "distill")


def write_export(folder: Path, model: Path) -> Path:
    """A sealed export of a model."""
    (folder / "below").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph of " + (model / "model.json").read_bytes())
    (folder / "below" / "README.md").write_text("card")
    return seal(folder, "export", {"model": receipts.digest(model)})


def verdict_on(model: Path, champion: str | None, promote: bool = True) -> dict[str, Any]:
    """What `compare` would say of a model."""
    return {"verdict": "better" if promote else "worse", "promote": promote, "reasons": ["it was asked"],
            "model": receipts.digest(model), "champion": champion}


def candidate(root: Path, name: str, champion: str | None = None, promote: bool = True) -> Candidate:
    """A model of a name with its export, and a verdict on it."""
    model = root / name / "model"
    if not model.exists():
        write_export(root / name / "export", write_model(model, name))
    return Candidate(model, root / name / "export", verdict_on(model, champion, promote))
