"""From rows of a manifest and raw files to a Dataset: samples in their order, and what is stored of their images."""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.choice import Plan
from components.data.dataset import SCHEMA, SPLITS
from components.data.decoding import IMAGE_SUFFIXES, Undecodable
from components.data.describing import embeddings
from components.data.forms import Form, stored
from components.data.labelling import class_counts, in_order, merged, write_samples
from components.data.pool import ordered
from components.data.reuse import find, keep, keep_if_larger, kept_body, link
from components.data.shards import OFFSETS
from components.data.statistics import statistics
from components.data.tasks import Task
from components.data.writing import Body, Writer, named, read_body
from components.errors import UserError
from components.progress import progress
from components.storage.digests import json_text

BLOCK = 32
EXAMPLES = 16
REMEDY = "validate the folder again: dvc repro validate"


@dataclass(frozen=True)
class Places:
    """Where things are: raw files below root, the Dataset to be written, the state of an interrupted run, and what is
    kept for the next one."""

    root: Path
    folder: Path
    work: Path
    cache: Path


@dataclass(frozen=True)
class Built:
    """A Dataset that was written: its figures, how many files were decoded for it, and what there is to warn of."""

    figures: dict[str, int]
    decoded: int
    notes: tuple[str, ...]


def build(places: Places, kept: pd.DataFrame, tasks: Sequence[Task], plan: Plan, processes: int,
          entries: Mapping[str, Any] | None = None) -> Built:
    """Write a Dataset from the rows of a manifest and the files that they name.

    kept: every row with its split. entries: what else its head shall hold. Raises UserError for a file that has
    changed, OSError where the disk is full; what is done by then is found again.
    """
    notes: list[str] = []
    samples = merged(in_order(kept), notes)
    body, decoded = store_images(places, samples, plan, processes)
    places.folder.mkdir()
    head = {
        "schema": SCHEMA, "kind": "dataset", "tasks": [task.to_json() for task in tasks],
        "splits": {split: int((samples["split"] == split).sum()) for split in SPLITS},
        "counts": {task.name: class_counts(samples, task) for task in tasks},
        "geometry": plan.form.to_json(),
        "shards": place_shards(body, plan.form, places.folder / "shards"),
        "examples": copy_examples(places.root, samples, places.folder / "examples"),
        "statistics": statistics(samples, tasks, embeddings(places.work, plan.form, len(samples), processes)),
    } | dict(entries or {})
    write_samples(places.folder / "samples.parquet", samples, tasks)
    (places.folder / "dataset.json").write_text(json_text(head), encoding="utf-8")
    if problem := keep(places.cache, plan.form.key(), places.work):
        notes.append(problem)
    return Built(figures(head, places.folder) | {"merged": len(kept) - len(samples)}, decoded, tuple(notes))


def store_images(places: Places, samples: pd.DataFrame, plan: Plan, processes: int) -> tuple[Body, int]:
    """Write what is stored of every image, in the order of the samples, and say how many files were decoded.

    What an interrupted run has written stays; what is known from an earlier run is copied.
    """
    ids = np.frombuffer(bytes.fromhex("".join(samples["sha256"])), np.uint8).reshape(-1, 32)
    writer = Writer(places.work, plan.form, ids, plan.limit)
    try:
        decoded = fill(writer, places, samples, processes)
        writer.flush()
    except UserError:
        # Files have to be validated again, and their new manifest leads to another work folder.
        writer.flush()
        keep_if_larger(places.cache, plan.form.key(), places.work)
        raise
    finally:
        writer.close()
    body = read_body(places.work, plan.form.key())
    assert body is not None and len(body.lines) == len(samples)
    return body, decoded


def fill(writer: Writer, places: Places, samples: pd.DataFrame, processes: int) -> int:
    """Append the records that are not there yet; the number of files that were decoded."""
    first, decoded = writer.done, 0
    known = kept_body(places.cache, writer.form.key())
    rows = find(known, writer.ids[first:])
    files = list(zip(samples["path"][first:], samples["sha256"][first:], strict=True))
    work = partial(read_and_store, places.root, writer.form)
    unknown = [file for file, row in zip(files, rows, strict=True) if row < 0]
    with closing(fresh(work, unknown, processes)) as records:
        for file, row in progress(zip(files, rows, strict=True), len(files), "indexing"):
            if known is not None and row >= 0 and known.sound(row):
                writer.append(known.shards.record(row).tobytes())
                continue
            decoded += 1
            writer.append(next(records) if row < 0 else work(file))
    return decoded


def fresh(work: "partial[bytes]", files: Sequence[tuple[str, str]], processes: int) -> Generator[bytes, None, None]:
    """The records of files, in their order."""
    yield from ordered(work, files, processes, chunk=BLOCK)


def read_and_store(root: Path, form: Form, file: tuple[str, str]) -> bytes:
    """What is stored of one file: its path and the digest that it must have."""
    path, digest = file
    try:
        return stored(unchanged(root, path, digest), form)
    except Undecodable as error:
        raise UserError(f"{root / path} cannot be decoded: {error}", REMEDY) from None


def unchanged(root: Path, path: str, digest: str) -> bytes:
    """The content of a file; UserError where it is not what the manifest says."""
    file = root / path
    if file.exists() and not file.is_file():  # opening a pipe would wait for ever
        raise UserError(f"{file} is no ordinary file", REMEDY)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", REMEDY) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{file} was changed since it was validated", REMEDY)
    return content


def place_shards(body: Body, form: Form, folder: Path) -> dict[str, Any]:
    """Put the files of a body where a Dataset has them; what its head says of them."""
    folder.mkdir()
    for name in body.shards.names:
        link(body.shards.folder / name, folder / name)
    if form.pixels == "jpeg":
        with named(folder / OFFSETS):
            np.save(folder / OFFSETS, body.shards.offsets, allow_pickle=False)
    return {"files": list(body.shards.names), "starts": body.shards.starts.tolist()}


def copy_examples(root: Path, samples: pd.DataFrame, folder: Path) -> list[str]:
    """Copy the first raw files of test, so that an export can be checked without the raw folder."""
    folder.mkdir()
    chosen = samples[samples["split"] == "test"].head(EXAMPLES)
    names = []
    for path, digest in zip(chosen["path"], chosen["sha256"], strict=True):
        suffix = Path(path).suffix.lower()
        names.append(digest + (suffix if suffix in IMAGE_SUFFIXES else ""))
        (folder / names[-1]).write_bytes(unchanged(root, path, digest))
    return names


def figures(head: dict[str, Any], folder: Path) -> dict[str, int]:
    """What metrics.json says of a Dataset."""
    files = sorted((folder / "shards").iterdir())
    return {
        **{f"images.{split}": count for split, count in head["splits"].items()},
        **{f"classes.{task['name']}": len(task["classes"]) for task in head["tasks"]},
        "bytes": sum(file.stat().st_size for file in files),
    }
