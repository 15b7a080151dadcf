"""A folder of results that a command writes: whole or not at all, and never over something else."""

from collections.abc import Mapping
from pathlib import Path

from components.errors import UserError
from components.storage import atomic
from components.storage.locks import locked


def write_folder(folder: Path, files: Mapping[str, str], mark: str) -> None:
    """Write text files by name as a folder that replaces the earlier one.

    mark: the name of a file by which an earlier folder is known. UserError where the place is taken by another thing.
    """
    if folder.exists() and not (folder / mark).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there and holds no {mark}; it would be replaced",
                        "name another folder with --out")
    with locked([folder]), atomic.private([folder]) as (private,):
        private.mkdir()
        for name, text in files.items():
            (private / name).write_bytes(text.encode("utf-8"))
        atomic.flush(private)
        atomic.move_into_place(private, folder)
