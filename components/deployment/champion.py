"""The champion of a registry folder that lies here: the published model that challengers are held against."""

from pathlib import Path

from components.deployment.registry import LATEST, latest
from components.errors import UserError
from components.storage import receipts
from components.storage.places import Folder


def champion_of(registry: Path) -> tuple[str, Path] | None:
    """Digest and folder of the latest model, verified file by file; None for an empty registry.

    registry: a registry folder, or the latest.json of one. Raises UserError where the model is missing or damaged.
    """
    folder = registry if registry.is_dir() else registry.parent
    digest = latest(Folder(folder)).digest
    if digest is None:
        return None
    model = folder / "models" / digest / "model"
    if not receipts.is_sealed(model):
        raise UserError(f"{folder / LATEST} names model {digest[:12]}, which is not in {folder / 'models'}",
                        "fetch it: stillhouse pull-model --mirror, or make the registry empty: "
                        f"git checkout {folder / LATEST}")
    if (found := receipts.verify(model)) != digest:
        raise UserError(f"{model} has the digest {found[:12]}; expected {digest[:12]}", f"remove {model.parent} and "
                        "fetch it again: stillhouse pull-model --mirror")
    return digest, model
