"""The published model that a retraining is to replace: what it is, what it was made with, and how old it is."""

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.data.tasks import Task, read_tasks
from components.errors import UserError
from components.settings import Params, section_model
from components.storage import receipts
from components.storage.receipts import Receipt

ROOM = Path(".stillhouse/retrain")
POINTER = Path("registry/latest.json")  # what git keeps of the registry


@dataclass(frozen=True)
class Champion:
    """The published model: its digest, its folder here, and what its receipt and its head say."""

    digest: str
    folder: Path
    receipt: Receipt
    head: dict[str, Any]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that it was trained for."""
        return read_tasks(self.head["tasks"])

    @property
    def dataset(self) -> str:
        """The digest of the Dataset that it learnt from; "" where its receipt names none."""
        return self.receipt.inputs.get("dataset", "")

    def promised(self) -> dict[str, float]:
        """Accuracy on the validation split by task; of tasks with several labels the head tells F1, which is none."""
        figures: Mapping[str, float] = self.head.get("training", {}).get("val", {})
        return {task.name: figures[name] for task in self.tasks
                if task.kind == "single" and (name := f"val/{task.name}/accuracy") in figures}


def champion_of(registry: str) -> Champion | None:
    """The latest model of a registry, brought here and verified; None for an empty one.

    UserError where it is damaged or not there whole, TryAgain where the registry cannot be reached.
    """
    from components.deployment.pulling import into_folder
    from components.deployment.registry import latest
    from components.storage.places import place_of

    place = place_of(registry)
    digest = latest(place).digest
    if digest is None:
        return None
    folder = ROOM / "champion" / digest
    if not receipts.is_sealed(folder / "model"):
        into_folder(place, digest, folder)
    if receipts.verify(folder / "model") != digest:
        raise UserError(f"{folder} is not model {digest[:12]}", f"remove {folder}, then run the same command again")
    return opened(digest, folder / "model")


def opened(digest: str, folder: Path) -> Champion:
    """A verified Model as the champion; UserError where its head is none of a Model."""
    try:
        head = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        champion = Champion(digest, folder, receipts.read(folder), head)
        assert champion.tasks
    except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(f"model {digest[:12]} of the registry has no head that can be read: {error}",
                        "publish another one, or go back: stillhouse publish --rollback") from None
    return champion


def settings_of(params: Params, champion: Champion) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the champion's section then and now; UserError where there is no such section any more.

    Settings that came into being since then have the value then that was their default.
    """
    section, then = champion.receipt.section, champion.receipt.settings
    if section not in set(params.sections()):
        raise UserError(f"the champion was made by section {section}, which {params.origin} does not have",
                        "put it back, or publish a model of a section that is there")
    with suppress(ValidationError):  # of a version with other settings: they are held against each other as they are
        then = section_model(section).model_validate_json(json.dumps(then)).digestible()
    return then, params.section(section).digestible()


def age_in_days(registry: str, digest: str, published: str) -> float | None:
    """Days since the champion was published: since a given day, else as the files tell; None where nothing does."""
    if published:
        begun = day(published)
        if begun > datetime.now(UTC):
            raise UserError(f"--published {published} is still to come", "give the day on which it was published")
    else:
        begun_or_none = committed(digest) or written(registry)
        if begun_or_none is None:
            return None
        begun = begun_or_none
    return (datetime.now(UTC) - begun).total_seconds() / 86400


def day(text: str) -> datetime:
    """A day or moment in ISO 8601, UTC where it does not say; UserError for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--published {text} is no date", "for example: --published 2026-03-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def committed(digest: str) -> datetime | None:
    """When git was told that this is the champion; None where it was not."""
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words, "--", str(POINTER)], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    if not POINTER.is_file() or f'"{digest}"' not in POINTER.read_text(encoding="utf-8"):
        return None
    when = git("log", "-1", "--format=%cI") if not git("status", "--porcelain") else ""
    return datetime.fromisoformat(when) if when else None


def written(registry: str) -> datetime | None:
    """When latest.json of a registry folder was written; None for an address."""
    pointer = Path(registry) / POINTER.name
    if "://" in registry or not pointer.is_file():
        return None
    return datetime.fromtimestamp(pointer.stat().st_mtime, UTC)
