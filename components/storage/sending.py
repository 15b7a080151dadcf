"""Files into a bucket: large ones in pieces, going on where an interrupted attempt stopped.

What the server has got is compared piece by piece, so a restart needs no memory of its own: it asks which pieces have
arrived and whether they are those of this file.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import TryAgain, UserError
from components.storage.bucket import Bucket
from components.storage.digests import file_digest
from components.storage.objects import Piece, checksum
from components.storage.parallel import parallel
from components.storage.s3 import Refused

PIECE = 16 << 20  # bytes
MOST_PIECES = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
STALE_SECONDS = 24 * 3600.0


@dataclass
class Sending:
    """A file on its way. upload: its number on the server, empty where the file goes at once. missing: pieces to send.

    sums: SHA-256 of every piece, in base64, as far as known.
    """

    name: str
    path: Path
    size: int
    piece: int
    sha256: str
    upload: str = ""
    missing: list[int] = field(default_factory=list)
    sent: dict[int, Piece] = field(default_factory=dict)
    sums: dict[int, str] = field(default_factory=dict)

    def content(self, number: int) -> bytes:
        """The bytes of a piece; the first has number 1."""
        with self.path.open("rb") as stream:
            stream.seek((number - 1) * self.piece)
            return stream.read(self.piece)


def send_files(bucket: Bucket, files: Mapping[str, Path], piece: int = PIECE) -> None:
    """Put files into objects, by name, and make sure that the server has got all bytes.

    Uploads of these objects that nobody has gone on with for a day are given up.
    """
    def begin(item: tuple[str, Path]) -> Sending | None:
        return begun(bucket, *item, piece)

    plans = [one for one in parallel(bucket, begin, files.items()) if one is not None]
    jobs = [(plan, number) for plan in plans for number in plan.missing]

    def send(job: tuple[Sending, int]) -> None:
        send_piece(bucket, *job)

    for _ in parallel(bucket, send, jobs):
        pass
    for plan in plans:
        if plan.upload:
            finish(bucket, plan)


def begun(bucket: Bucket, name: str, path: Path, piece: int) -> Sending | None:
    """What is left to send of a file; None where the object has its digest already."""
    size, sha256 = path.stat().st_size, file_digest(path)
    there = bucket.find(name)
    if there is not None and (there.size, there.sha256) == (size, sha256):
        return None
    piece = max(piece, -(-size // MOST_PIECES))
    plan = Sending(name, path, size, piece, sha256)
    if size <= piece:
        plan.missing = [1]
        return plan
    count = -(-size // piece)
    plan.sums = dict.fromkeys(range(1, count + 1), "")
    resume(bucket, plan)
    if not plan.upload:
        plan.upload = bucket.begin(name, sha256)
    plan.missing = [number for number in plan.sums if number not in plan.sent]
    return plan


def resume(bucket: Bucket, plan: Sending) -> None:
    """Take over an upload of this object whose pieces are those of this file; give up what nobody goes on with."""
    for name, upload, since in bucket.begun(plan.name):
        arrived = bucket.pieces(plan.name, upload) if name == plan.name else []
        if name == plan.name and time.time() - max([since, *(one.came for one in arrived)]) > STALE_SECONDS:
            bucket.give_up(plan.name, upload)
        elif arrived and not plan.upload and all(belongs(plan, one) for one in arrived):
            plan.upload, plan.sent = upload, {one.number: one for one in arrived}


def belongs(plan: Sending, one: Piece) -> bool:
    """Whether a piece that has arrived is that of the file; its digest is kept."""
    if one.number not in plan.sums or one.size > plan.piece:
        return False
    content = plan.content(one.number)
    plan.sums[one.number] = checksum(content)
    return one.size == len(content) and (
        one.checksum == plan.sums[one.number]
        or one.etag == hashlib.md5(content, usedforsecurity=False).hexdigest())


def send_piece(bucket: Bucket, plan: Sending, number: int) -> None:
    """Send a piece, or a small file at once."""
    content = plan.content(number)
    if not plan.upload:
        if hashlib.sha256(content).hexdigest() != plan.sha256:
            raise changed(plan)
        bucket.write(plan.name, content)
        return
    plan.sums[number] = checksum(content)
    try:
        plan.sent[number] = bucket.send(plan.name, plan.upload, number, content)
    except Refused as error:
        if error.code != "NoSuchUpload":
            raise
        plan.sent[number] = Piece(number, 0, "")  # another process has ended the same upload; `finish` looks at it


def finish(bucket: Bucket, plan: Sending) -> None:
    """Make the object of its pieces, and look at what came of it."""
    digest = file_digest(plan.path)
    if digest != plan.sha256:
        raise changed(plan)
    try:
        bucket.complete(plan.name, plan.upload, [(plan.sent[number], plan.sums[number]) for number in plan.sums])
    except Refused as error:  # an answer was lost, or another process has ended the same upload
        if error.code not in ("NoSuchUpload", "InvalidPart", "404"):
            raise
    there = bucket.find(plan.name)
    if there is None or (there.size, there.sha256) != (plan.size, plan.sha256):
        raise TryAgain(f"{bucket.url}/{plan.name} was sent and is not there as it was sent",
                       "another process may be sending it too: run the same command again")


def changed(plan: Sending) -> UserError:
    """The error for a file that did not stay what it was."""
    return UserError(f"{plan.path} was changed while it was sent", "let the change finish, then run it again")
