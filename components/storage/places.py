"""A place that keeps files by name: whole or absent, and one of them replaced only where nobody else has done so."""

import hashlib
import shutil
from pathlib import Path
from typing import Protocol

from components.errors import TryAgain, UserError
from components.storage import atomic
from components.storage.digests import file_digest, walk_files
from components.storage.locks import locked


class Place(Protocol):
    """Where files are kept: a folder here, or a prefix of a bucket.

    Names are relative POSIX paths. What can pass raises TryAgain, the rest UserError.
    """

    @property
    def name(self) -> str:
        """What users call it, without secrets."""

    def names(self, prefix: str) -> list[str]:
        """Every file whose name begins so, sorted."""

    def digest(self, name: str) -> str:
        """SHA-256 (hex) of the bytes of a file; "" where there is none."""

    def put(self, name: str, source: Path) -> None:
        """Keep a copy of a file; a reader sees all of it or what was there before."""

    def get(self, name: str, target: Path) -> None:
        """Copy a file here, to a path whose folder exists."""

    def read(self, name: str) -> tuple[bytes, str]:
        """The bytes of a small file and their version; nothing and "" where there is none."""

    def replace(self, name: str, content: bytes, version: str) -> None:
        """Write a small file if it still has that version ("": is still absent); TryAgain where it has not."""


class Folder:
    """A place that is a folder of this machine, or of a volume that it shares."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The path as it was given."""
        return str(self.path)

    def names(self, prefix: str) -> list[str]:
        """Every file below the folder whose name begins so; hidden ones are not of the place."""
        relative = [file.relative_to(self.path) for file in walk_files(self.path)]
        whole = [path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts)]
        return [name for name in whole if name.startswith(prefix)]

    def digest(self, name: str) -> str:
        """The digest of a file's bytes as they lie there now."""
        path = self.path / name
        return file_digest(path) if path.is_file() else ""

    def put(self, name: str, source: Path) -> None:
        """Copy, flush, rename; what a killed holder of the lock left lies outside of the folders that are kept."""
        target = self.path / name
        self.path.mkdir(parents=True, exist_ok=True)
        with locked([self.path / "models"]), atomic.private([self.path / "put"]) as (partial,):
            shutil.copyfile(source, partial)
            atomic.flush(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic.move_into_place(partial, target)

    def get(self, name: str, target: Path) -> None:
        """Copy the bytes."""
        try:
            shutil.copyfile(self.path / name, target)
        except FileNotFoundError:
            raise UserError(f"{self.path / name} does not exist", "the registry is damaged: publish again") from None

    def read(self, name: str) -> tuple[bytes, str]:
        """The bytes; their version is their digest."""
        try:
            content = (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return b"", ""
        return content, hashlib.sha256(content).hexdigest()

    def replace(self, name: str, content: bytes, version: str) -> None:
        """Compare and rename under a lock."""
        target = self.path / name
        self.path.mkdir(parents=True, exist_ok=True)
        with locked([self.path / "models"]):
            if self.read(name)[1] != version:
                raise TryAgain(f"{target} was changed by somebody else meanwhile", "look at it, then try again")
            atomic.write_file(target, content)


def place_of(where: str) -> Place:
    """The place of a folder, or of an address such as s3://bucket/prefix; UserError for one that nobody here knows."""
    scheme, there, _ = where.partition("://")
    if not there:
        if Path(where).is_file():
            raise UserError(f"{where} is a file; expected a registry folder", "name a folder: promote.registry")
        return Folder(Path(where))
    if scheme == "s3":
        from components.storage.bucket_place import BucketPlace

        return BucketPlace(where)
    raise UserError(f"{where}: no place of kind {scheme} is known", "name a folder, or s3://bucket/prefix")
