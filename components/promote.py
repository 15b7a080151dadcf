"""The step `promote`: a model that passed the gate becomes the latest of a registry."""

import json
from pathlib import Path

from pydantic import Field

from components.contract import Input, Output
from components.runtime import Runtime, SharedRuntime
from components.settings import Settings


class Promote(Settings):
    """Where models are published; the same folder or address is asked for the champion."""

    registry: str = Field("registry", description="folder, or s3://bucket/prefix")
    tag: str = Field("", description="name that is moved to the model as well; empty: none")
    force: bool = Field(False, description="publish whatever the verdict is")
    runtime: SharedRuntime = Runtime()


def promote(settings: Promote, /, *, model: Input, exported: Input, verdict: Input, published: Output) -> None:
    """Publish the model and its export where the verdict allows it, and make it the latest."""
    from components.deployment.promotion import Candidate, publish
    from components.storage.places import place_of

    place = place_of(settings.registry)
    candidate = Candidate(model, exported, json.loads(Path(verdict).read_text(encoding="utf-8")))
    digest = publish(place, candidate, settings.tag, settings.force)
    text = json.dumps({"digest": digest, "place": place.name}, indent=1, sort_keys=True)
    published.write_text(text + "\n", encoding="utf-8")
