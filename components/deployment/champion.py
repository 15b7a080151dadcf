"""The champion of a registry: the published model that challengers are held against."""

from pathlib import Path

from components.deployment.registry import LATEST, fetch, latest
from components.errors import UserError
from components.storage import receipts
from components.storage.places import Folder, Place


def champion_of(registry: Path, elsewhere: Place, room: Path) -> tuple[str, Path] | None:
    """Digest and folder of the latest model, verified file by file; None for an empty registry.

    registry: a registry folder, or the latest.json of one. elsewhere: asked where the model does not lie beside it, as
    in a fresh clone or in the folder of a queued experiment. room: a folder for what comes from there. Raises UserError
    where the model is missing or damaged.
    """
    folder = registry if registry.is_dir() else registry.parent
    digest = latest(Folder(folder)).digest
    if digest is None:
        return None
    model = folder / "models" / digest / "model"
    if not receipts.is_sealed(model):
        model = room / digest
        if not receipts.is_sealed(model) and not fetch(elsewhere, digest, "model", model):
            raise missing(folder, digest, elsewhere)
    if (found := receipts.verify(model)) != digest:
        raise UserError(f"{model} has the digest {found[:12]}; expected {digest[:12]}", f"remove {model.parent} and "
                        "fetch it again: stillhouse pull-model --mirror")
    return digest, model


def missing(folder: Path, digest: str, elsewhere: Place) -> UserError:
    """The error for a champion that is nowhere."""
    return UserError(f"{folder / LATEST} names model {digest[:12]}, which is neither in {folder / 'models'} nor in "
                     f"{elsewhere.name}", "say where it is published: promote.registry in params.yaml; or fetch it: "
                     "stillhouse pull-model --mirror --registry PLACE")
