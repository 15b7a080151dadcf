"""Published models brought here; a copy is verified before it has a name."""

from pathlib import Path

from components.deployment import registry
from components.errors import UserError
from components.storage import atomic
from components.storage.locks import locked
from components.storage.places import Folder, Place


def copy(place: Place, digest: str, folder: Path) -> list[str]:
    """Copy all parts of a model into a new folder, verified; their names. UserError where the model is not whole."""
    parts = [part for part in registry.PARTS if registry.fetch(place, digest, part, folder / part)]
    if "model" not in parts:
        raise UserError(f"{place.name}: model {digest[:12]} is not there whole", "publish it again")
    return parts


def mirror(place: Place, which: str, folder: Path) -> str | None:
    """Make a new folder a registry that holds this one model, as its latest; its digest, or None for an empty one."""
    digest = registry.chosen(place, which)
    folder.mkdir(parents=True)
    if digest is not None:
        copy(place, digest, folder / "models" / digest)
    (folder / registry.LATEST).write_bytes(registry.pointer(registry.LATEST, digest, None))
    return digest


def into_folder(place: Place, digest: str, folder: Path) -> None:
    """Make a folder hold model/ and export/ of a published model, whole or as it was; UserError where it holds others.

    TryAgain where another process is writing there.
    """
    if folder.exists() and any(path.name not in registry.PARTS for path in folder.iterdir()):
        raise UserError(f"{folder} holds other things than a pulled model; it would be replaced", "name another folder "
                        "with --to")
    with locked([folder]), atomic.private([folder]) as (private,):
        copy(place, digest, private)
        atomic.flush(private)
        atomic.move_into_place(private, folder)


def into_registry(place: Place, digest: str, folder: Path) -> None:
    """Make a published model the latest of a registry folder here, beside what that holds."""
    here, incoming = Folder(folder), folder / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    before = registry.latest(here)
    with locked([incoming]), atomic.private([incoming]) as (private,):
        for part in copy(place, digest, private):
            registry.store(here, digest, part, private / part)
    if digest != before.digest:
        registry.point(here, registry.LATEST, digest, before.digest, before.version)
