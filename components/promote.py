"""The step `promote`: a model that passed the gate becomes the latest of a registry."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.contract import Input, Output
from components.errors import UserError
from components.runtime import Runtime, SharedRuntime
from components.settings import Settings


class Promote(Settings):
    """Where models are published; the same folder or address is asked for the champion."""

    registry: str = Field("registry", description="folder, or s3://bucket/prefix")
    tag: str = Field("", description="name that is moved to the model as well; empty: none")
    when: Literal["verdict", "always", "never"] = Field("verdict", description=(
        "publish where the verdict allows it, whatever it is, or never; pipelines of clusters leave the step out then"))
    runtime: SharedRuntime = Runtime()


def promote(settings: Promote, /, *, model: Input, exported: Input, verdict: Input, published: Output) -> None:
    """Publish the model and its export where they may be, and make it the latest; UserError where they may not."""
    from components.deployment.promotion import Candidate, publish
    from components.storage.places import place_of

    if settings.when == "never":
        raise UserError("promote.when is never", "set it to verdict or always, or leave the step out")
    place = place_of(settings.registry)
    candidate = Candidate(model, exported, json.loads(Path(verdict).read_text(encoding="utf-8")))
    digest = publish(place, candidate, settings.tag, force=settings.when == "always")
    text = json.dumps({"digest": digest, "place": place.name}, indent=1, sort_keys=True)
    published.write_text(text + "\n", encoding="utf-8")
