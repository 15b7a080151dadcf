"""Objects of a bucket into files and folders: in pieces, checked, going on where an interrupted attempt stopped.

Beside a file that is not whole yet lie its bytes so far (`.NAME.partial`) and which pieces of which object they are
(`.NAME.pieces`).
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import UserError
from components.storage import atomic, receipts
from components.storage.bucket import DAMAGED_TRIES, Bucket
from components.storage.digests import printable, walk_files
from components.storage.locks import locked
from components.storage.objects import Found
from components.storage.parallel import Show, parallel, quiet
from components.storage.s3 import Damaged

PIECE = 16 << 20  # bytes


class Missing(UserError):
    """An object is not there."""


@dataclass
class Receiving:
    """An object on its way. digest: algorithm and value that its bytes must have. missing: pieces to fetch, from 0."""

    about: Found
    path: Path
    piece: int
    digest: tuple[str, str]
    missing: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def partial(self) -> Path:
        """Where the bytes are until they are whole."""
        return self.path.with_name(f".{self.path.name}.partial")

    @property
    def journal(self) -> Path:
        """Where it is told which pieces have come."""
        return self.path.with_name(f".{self.path.name}.pieces")

    @property
    def count(self) -> int:
        """How many pieces it has; an empty object has one."""
        return max(1, -(-self.about.size // self.piece))

    def title(self) -> str:
        """The journal's first line: pieces of another object are of no use."""
        return f"{self.about.etag} {self.about.size} {self.piece}\n"


def receive_folder(bucket: Bucket, name: str, target: Path, show: Show = quiet, piece: int = PIECE) -> None:
    """Put the objects below a name into a folder, whole or not at all; what came before an error is kept for next time.

    A sealed folder must agree with its receipt. Raises UserError where nothing is there, or something is missing.
    """
    with locked([target]):
        wanted = {one.name.removeprefix(f"{name}/" if name else ""): one for one in bucket.objects(name)}
        if not wanted:
            raise UserError(f"{bucket.url}/{name} holds nothing", "check the name, or publish something there first")
        refuse_names(list(wanted), f"{bucket.url}/{name}")
        partial = atomic.private_folder(target)
        partial.mkdir(parents=True, exist_ok=True)
        digests = sealed_digests(bucket, name, wanted, partial)
        drop_others(partial, wanted)
        files = {one.name: partial / short for short, one in wanted.items()}
        known = {one.name: digests[printable(short)] for short, one in wanted.items() if printable(short) in digests}
        receive_files(bucket, files, known, show, piece)
        atomic.flush(partial)
        atomic.move_into_place(partial, target)


def sealed_digests(bucket: Bucket, name: str, wanted: Mapping[str, Found], partial: Path) -> dict[str, str]:
    """The digests that a receipt gives, where there is one; UserError where it tells of other files than are there."""
    if receipts.NAME not in wanted:
        return {}
    file = wanted[receipts.NAME].name
    receive_files(bucket, {file: partial / receipts.NAME}, {}, quiet, PIECE)
    digests = receipts.read(partial).files
    here = {printable(short) for short in wanted} - {receipts.NAME}
    if here != digests.keys():
        odd = ", ".join(sorted(here ^ digests.keys())[:3])
        raise UserError(f"{bucket.url}/{name} and its receipt tell of different files: {odd}", "publish it again")
    return digests


def receive_files(bucket: Bucket, files: Mapping[str, Path], digests: Mapping[str, str], show: Show = quiet,
                  piece: int = PIECE) -> None:
    """Put objects into files. digests: SHA-256 by name, where known; else the server's word for the bytes counts.

    Raises UserError for an object that is not there, Damaged where its bytes stay others than they should be.
    """
    def begin(item: tuple[str, Path]) -> Receiving | None:
        return begun(bucket, *item, digests.get(item[0], ""), piece)

    plans = [one for one in parallel(bucket, begin, files.items()) if one is not None]
    left = fetched(bucket, plans, fetch_piece, show)
    for plan in left:
        plan.missing = list(range(plan.count))
    for plan in fetched(bucket, left, settle_piece, show):
        plan.partial.unlink()
        plan.journal.unlink()
        raise Damaged(f"{bucket.url}/{plan.about.name} is damaged: its {plan.digest[0]} digest is not {plan.digest[1]}")


def fetched(bucket: Bucket, plans: list[Receiving], fetch: Callable[[Bucket, Receiving, int], int],
            show: Show) -> list[Receiving]:
    """Fetch what is missing and put into place what has its digest; the others."""
    jobs = [(plan, number) for plan in plans for number in plan.missing]

    def work(job: tuple[Receiving, int]) -> int:
        return fetch(bucket, *job)

    for _ in show(parallel(bucket, work, jobs), len(jobs), f"fetch from {bucket.url}"):
        pass
    return [plan for plan in plans if not put_into_place(bucket, plan)]


