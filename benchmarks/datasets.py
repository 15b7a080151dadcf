"""Datasets for benchmarks: a folder's own images, or drawn ones, validated and indexed by the program itself."""

import shutil
from pathlib import Path
from typing import Any

from components import contract
from components.settings import Params

HIDDEN = "unknown"  # the folder of images without a label


def step(scratch: Path, name: str, values: dict[str, Any], **paths: Path) -> None:
    """Run a step on one thread, without tracking, under settings that params.yaml could hold.

    name: the step's, and its section's where that is another, such as `train teachers.deep`.
    """
    name, _, section = name.partition(" ")
    quiet = {"tracking": False, "threads": 1, "work": str(scratch / "work"), "cache": str(scratch / "cache"),
             "reports": str(scratch / "facts")}
    params = Params({**values, "runtime": quiet})
    contract.run_step(contract.load_step(name), params.section(section or name), section or name, paths)


def indexed(source: Path, scratch: Path, size: int, data: dict[str, Any]) -> Path:
    """The Dataset of a folder at some size in pixels, made where it is not there yet; data: that section's settings."""
    scratch = scratch.resolve()
    if not (scratch / "dataset").exists():
        scratch.mkdir(parents=True, exist_ok=True)
        values, manifest = {"data": data, "index": {"size": [size, size]}}, scratch / "manifest"
        step(scratch, "validate", values, source=source.resolve(), manifest=manifest, report=scratch / "page.html",
             metrics=scratch / "validate.json")
        step(scratch, "index", values, source=source.resolve(), manifest=manifest, dataset=scratch / "dataset",
             metrics=scratch / "index.json")
    return scratch / "dataset"


def half_labelled(source: Path, scratch: Path, size: int) -> Path:
    """The Dataset of a folder with train/CLASS, val/CLASS and test/CLASS; half of train's labels are hidden.

    Of each class those of the images at odd places in the order of their names.
    """
    raw = scratch / "raw"
    if not raw.exists():
        for folder in sorted(path for split in ("train", "val", "test") for path in (source / split).iterdir()):
            for number, file in enumerate(sorted(folder.iterdir())):
                hidden = folder.parent.name == "train" and number % 2
                where = raw / folder.parent.name / (HIDDEN if hidden else folder.name)
                where.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, where / (f"{folder.name}-{file.name}" if hidden else file.name))
    return indexed(raw, scratch, size, {"layout": "folders", "unlabelled": HIDDEN})


def drawn(scratch: Path, size: int, count: int) -> Path:
    """The Dataset of drawn garments with the one task `category`."""
    if not (scratch / "raw").exists():
        scratch.mkdir(parents=True, exist_ok=True)
        step(scratch, "sample", {"sample": {"count": count, "size": size}}, data=scratch / "raw")
    return indexed(scratch / "raw", scratch, size, {"tasks": {"category": {}}})
