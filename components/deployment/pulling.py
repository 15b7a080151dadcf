"""Published models brought here: which one is meant, and a copy that is verified before it has a name."""

from pathlib import Path

from components.deployment import registry
from components.errors import UserError
from components.storage.places import Place


def chosen(place: Place, which: str) -> str | None:
    """The digest that a word means: latest, previous, a tag, or the beginning of a digest; None: nothing is published.

    Raises UserError for a word that means nothing there, or several models.
    """
    if which in ("latest", "previous"):
        found = registry.latest(place)
        return found.digest if which == "latest" else found.previous
    content, _ = place.read(f"tags/{which}.json")
    if content:
        tagged: str | None = registry.pointed(content, f"{place.name}/tags/{which}.json")["digest"]
        return tagged
    known = [digest for digest, _ in registry.published(place) if digest.startswith(which)]
    if len(known) == 1:
        return known[0]
    cause = f"{len(known)} models of {place.name} begin with" if known else f"{place.name} has no model or tag called"
    raise UserError(f"{cause} {which}", "stillhouse pull-model --list tells what is there")


def copy(place: Place, digest: str, folder: Path) -> list[str]:
    """Copy all parts of a model into a new folder, verified; their names. UserError where the model is not whole."""
    parts = [part for part in registry.PARTS if registry.fetch(place, digest, part, folder / part)]
    if "model" not in parts:
        raise UserError(f"{place.name}: model {digest[:12]} is not there whole", "publish it again")
    return parts


def mirror(place: Place, which: str, folder: Path) -> str | None:
    """Make a new folder a registry that holds this one model, as its latest; its digest, or None for an empty one."""
    digest = chosen(place, which)
    folder.mkdir(parents=True)
    if digest is not None:
        copy(place, digest, folder / "models" / digest)
    (folder / registry.LATEST).write_bytes(registry.pointer(registry.LATEST, digest, None))
    return digest
