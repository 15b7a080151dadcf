"""The step `pull`: the latest model of a registry, copied here for the comparison."""

import sys
from typing import Annotated

from pydantic import Field

from components.contract import Output
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Settings


class Pull(Settings):
    """Which published model is the champion; it is asked for in `promote.registry`."""

    which: str = Field("latest", description="latest, previous, a tag, or the beginning of a digest")
    registry: Annotated[str, From("promote.registry")] = "registry"
    runtime: SharedRuntime = Runtime()


def pull(settings: Pull, /, *, champion: Output) -> None:
    """Copy the latest model of the registry here, as a registry of its own; of an empty one, an empty one."""
    from components.deployment.pulling import mirror
    from components.storage.places import place_of

    place = place_of(settings.registry)
    digest = mirror(place, settings.which, champion)
    print(f"{place.name}: {f'model {digest[:12]}' if digest else 'no model is published yet'}", file=sys.stderr)
