"""How the tasks of one run ended, each in a small file where the others can read it.

Kubeflow tells its exit handler neither what was found nor why something failed. The place is shared (a mounted volume
or an object store), or nothing is left and nothing is read.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.errors import Exit, UserError
from components.storage.atomic import write_file

PLACE = "STILLHOUSE_OUTCOMES"
RUNS = ("KFP_RUN_ID", "STILLHOUSE_RUN")
RETRY = "KFP_RETRY_INDEX"  # how often Kubeflow has started this task before

State = Literal["done", "failed", "unfit"]


@dataclass(frozen=True)
class Outcome:
    """How a task ended: its words where it failed, figures and outputs where it did not."""

    section: str
    state: State
    cause: str = ""
    remedy: str = ""
    code: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


def folder_of(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the tasks of this run leave how they ended; None where no place or no run is named."""
    run = next((environment[name] for name in RUNS if environment.get(name)), "")
    place = environment.get(PLACE, "")
    return Path(place) / re.sub(r"[^\w.-]", "_", run) if place and run else None


def leave(outcome: Outcome) -> None:
    """Write how a task ended, over what an earlier pod of the same task wrote."""
    folder = folder_of()
    if folder is not None:
        write_file(folder / f"{outcome.section}.json", json.dumps(asdict(outcome), sort_keys=True, indent=1) + "\n")


def left() -> dict[str, Outcome]:
    """How the tasks of this run ended, by section; what cannot be read is left out."""
    folder = folder_of()
    found = {}
    for path in sorted(folder.glob("[!.]*.json")) if folder is not None else ():
        try:
            outcome = Outcome(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        found[outcome.section] = outcome
    return found


def refuse_known(section: str) -> None:
    """UserError at once where an earlier pod of this task failed by what another pod will find as well.

    Kubeflow starts a failed task again whatever its exit code.
    """
    known = left().get(section) if os.environ.get(RETRY, "0") != "0" else None
    if known is not None and known.state == "failed" and known.code in (Exit.USER, Exit.USAGE):
        raise UserError(f"{known.cause} (found by an earlier pod of this task; not tried again)", known.remedy)