def begun(bucket: Bucket, name: str, path: Path, sha256: str, piece: int) -> Receiving | None:
    """What is left to fetch of an object; None where the file is there as it should be."""
    about = bucket.find(name)
    if about is None:
        raise Missing(f"{bucket.url}/{name} is not there", "check the name, or publish it first")
    plan = Receiving(about, path, piece, ("sha256", sha256) if sha256 else about.digest())
    if path.is_file() and path.stat().st_size == about.size and agrees(bucket, plan, path):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        title, *done = plan.journal.read_text(encoding="utf-8").splitlines(keepends=True)
        came = {int(line) for line in done if line.endswith("\n")}
    except (FileNotFoundError, ValueError):
        title, came = "", set()
    if title != plan.title() or not plan.partial.exists():
        came = set()
        clear(plan)
    plan.missing = [number for number in range(plan.count) if number not in came]
    return plan


def clear(plan: Receiving) -> None:
    """Forget what has come of an object."""
    plan.partial.write_bytes(b"")
    plan.journal.write_text(plan.title(), encoding="utf-8")


def fetch_piece(bucket: Bucket, plan: Receiving, number: int) -> int:
    """Fetch a piece and note that it has come; its bytes."""
    start, stop = number * plan.piece, min((number + 1) * plan.piece, plan.about.size)
    if stop > start:
        with plan.partial.open("r+b") as stream:
            bucket.read_range(plan.about, start, stop, stream)
    with plan.lock, plan.journal.open("a", encoding="utf-8") as journal:
        journal.write(f"{number}\n")
    return stop - start


def settle_piece(bucket: Bucket, plan: Receiving, number: int) -> int:
    """Fetch a piece until the same bytes have come twice: some of those that are here were changed on their way."""
    seen = {piece_digest(plan, number)}
    for _ in range(DAMAGED_TRIES):
        size = fetch_piece(bucket, plan, number)
        if (digest := piece_digest(plan, number)) in seen:
            return size
        seen.add(digest)
    raise Damaged(f"{bucket.url}/{plan.about.name} comes with other bytes each time")


def piece_digest(plan: Receiving, number: int) -> bytes:
    """SHA-256 of the bytes of a piece as they lie here."""
    with plan.partial.open("rb") as stream:
        stream.seek(number * plan.piece)
        return hashlib.sha256(stream.read(plan.piece)).digest()


def put_into_place(bucket: Bucket, plan: Receiving) -> bool:
    """Give a file that is whole its name; False where its digest is another."""
    if plan.partial.stat().st_size != plan.about.size or not agrees(bucket, plan, plan.partial):
        return False
    atomic.flush(plan.partial)
    plan.partial.replace(plan.path)
    plan.journal.unlink(missing_ok=True)
    return True


def agrees(bucket: Bucket, plan: Receiving, path: Path) -> bool:
    """Whether a file has the digest that its object should have; where the server gives none, the size has to do."""
    algorithm, value = plan.digest
    if algorithm:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
        return digest.hexdigest() == value
    if not plan.about.plain or "-" not in plan.about.etag:
        return True
    size = bucket.first_piece(plan.about.name)
    return etag_of_pieces(path, size) == plan.about.etag if size else True


def etag_of_pieces(path: Path, size: int) -> str:
    """The ETag of an object that was sent in pieces of a size: the MD5 of their MD5s, and how many they are."""
    sums = []
    with path.open("rb") as stream:
        while content := stream.read(size):
            sums.append(hashlib.md5(content, usedforsecurity=False).digest())
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"


def refuse_names(names: list[str], place: str) -> None:
    """UserError for names that lead out of a folder, or that cannot be files of one folder side by side."""
    folders = {"/".join(parts[:end]) for parts in (name.split("/") for name in names) for end in range(1, len(parts))}
    for name in names:
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name or name in folders:
            raise UserError(f"{place} holds an object {name!r}, which cannot be a file in a folder",
                            "remove it there, or name a place below")


def drop_others(partial: Path, wanted: Mapping[str, Found]) -> None:
    """Remove what an earlier attempt left of other objects."""
    kept = {os.fspath(partial / name) for name in wanted}
    for path in walk_files(partial):
        name = path.name.removeprefix(".").removesuffix(".partial").removesuffix(".pieces")
        if not {os.fspath(path), os.fspath(path.with_name(name))} & kept:
            path.unlink()
