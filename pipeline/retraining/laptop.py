"""A retraining on this machine: what DVC is told to run, and the model that comes of it."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.errors import TryAgain, UserError
from components.settings import Params
from components.storage import receipts
from pipeline.inputs import lookup
from pipeline.retraining import tree
from pipeline.retraining.champion import POINTER, Champion
from pipeline.retraining.telling import Outcome

MODEL, EXPORTED, VERDICT = Path("models/distilled"), Path("exported"), Path("reports/compare/verdict.json")
START = "student.model.start"


def bring_data_up_to_date(params: Params) -> None:
    """Run the stages behind the Dataset where they are out of date and their images are here."""
    drawn = not Path("data/raw").exists() and str(params.setting("data.path")) == "data/raw"
    if Path("dvc.yaml").is_file() and (drawn or Path(str(params.setting("data.path"))).exists()):
        dvc("repro", "index")


def dvc(*words: str) -> None:
    """Run DVC to its end, its words on stderr; TryAgain where it or a stage of it says so, UserError where it fails."""
    command = ["dvc", *words]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise tree.no_dvc() from None
    with process:
        try:
            said = followed(process)
        except BaseException:
            process.terminate()  # stages die with it, and go on from their checkpoints
            raise
    if process.returncode:
        raise failure(" ".join(command), said)


def followed(process: "subprocess.Popen[bytes]") -> str:
    """Pass on what a process says while it says it; the last of it."""
    assert process.stdout
    kept = b""
    while chunk := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
        sys.stderr.buffer.write(chunk)
        sys.stderr.flush()
        kept = (kept + chunk)[-20_000:]
    process.wait()
    return kept.decode(errors="replace")


def failure(command: str, said: str) -> UserError:
    """The error for DVC's end. said: its last words; stages tell their own cause there."""
    codes = re.findall(r"exited with (-?\d+)", said)
    stage = re.findall(r"failed to reproduce '([^']+)'", said)
    if codes[-1:] == ["75"] or "cquire lock" in said:
        return TryAgain(f"{command} cannot go on now{f': {stage[-1]}' if stage else ''}",
                        "its own words are above; run the same command again later, nothing was published")
    return UserError(f"{command} failed{f' in stage {stage[-1]}' if stage else ''}",
                     "its own words are above; nothing was published, finished stages are kept")


def train(params: Params, registry: str, champion: Champion | None, warm: bool, overrides: Sequence[str]) -> Outcome:
    """Run what is out of date and read the verdict; UserError where that is not about the model that is here."""
    follow_registry(registry, champion)
    settings = [*warm_settings(champion, warm), *overrides]
    if settings:
        dvc("exp", "run", *(part for one in settings for part in ("-S", addressed(params, one))))
    else:
        dvc("repro")
    return Outcome("laptop", receipts.digest(MODEL), verdict(), promoted=False)


def follow_registry(registry: str, champion: Champion | None) -> None:
    """Let registry/, which `compare` looks at, name the champion of a registry elsewhere."""
    from components.deployment.pulling import into_registry
    from components.deployment.registry import latest
    from components.storage.places import Folder, place_of

    if champion is None or ("://" not in registry and Path(registry).resolve() == POINTER.parent.resolve()):
        return
    if latest(Folder(POINTER.parent)).digest != champion.digest:
        into_registry(place_of(registry), champion.digest, POINTER.parent)
        print(f"{POINTER} names the champion of {registry} now: {champion.digest[:12]}", file=sys.stderr)


def warm_settings(champion: Champion | None, warm: bool) -> list[str]:
    """The settings by which the students go on from the champion; UserError where there is none to go on from."""
    if not warm:
        return []
    if champion is None:
        raise UserError("--warm: there is no champion to begin with", "leave out --warm for the first training")
    return [f"{START}.model={champion.folder.as_posix()}", f"{START}.digest={champion.digest}"]


def addressed(params: Params, setting: str) -> str:
    """A setting as `dvc exp run -S` wants it: with a plus where params.yaml does not write it."""
    name = setting.partition("=")[0]
    return setting if lookup(params.values, name) is not None else f"+{setting}"


def verdict() -> dict[str, Any]:
    """The verdict of `compare` on the model that is here."""
    found: dict[str, Any] = json.loads(VERDICT.read_text(encoding="utf-8"))
    if found["model"] != receipts.digest(MODEL):
        raise UserError(f"{VERDICT} is about model {found['model'][:12]}, and {MODEL} is another",
                        "run the stages that are missing: dvc repro")
    return found


def promoted(registry: str, tag: str, outcome: Outcome) -> Outcome:
    """Publish the model where its verdict allows it; TryAgain where another promotion was faster."""
    from components.deployment.promotion import Candidate, publish
    from components.deployment.pulling import into_registry
    from components.storage.places import place_of

    assert outcome.verdict is not None and outcome.model is not None
    if outcome.verdict["verdict"] == "same":
        return Outcome(**{**vars(outcome), "note": "it is the champion"})
    if not outcome.verdict["promote"]:
        return Outcome(**{**vars(outcome), "note": f"the verdict is {outcome.verdict['verdict']}"})
    publish(place_of(registry), Candidate(MODEL, EXPORTED, outcome.verdict), tag)
    if "://" in registry or Path(registry).resolve() != POINTER.parent.resolve():
        into_registry(place_of(registry), outcome.model, POINTER.parent)
    tree.keep_reference()
    return Outcome(**{**vars(outcome), "promoted": True})
