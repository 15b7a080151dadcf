"""What is known of the data and the stages here, and of the Dataset that the champion learnt from."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components import pin
from components.errors import UserError
from components.settings import Params
from components.storage import receipts
from pipeline.retraining.champion import ROOM, Champion

DATASET = Path("data/dataset")
KEPT = ("samples.parquet", "dataset.json")  # of a Dataset, enough to hold another against it; the head says it is whole
FRONT = ("sample", "validate", "index")  # the stages behind a Dataset
JUDGES = ("evaluate", "compare", "export")  # stages that change no model


def images_here(params: Params) -> str:
    """Digest of the raw images as `validate` would state it; "" where they are not here."""
    path = Path(str(params.setting("data.path")))
    if not path.exists():
        return ""
    return receipts.digest(path) if receipts.is_sealed(path) else receipts.folder_digest(path)


def stale_stages() -> dict[str, list[str]] | None:
    """Names of what changed by stage, as `dvc status` tells; None where this is no DVC repository or nothing ran yet.

    What is only absent does not count: a fresh clone has no outputs. UserError where DVC itself complains.
    """
    if not Path("dvc.lock").is_file():
        return None
    try:
        done = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise no_dvc() from None
    if done.returncode or not done.stdout.strip():
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
        raise UserError(f"dvc status failed: {said}", "correct dvc.yaml or params.yaml; `dvc status` shows more")
    found = {}
    for stage, entries in json.loads(done.stdout.strip().splitlines()[-1]).items():
        changed = [name for entry in entries for name in changes_of(entry)]
        if changed:
            found[stage] = changed
    return found


def no_dvc() -> UserError:
    """The error where DVC cannot be started."""
    return UserError("dvc is not installed here", "pip install 'dvc[s3]', or activate the environment")


def changes_of(entry: str | Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names of what changed, of one entry of `dvc status`: paths, and settings with a colon before the name."""
    if isinstance(entry, str):
        yield entry
        return
    for kind, what in entry.items():
        for name, state in what.items() if isinstance(what, Mapping) else ():
            if isinstance(state, Mapping):
                yield from (f"{name}:{key}" for key, value in state.items() if value != "deleted")
            elif state != "deleted" and kind == "changed deps":
                yield name
        if not isinstance(what, Mapping):
            yield kind


def data_are_current(stale: Mapping[str, list[str]] | None) -> bool:
    """Whether the Dataset here is what the images and settings of now would make; false where nobody knows."""
    return stale is not None and receipts.is_sealed(DATASET) and not any(name in stale for name in FRONT)


def code_and_settings(stale: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Of what changed, code, commands and settings of the stages that decide what a model becomes."""
    def counts(name: str) -> bool:
        return ":" in name or name.startswith("changed ") or pin.is_code(name)

    found = {stage: [name.partition(":")[2] or name for name in names if counts(name)]
             for stage, names in stale.items() if stage not in JUDGES}
    return {stage: names for stage, names in found.items() if names}


def reference_of(champion: Champion, named: Path | None) -> Path | None:
    """The Dataset that the champion learnt from: the named one, the one in place, or what was kept of it."""
    if named is not None:
        if receipts.is_sealed(named) and receipts.digest(named) != champion.dataset:
            print(f"warning: {named} is not the Dataset that the champion learnt from ({champion.dataset[:12]})",
                  file=sys.stderr)
        return named
    kept = ROOM / "datasets" / champion.dataset
    return kept if champion.dataset and (kept / KEPT[-1]).is_file() else None


def keep_reference() -> None:
    """Keep head and table of the Dataset in place, so that a later one can be held against it."""
    if not receipts.is_sealed(DATASET):
        return
    kept = ROOM / "datasets" / receipts.digest(DATASET)
    kept.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (DATASET / name).is_file() and not (kept / name).is_file():
            shutil.copyfile(DATASET / name, kept / f"{name}.{os.getpid()}")
            (kept / f"{name}.{os.getpid()}").replace(kept / name)


def live_counts(path: Path | None) -> dict[str, tuple[int, int]]:
    """Right answers and answers in use by task: JSON {task: {right, of}}, or CSV with columns task, right, of."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        rows = (json.loads(text).items() if path.suffix == ".json" else
                [(row["task"], row) for row in csv.DictReader(io.StringIO(text))])
        found: dict[str, tuple[int, int]] = {}
        for task, row in rows:
            if task in found:
                raise ValueError(f"{task} stands there twice")
            found[task] = (int(row["right"]), int(row["of"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds no counts of right answers: {error}",
                        'write {"colour": {"right": 940, "of": 1000}}, or CSV with columns task, right, of') from None
    for task, (right, of) in found.items():
        if not 0 <= right <= of or of == 0:
            raise UserError(f"{path}: {task} has {right} right answers of {of}", "give counts, right at most of")
    return found
