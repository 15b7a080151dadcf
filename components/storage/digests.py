"""SHA-256 of files, folders and values, and cheap signatures that tell whether a tree was touched."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
SEAL = "digests.json"  # the digests of the other files of a folder that is whole or absent, by name


def json_text(value: Any) -> str:
    """The text of a JSON file, one spelling for equal values; ValueError for what is not finite."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def canonical_json(value: Any) -> str:
    """One spelling for equal values: keys sorted, no spaces, finite numbers only.

    >>> canonical_json({"b": 1.0, "a": [True, None]})
    '{"a":[true,null],"b":1.0}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def value_digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def walk_files(root: Path) -> Iterator[Path]:
    """Every regular file below a folder, in the byte order of the relative paths; symbolic links to files count."""
    names: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        names += [Path(folder) / name for name in files]
    yield from sorted((p for p in names if p.is_file()), key=lambda p: os.fsencode(p.relative_to(root).as_posix()))


def raw_digest(path: Path) -> str:
    """SHA-256 (hex) of a file that nobody made for us, or `forbidden` where this user may not read it."""
    try:
        return file_digest(path)
    except PermissionError:
        return "forbidden"


def tree_digests(root: Path, digest: Callable[[Path], str] = file_digest) -> dict[str, str]:
    """The digest of every file below a folder, by relative POSIX path (undecodable bytes shown as \\xNN)."""
    paths = list(walk_files(root))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # hashlib releases the GIL
        digests = pool.map(digest, paths)
        return {printable(p.relative_to(root).as_posix()): d for p, d in zip(paths, digests, strict=True)}


def signature(path: Path) -> dict[str, tuple[int, ...]]:
    """What stat says of a file or of every file in a folder: an untouched tree has an equal signature.

    The change time is part of it, which no ordinary program can set back.
    """
    files = [path] if path.is_file() else list(walk_files(path))
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        stat = file.stat()
        found[os.fspath(file)] = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return found


def printable(name: str) -> str:
    """A file name with undecodable bytes and control characters shown as escapes.

    >>> printable("caf\\udce9\\n")
    'caf\\\\xe9\\\\x0a'
    """
    shown = "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
    return "".join(f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else c for c in shown)
