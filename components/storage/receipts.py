"""`receipt.json`: what an artifact holds and what it was made from, digest by digest.

An artifact's digest is the SHA-256 of its receipt, so receipts chain: each names its inputs by their digests.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.storage.digests import canonical_json, file_digest, json_text, raw_digest, tree_digests, value_digest

NAME = "receipt.json"
SCHEMA = 1


@dataclass(frozen=True)
class Receipt:
    """The facts sealed into an artifact; no time, host, absolute path or run id is among them.

    files: SHA-256 by relative path. inputs: artifact digest by port (`teachers/NAME` for collected ones).
    roots: digests of the raw folders at the far end of the chain; of fetched ones with their kind, as `md5:...`.
    """

    step: str
    section: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, str]
    roots: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def text(self) -> str:
        """The bytes of `receipt.json`, one spelling for equal facts."""
        return json_text(asdict(self))


def is_sealed(path: Path) -> bool:
    """Whether a folder is an artifact of ours."""
    return (path / NAME).is_file()


def read(path: Path) -> Receipt:
    """The receipt of an artifact; UserError where there is none or it cannot be read."""
    file = path / NAME
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        receipt = Receipt(**content)
    except FileNotFoundError:
        raise UserError(f"{path} has no {NAME}; a sealed artifact was expected", "make it with the step that writes it "
                        "(`dvc repro`), or correct the path") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged: {error}", f"remove {path} and make it again: dvc repro") from None
    if receipt.schema != SCHEMA:
        raise UserError(f"{file} has schema {receipt.schema}; this version reads {SCHEMA}",
                        f"remove {path} and make it again: dvc repro")
    return receipt


def digest(path: Path) -> str:
    """The digest of a sealed artifact, without looking at its files."""
    return file_digest(path / NAME)


def verify(path: Path) -> str:
    """Hash every file of a sealed artifact against its receipt and return its digest; UserError names what differs."""
    expected = read(path).files
    actual = {name: value for name, value in tree_digests(path).items() if name != NAME}
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            state = "was changed" if name in expected else "is not in the receipt"
            state = "is missing" if name not in actual else state
            raise UserError(f"{path}: {name} {state} since the artifact was sealed",
                            f"remove {path} and make it again (dvc repro), or fetch it again (dvc checkout --force)")
    return digest(path)


def folder_digest(path: Path) -> str:
    """The digest of a folder or file that is no artifact of ours: names and contents, nothing else."""
    return file_digest(path) if path.is_file() else value_digest(tree_digests(path, raw_digest))


def key(step: str, section: str, settings: dict[str, Any], inputs: dict[str, str]) -> str:
    """The digest under which a step's work folder is found: the same inputs and settings, the same work."""
    return value_digest({"step": step, "section": section, "settings": settings, "inputs": inputs})


def settings_digest(settings: dict[str, Any]) -> str:
    """SHA-256 of the settings that can change a result."""
    return value_digest(json.loads(canonical_json(settings)))
