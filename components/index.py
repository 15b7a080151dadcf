"""The step that turns images and labels into a Dataset."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from components.contract import Input, Output, Source, note, work_folder
from components.data.split_settings import Split
from components.runtime import Runtime, SharedRuntime
from components.settings import From, Settings

Side = Annotated[int, Field(gt=0, le=4096)]


class Index(Settings):
    """How images are stored, and in which split."""

    size: tuple[Side, Side] = Field((64, 64), description="height and width in pixels; images are fitted in and padded")
    pad: int = Field(128, ge=0, le=255, description="grey value around an image")
    store: Literal["auto", "decoded", "jpeg"] = Field(
        "auto", description="decoded pixels, or small JPEGs; auto: JPEG where pixels would exceed decoded_limit")
    decoded_limit: float = Field(50.0, ge=0, description="GB of decoded pixels above which auto stores JPEGs")
    quality: int = Field(90, ge=1, le=100, description="quality of JPEGs; a small JPEG file is kept as it is")
    short_side: int = Field(
        0, ge=0, le=4096, description="largest short side of JPEGs; 0: what size needs, else size may change freely")
    shard_mb: int = Field(256, ge=1, description="largest size of one file of pixels, in MiB")
    split: Split = Split()
    root: Annotated[str, From("data.root"), Field(exclude=True)] = ""
    runtime: SharedRuntime = Runtime()


def index(settings: Index, /, *, source: Source, manifest: Input, dataset: Output, metrics: Output) -> None:
    """Resize and store the images that `validate` found fit, with their labels as numbers, each in a split."""
    from components.data import class_changes
    from components.data.building import Places, build
    from components.data.choice import Wanted, choose
    from components.data.files import root_of
    from components.data.manifest import Manifest
    from components.data.pool import processes
    from components.data.splits import divided

    listed = Manifest.open(manifest)
    news = class_changes.since(Path(settings.runtime.reports) / "index" / "run.json", listed.tasks)
    samples, division = divided(listed.kept(), listed.tasks, settings.split)
    wanted = Wanted(settings.store, settings.size, settings.pad, settings.shard_mb, settings.decoded_limit,
                    settings.quality, settings.short_side)
    plan = choose(samples, wanted, shutil.disk_usage(dataset.parent).free)
    print("\n".join(f"index: {line}" for line in plan.said), file=sys.stderr)
    warn(*news, *division.notes, *plan.notes)
    places = Places(root_of(source, settings.root), dataset, work_folder() / "pixels", Path(settings.runtime.cache))
    entries = {"division": division.head}
    built = build(places, samples, listed.tasks, plan, processes(settings.runtime.threads), entries)
    warn(*built.notes)
    note("decoded_files", built.decoded)
    note("tasks", class_changes.noted(listed.tasks))
    figures = built.figures | division.figures
    metrics.write_text(json.dumps(figures, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def warn(*lines: str) -> None:
    """Print warnings."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)
