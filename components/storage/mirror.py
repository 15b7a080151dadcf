"""A folder whose files are also kept in a bucket, so that another machine can go on with them.

    files/<sha256>    the bytes of a file
    manifest.json     {"files": {NAME: SHA-256}}

Bytes are there before the manifest that names them, so a reader finds a set of files that were here at one time,
whatever dies on the way. What the folder is for goes on where the bucket is away; that is said.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import UserError
from components.storage.bucket import Bucket, Patience
from components.storage.digests import file_digest, walk_files
from components.storage.receiving import Missing, receive_files, refuse_names
from components.storage.s3 import Damaged
from components.storage.sending import send_files

SECONDS = 10.0  # between two looks at the folder
SMALL = 16 << 20  # bytes; larger files are sent when they have not changed between two looks
PATIENCE = Patience(30.0, 20.0)
LAST_PATIENCE, JOIN_SECONDS = Patience(8.0, 5.0), 10.0  # who is terminated has 30 s
MANIFEST = "manifest.json"

Mark = tuple[int, int, int]


@contextmanager
def mirrored(url: str, folder: Path) -> Iterator[None]:
    """Begin with what is kept in `s3://bucket/prefix`, keep what is written meanwhile, and forget it in the end.

    After an exception a last look is taken and all is kept. Raises TryAgain where the bucket is away at the beginning,
    UserError where it refuses.
    """
    mirror = Mirror(url, folder)
    mirror.pull()
    mirror.begin()
    try:
        yield
    except BaseException:
        mirror.end()
        raise
    mirror.forget()


class Mirror:
    """A folder, the place in a bucket where it is kept, and a thread that looks after it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.bucket, self.folder = Bucket(url, PATIENCE), folder
        self.sent: dict[str, tuple[Mark, str]] = {}  # what a file was like when it was sent, and its digest
        self.seen: dict[str, Mark] = {}  # what a file was like at the last look
        self.kept: dict[str, str] = {}  # SHA-256 by name, as the manifest has it
        self.blobs: set[str] = set()  # what this process has sent or fetched; others' are let alone
        self.away = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="mirror", daemon=True)

    def pull(self) -> None:
        """Fetch the files that are not here; damaged ones are said and all begins anew."""
        there = self.bucket.read(MANIFEST)
        if there is None:
            return
        try:
            files = {str(name): str(digest) for name, digest in json.loads(there[0])["files"].items()}
            refuse_names(list(files), str(self.bucket.url))
            wanted = {name: digest for name, digest in files.items() if not (self.folder / name).exists()}
            for name, digest in wanted.items():  # two files may have the same bytes
                receive_files(self.bucket, {f"files/{digest}": self.folder / name}, {f"files/{digest}": digest})
        except (Missing, Damaged, ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"warning: the state in {self.bucket.url} cannot be used: {error}", file=sys.stderr)
            return
        self.blobs |= set(files.values())
        self.kept = files
        if wanted:
            print(f"goes on with what is kept in {self.bucket.url}: {len(wanted)} files", file=sys.stderr)

    def begin(self) -> None:
        """Look after the folder in the background."""
        self._thread.start()

    def end(self) -> None:
        """Take a last look, within the time that a terminated process has."""
        self._stop()
        if not self._thread.is_alive():
            self._try(final=True)

    def forget(self) -> None:
        """Remove everything from the bucket: the work is done."""
        self._stop()
        try:
            self.bucket.remove([MANIFEST])
            self.bucket.remove([one.name for one in self.bucket.objects()])
        except UserError as error:
            print(f"warning: finished state stays in {self.bucket.url}: {error.cause}", file=sys.stderr)

    def push(self, final: bool = False) -> None:
        """Send what has changed, then the manifest, then remove what it names no more."""
        now: dict[str, str] = {}
        for path in walk_files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if not any(part.startswith(".") for part in name.split("/")) and (digest := self._sent(path, name, final)):
                now[name] = digest
        if now == self.kept:
            return
        text = json.dumps({"files": now}, sort_keys=True, indent=1) + "\n"
        self.bucket.write(MANIFEST, text.encode())
        self.kept = now
        unneeded = self.blobs - set(now.values())
        self.bucket.remove([f"files/{digest}" for digest in sorted(unneeded)])
        self.blobs -= unneeded

    def _sent(self, path: Path, name: str, final: bool) -> str:
        """The digest of a file as the bucket has it, sent now if need be; empty where it is not fit to be kept yet."""
        try:
            stat = path.stat()
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            known, digest = self.sent.get(name, (None, ""))
            if known != mark:
                settled = final or stat.st_size <= SMALL or self.seen.get(name) == mark
                self.seen[name] = mark
                if not settled:
                    return self.kept.get(name, "")
                digest = self._send_small(path.read_bytes()) if stat.st_size <= SMALL else self._send_large(path)
                self.sent[name] = mark, digest
            return digest
        except FileNotFoundError:  # an older state went while we looked
            return ""

    def _send_small(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.blobs:
            self.bucket.write(f"files/{digest}", content)
            self.blobs.add(digest)
        return digest

    def _send_large(self, path: Path) -> str:
        digest = file_digest(path)
        if digest not in self.blobs:
            send_files(self.bucket, {f"files/{digest}": path})
            self.blobs.add(digest)
        return digest

    def _look(self) -> None:
        while not self._ended.wait(SECONDS):
            self._try()

    def _try(self, final: bool = False) -> None:
        """Push, or say once that it cannot be done."""
        try:
            self.push(final)
        except (UserError, OSError) as error:
            if self.bucket.stopped.is_set():  # it was told to stop; the last look comes
                return
            if not self.away:
                print(f"warning: state is not kept in {self.bucket.url}: {error}; going on", file=sys.stderr)
            self.away = True
            return
        if self.away:
            print(f"state is kept in {self.bucket.url} again", file=sys.stderr)
        self.away = False

    def _stop(self) -> None:
        """End the thread; what it is sending is ended too, or done by the last look."""
        self.bucket.patience = LAST_PATIENCE
        self._ended.set()
        self.bucket.stopped.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
        self.bucket.stopped.clear()
