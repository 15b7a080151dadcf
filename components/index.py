"""The step that turns images and labels into a Dataset."""

import json
from typing import Annotated

from pydantic import Field

from components.contract import Input, Output, Source
from components.settings import Runtime, Settings, SharedRuntime

Side = Annotated[int, Field(gt=0, le=4096)]


class Index(Settings):
    """How images are stored."""

    size: tuple[Side, Side] = Field((64, 64), description="height and width in pixels; images are fitted in and padded")
    pad: int = Field(128, ge=0, le=255, description="grey value around an image")
    shard_mb: int = Field(256, ge=1, description="largest size of one file of pixels, in MiB")
    runtime: SharedRuntime = Runtime()


def index(settings: Index, /, *, source: Source, manifest: Input, dataset: Output, metrics: Output) -> None:
    """Decode, resize and store the images that `validate` found fit, with their labels as numbers."""
    from components.data.building import Geometry, build
    from components.data.manifest import Manifest
    from components.data.pool import processes

    geometry = Geometry(settings.size, settings.pad, settings.shard_mb)
    listed = Manifest.open(manifest)
    figures = build(source, listed.kept(), listed.tasks, geometry, dataset, processes(settings.runtime.threads))
    metrics.write_text(json.dumps(figures, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")
