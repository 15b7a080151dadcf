"""stillhouse.lock: which version a repository was made for, and the digest of the code that each of its stages runs.

Where Stillhouse is installed, stages cannot depend on its code by path, as they do in its own working copy. They depend
on these digests, so that an upgrade runs again what it changed and nothing else.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.storage.digests import file_digest, walk_files
from components.strict_yaml import parse_yaml

HOME = Path(__file__).parents[1]  # the working copy, or the folder of the installed package: both hold dvc.yaml
NAME = "stillhouse.lock"
CODE = "components"


def version() -> str:
    """The version that is installed."""
    from importlib.metadata import version as installed

    return installed("stillhouse")


def own_stages() -> dict[str, Any]:
    """The stages of Stillhouse's own dvc.yaml by name, those of a loop as what it repeats."""
    stages = parse_yaml((HOME / "dvc.yaml").read_bytes(), "dvc.yaml")["stages"]
    return {name: fields.get("do", fields) for name, fields in stages.items()}


def is_code(dependency: str) -> bool:
    """Whether a dependency of a stage is code of ours.

    >>> is_code("components/train.py"), is_code("data/dataset")
    (True, False)
    """
    return dependency.split("/")[0] == CODE


def code_digests() -> dict[str, str]:
    """SHA-256 (hex) of the code behind each stage, as it is installed here."""
    return {name: code_digest([one for one in fields["deps"] if is_code(one)])
            for name, fields in own_stages().items()}


def code_digest(paths: list[str]) -> str:
    """SHA-256 (hex) over the names and bytes of all files below some paths of the installed code."""
    files = {file for path in paths for file in ([HOME / path] if (HOME / path).is_file() else walk_files(HOME / path))}
    lines = [f"{file.relative_to(HOME).as_posix()} {file_digest(file)}\n" for file in files
             if "__pycache__" not in file.parts]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def read(folder: Path) -> dict[str, Any]:
    """The lock of a repository; UserError where it is none that this version wrote."""
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "restore it from git") from None
    shape = {"version": str, "code": dict, "files": dict}
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in shape.items()):
        raise UserError(f"{path} is not what stillhouse init writes", "restore it from git")
    return found


def refuse_other_code(folder: Path, section: str) -> None:
    """UserError where a repository is pinned to other code of a stage than is installed; DVC would not notice.

    folder: where params.yaml lies; without a lock there, nothing is pinned. section: of params.yaml, which names the
    stage.
    """
    if not (folder / NAME).is_file():
        return
    stage = "train" if section.startswith("teachers.") else section
    lock, here = read(folder), code_digests()
    if stage in here and lock["code"].get(stage) != here[stage]:
        raise UserError(
            f"{folder / NAME} was written for Stillhouse {lock['version']}, whose {stage} is not that of the "
            f"{version()} installed here", f"stillhouse init --upgrade, or pip install stillhouse=={lock['version']}")
