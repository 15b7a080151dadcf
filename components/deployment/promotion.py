"""A candidate becomes the latest model of a registry, or is refused with the reason."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.deployment import registry
from components.errors import TryAgain, UserError
from components.storage import receipts
from components.storage.places import Place


@dataclass(frozen=True)
class Candidate:
    """A sealed model, the export of it and the verdict on it (None: none was asked for), as they lie here."""

    model: Path
    exported: Path | None
    verdict: dict[str, Any] | None


def publish(place: Place, candidate: Candidate, tag: str = "", force: bool = False) -> str:
    """Publish a candidate, make it the latest and return its digest; again, it changes nothing.

    force: whatever the verdict says. Raises UserError where the candidate does not fit together or may not be
    promoted, TryAgain where another promotion was faster.
    """
    digest = receipts.digest(candidate.model)
    refuse_tag(tag)
    refuse_foreign(candidate, digest)
    before = registry.latest(place)
    if before.digest != digest:
        refuse_verdict(candidate.verdict, digest, before.digest, force)
    for part, folder in (("model", candidate.model), ("export", candidate.exported)):
        if folder is not None:
            registry.store(place, digest, part, folder)
    if before.digest != digest:
        advance(place, digest, before)
    if tag:
        name = f"tags/{tag}.json"
        registry.point(place, name, digest, None, place.read(name)[1])
    return digest


def refuse_tag(tag: str) -> None:
    """UserError for a tag that means something else already, or makes no file name."""
    if tag in ("latest", "previous") or not re.fullmatch(r"$|[A-Za-z0-9][A-Za-z0-9._-]{0,63}", tag):
        raise UserError(f"{tag} cannot be a tag", "use up to 64 letters, digits, dots, underscores and hyphens, but "
                        "not latest or previous")


def advance(place: Place, digest: str, before: registry.Latest) -> None:
    """Make a published model the latest, if the latest is still the one that it was held against."""
    try:
        registry.point(place, registry.LATEST, digest, before.digest, before.version)
    except TryAgain:
        now = registry.latest(place).digest
        if now == digest:
            return
        raise TryAgain(f"{place.name}: another promotion was faster: the latest is now {(now or 'none')[:12]}, not "
                       f"{(before.digest or 'none')[:12]}", "hold the model against the new champion: dvc repro "
                       "compare (or pull and compare), then publish again") from None


def refuse_foreign(candidate: Candidate, digest: str) -> None:
    """UserError where the export is of another model, or the verdict none of ours."""
    if candidate.exported is not None:
        made_from = receipts.read(candidate.exported).inputs.get("model", "")
        if made_from != digest:
            raise UserError(f"{candidate.exported} was made from model {made_from[:12] or 'unknown'}; "
                            f"{candidate.model} is {digest[:12]}", "make it again: dvc repro export")
    named = {"model", "champion", "promote", "verdict", "reasons"}
    if candidate.verdict is not None and not named <= candidate.verdict.keys():
        raise UserError("the verdict is not one that `compare` wrote", "make it again: dvc repro compare")


def refuse_verdict(verdict: dict[str, Any] | None, digest: str, champion: str | None, force: bool) -> None:
    """UserError where the verdict forbids promotion, or is not on this model and the champion of now.

    digest: the model's. force: all of that is a warning.
    """
    cause = ""
    if verdict is None:
        cause = "there is no verdict on this model"
    elif verdict["model"] != digest:
        cause = f"the verdict is on model {verdict['model'][:12]}, not on {digest[:12]}"
    elif verdict["champion"] != champion:
        names = [(one or "none")[:12] for one in (verdict["champion"], champion)]
        cause = f"the verdict is against champion {names[0]}; the latest of the registry is now {names[1]}"
    elif not verdict["promote"]:
        cause = f"the verdict is {verdict['verdict']}: {'; '.join(verdict['reasons'])}"
    if cause and not force:
        raise UserError(cause, "make it anew where model or champion has changed (dvc repro compare, or stillhouse "
                        "compare); to publish against it: --force, or promote.when: always in params.yaml")
    if cause:
        print(f"warning: {cause}; published all the same (force)", file=sys.stderr)


def roll_back(place: Place, which: str = "previous") -> str:
    """Make a model that is published the latest again, and return its digest; the latest of now is then the previous.

    Raises UserError where there is none, or it is no longer what was published.
    """
    before, digest = registry.latest(place), registry.chosen(place, which)  # in this order a change between is seen
    if digest is None:
        raise UserError(f"{place.name} has no {which} model to go back to", "stillhouse pull-model --list tells what "
                        "is there")
    registry.check(place, digest)
    if digest != before.digest:
        registry.point(place, registry.LATEST, digest, before.digest, before.version)
    return digest
