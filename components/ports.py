"""What a step reads and writes: ports, the paths bound to them, and whether those are what they claim to be."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from components.errors import UsageError, UserError
from components.storage import receipts
from components.storage.digests import printable, signature


@dataclass(frozen=True)
class Port:
    """How a step's parameter takes part: read, read as a named collection, or written.

    setting: dotted path in params.yaml that supplies the path where none is given.
    """

    kind: Literal["input", "inputs", "output"]
    setting: str = ""


Input: TypeAlias = Annotated[Path, Port("input")]
Source: TypeAlias = Annotated[Path, Port("input", setting="data.path")]
Inputs: TypeAlias = Annotated[dict[str, Path], Port("inputs")]
Output: TypeAlias = Annotated[Path, Port("output")]


def bind_inputs(ports: Mapping[str, Port], settings: object, paths: Mapping[str, Path]) -> dict[str, Path]:
    """Every input path by its full name (`teachers/NAME` for collected ones); UserError for a missing one."""
    bound: dict[str, Path] = {}
    for name, port in ports.items():
        if port.kind == "input":
            bound[name] = existing(paths[name], name)
        elif port.kind == "inputs":
            bound |= collected(name, paths[name], list(getattr(settings, name)))
    return bound


def existing(path: Path, name: str) -> Path:
    """The path, or UserError where nothing is there."""
    if path.parts[:1] == ("s3:",):
        raise UserError(f"{name} is {'/'.join(path.parts).replace('s3:', 's3:/', 1)}, which is not on this machine",
                        "bring it here: set fetch.repository to it, run stillhouse fetch --data data/raw, and let "
                        "data.path name that folder (docs/storage.md)")
    if not path.exists():
        remedy = "set data.path in params.yaml to a folder of images" if name == "source" else "make it: dvc repro"
        raise UserError(f"{path} does not exist; expected the {name} there", remedy)
    return path


def collected(name: str, folder: Path, names: list[str]) -> dict[str, Path]:
    """Exactly the artifacts that the settings list, from a folder that may hold others; those are said and left out."""
    present = {path.name for path in existing(folder, name).iterdir() if not path.name.startswith(".")}
    if not names:
        raise UserError(f"params.yaml names no {name}", f"add one below {name}:")
    missing = [one for one in names if one not in present]
    if missing:
        cause = f"{folder} has no {', '.join(missing)}; params.yaml lists {', '.join(names)}"
        raise UserError(cause, "make it: dvc repro")
    for other in sorted(present - set(names)):
        print(f"warning: {folder / other} is not listed in params.yaml and is left out", file=sys.stderr)
    return {f"{name}/{one}": folder / one for one in names}


def grouped(ports: Mapping[str, Port], inputs: Mapping[str, Path]) -> dict[str, Path | dict[str, Path]]:
    """Bound inputs as the step's function takes them: one path, or paths by name."""
    arguments: dict[str, Path | dict[str, Path]] = {}
    for name, port in ports.items():
        if port.kind == "input":
            arguments[name] = inputs[name]
        elif port.kind == "inputs":
            named = {key: path for key, path in inputs.items() if key.startswith(f"{name}/")}
            arguments[name] = {key.partition("/")[2]: path for key, path in named.items()}
    return arguments


def refuse_overlaps(inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """UsageError where an output would be written over, into or around another path of the step."""
    places = {name: path.resolve() for name, path in [*inputs.items(), *outputs.items()]}
    for name, path in outputs.items():
        mine = places[name]
        for other, place in places.items():
            if other != name and (mine.is_relative_to(place) or place.is_relative_to(mine)):
                raise UsageError(f"--{name} {path} and {other} {place} overlap", "give each its own place")


def digest_inputs(inputs: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """The digest of every input (sealed ones verified file by file), and of the raw folders they all come from.

    Of images that were fetched it is the digest by which their revision knows them.
    """
    digests: dict[str, str] = {}
    roots: dict[str, str] = {}
    for name, path in inputs.items():
        if receipts.is_sealed(path):
            digests[name] = receipts.verify(path)
            receipt = receipts.read(path)
            roots |= {name: receipt.settings["digest"]} if receipt.step == "fetch" else receipt.roots
        else:
            digests[name] = receipts.folder_digest(path)
            if path.is_dir() or name == "source":  # a manifest stands for the images that it names
                roots[name] = digests[name]
    return digests, roots


def refuse_changes(inputs: Mapping[str, Path], before: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """UserError where an input was changed while the step read it; the untouched are recognised by their stat."""
    for name, path in inputs.items():
        seen = signature(path) if path.exists() else {}
        if seen == before[name]:
            continue
        sealed = receipts.is_sealed(path)
        now = (receipts.verify(path) if sealed else receipts.folder_digest(path)) if path.exists() else "nothing"
        if now != digests[name]:
            changed = [file for file in sorted({*seen, *before[name]}) if seen.get(file) != before[name].get(file)]
            files = ", ".join(printable(file) for file in changed[:3]) + ", ..." * (len(changed) > 3)
            raise UserError(f"{path} ({name}) was changed while the step was reading it: {files}; nothing was written",
                            "let the change finish, then run the same command again")
