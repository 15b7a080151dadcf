"""What a step logs while it works: lines in a local file, sent to MLflow by another process.

One call to a server that is away blocks for minutes, so a step never speaks to one: it appends a line, which takes
microseconds, and `sender.py` carries the lines on.
"""

import fcntl
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]
EMPTY: Record = {"tags": {}, "metrics": {}, "artifacts": [], "cached": []}  # what a last line may say and need not


class Journal:
    """An append-only file of JSON lines, locked by the kernel for as long as its step lives.

    Beside it stand `.files/` (figures), `.state` (what the sender has reached) and `.log` (what it complained of).
    """

    def __init__(self, folder: Path, section: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{section}-{secrets.token_hex(6)}.jsonl"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._broken = False

    def append(self, record: Record) -> None:
        """Add one line; a full disk costs the line and one warning, never the step."""
        line = json.dumps(record | {"time": now()}, ensure_ascii=False) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError as error:
            self._warn(error)

    def keep_file(self, path: str, content: bytes) -> None:
        """Store a small file beside the journal and note where in the run it belongs."""
        kept = files_folder(self.path) / secrets.token_hex(6) / Path(path).name  # the name that MLflow will show
        try:
            kept.parent.mkdir(parents=True)
            kept.write_bytes(content)
        except OSError as error:
            self._warn(error)
            return
        self.append({"kind": "file", "kept": kept.parent.name, "path": path})

    def close(self) -> None:
        """Release the file; it stays until what it holds was sent."""
        os.close(self._descriptor)

    def _warn(self, error: OSError) -> None:
        if not self._broken:
            print(f"warning: {self.path}: {error.strerror}; MLflow will lack some of this step", file=sys.stderr)
        self._broken = True


_active: list[Journal] = []  # a plain list, so that threads started by a step see it too


def activate(journal: Journal) -> None:
    """Let log_metrics and log_figure write to a journal."""
    _active.append(journal)


def deactivate(journal: Journal) -> None:
    """Undo activate."""
    _active.remove(journal)


def log_metrics(values: Mapping[str, float], step: int = 0) -> None:
    """Note metrics of the current step; nothing happens where no run is active."""
    if _active:
        numbers = {name: float(value) for name, value in values.items()}
        _active[-1].append({"kind": "metrics", "step": step, "values": numbers})


def log_figure(path: str, content: bytes) -> None:
    """Note a picture of the current step, by its path in the run; nothing happens where no run is active."""
    if _active:
        _active[-1].keep_file(path, content)


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


def files_folder(path: Path) -> Path:
    """Where the figures of a journal are.

    >>> files_folder(Path("journal/train-01.jsonl")).as_posix()
    'journal/train-01.files'
    """
    return path.with_name(path.name.removesuffix(".jsonl") + ".files")


def read_records(path: Path, offset: int = 0) -> tuple[list[Record], int]:
    """The complete lines of a journal after an offset, and the offset after them; torn lines are left out."""
    with path.open("rb") as stream:
        stream.seek(offset)
        content = stream.read()
    complete = content[: content.rfind(b"\n") + 1]
    records = []
    for line in complete.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:  # a write that a full disk cut short
            continue
    return records, offset + len(complete)


def kept_journals(folder: Path) -> list[Path]:
    """The journals of a folder, oldest first."""
    return sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)


def claim(path: Path) -> int | None:
    """Lock a journal whose step has ended and return the descriptor, or None where its step or a sender holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def discard(path: Path) -> None:
    """Remove a journal that was sent, with all that stands beside it."""
    shutil.rmtree(files_folder(path), ignore_errors=True)
    for suffix in (".jsonl", ".state", ".log"):
        path.with_suffix(suffix).unlink(missing_ok=True)
