"""A folder whose files are also kept in a bucket, so that another machine can go on with them.

    files/<sha256>    the bytes of a file
    manifest.json     {"files": {NAME: SHA-256}}

Bytes are there before the manifest that names them, whatever dies on the way. A folder with a seal (the digests of its
files) is there whole or not at all; of such folders side by side, as the states of a training are, one stays there at
any time. What the folder is for goes on where the bucket is away; that is said.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.errors import TryAgain, UserError
from components.storage import atomic
from components.storage.bucket import Bucket, Patience
from components.storage.digests import SEAL, file_digest, walk_files
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
        self.told: dict[str, str] = {}  # SHA-256 by name, as the manifest has it
        self.kept: dict[str, str] = {}  # the same, but for what is damaged in the bucket
        self.blobs: set[str] = set()  # what this process has sent or fetched; others' are let alone
        self.away = self.late = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="mirror", daemon=True)

    def pull(self) -> None:
        """Fetch the files that are not here; damaged ones are said, and sealed folders that lack one left out."""
        files = self._manifest()
        wanted = {name: digest for name, digest in files.items() if not (self.folder / name).exists()}
        lost = {name for name, digest in wanted.items() if not self._fetched(name, digest)}
        torn = {folder_of(name) for name in lost} & {folder_of(name) for name in files if is_seal(name)}
        for folder in torn:
            atomic.remove(self.folder / folder)
        self.told = files
        self.kept = {name: digest for name, digest in files.items() if name not in lost and folder_of(name) not in torn}
        self.blobs |= set(self.kept.values())
        if come := wanted.keys() & self.kept.keys():
            print(f"goes on with what is kept in {self.bucket.url}: {len(come)} files", file=sys.stderr)

    def _manifest(self) -> dict[str, str]:
        """The digests that the manifest names; none where it is absent or, which is said, damaged."""
        there = self.bucket.read(MANIFEST)
        try:
            files = json.loads(there[0])["files"] if there else {}
            found = {str(name): str(digest) for name, digest in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"warning: the state in {self.bucket.url} cannot be used: {error}", file=sys.stderr)
            return {}
        refuse_names(list(found), str(self.bucket.url))
        return found

    def _fetched(self, name: str, digest: str) -> bool:
        """Fetch a file, one by one as two may have the same bytes; False, which is said, where that cannot be done."""
        try:
            receive_files(self.bucket, {f"files/{digest}": self.folder / name}, {f"files/{digest}": digest})
            return True
        except (Missing, Damaged) as error:
            print(f"warning: {name} in {self.bucket.url} cannot be used: {error}", file=sys.stderr)
            return False

    def begin(self) -> None:
        """Look after the folder in the background."""
        self._thread.start()

    def end(self) -> None:
        """Take a last look, within the time that a terminated process has."""
        try:
            self._stop()
        except TryAgain as error:
            print(f"warning: the last state is not kept in {self.bucket.url}: {error.cause}", file=sys.stderr)
            return
        self._try(final=True)

    def forget(self) -> None:
        """Remove everything from the bucket: the work is done."""
        try:
            self._stop()
            self.bucket.remove([MANIFEST])
            self.bucket.remove([one.name for one in self.bucket.objects()])
            self._give_up("")
        except UserError as error:
            print(f"warning: finished state stays in {self.bucket.url}: {error.cause}", file=sys.stderr)

    def push(self, final: bool = False) -> None:
        """Send what has changed, then the manifest, then remove what neither it nor the folder needs any more."""
        names = [path.relative_to(self.folder).as_posix() for path in walk_files(self.folder)]
        shown = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
        sent = {name: self._sent(self.folder / name, name, final) for name in reversed(shown)}  # newest states first
        now = merged(self.kept, sent, self._whole(sent))
        if now != self.told:
            text = json.dumps({"files": now}, sort_keys=True, indent=1) + "\n"
            self.bucket.write(MANIFEST, text.encode())
        self.told = self.kept = now
        unneeded = self.blobs - {*now.values(), *sent.values()}
        self.bucket.remove([f"files/{digest}" for digest in sorted(unneeded)])
        self.blobs -= unneeded

    def _whole(self, sent: Mapping[str, str]) -> set[str]:
        """The sealed folders of which every file has been sent as its seal tells."""
        seals = {name: self._told(name) for name, digest in sent.items() if digest and is_seal(name)}
        return {folder_of(name) for name, told in seals.items()
                if told and all(sent.get(name.removesuffix(SEAL) + one) == digest for one, digest in told.items())}

    def _told(self, seal: str) -> dict[str, str]:
        """The digests that a seal tells; none where it is damaged or went meanwhile."""
        try:
            return dict(json.loads((self.folder / seal).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

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
                    return ""
                digest = self._send_small(path.read_bytes()) if stat.st_size <= SMALL else self._send_large(path, name)
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

    def _send_large(self, path: Path, name: str) -> str:
        digest = file_digest(path)
        if digest not in self.blobs:
            try:
                send_files(self.bucket, {f"files/{digest}": path})
            except FileNotFoundError:
                self._give_up(f"files/{digest}")
                if not self.late:
                    print(f"warning: {name} was replaced before all of it had been sent to {self.bucket.url}; an older "
                          "state stays there: raise runtime.checkpoint_seconds", file=sys.stderr)
                self.late = True
                raise
            self.blobs.add(digest)
        return digest

    def _give_up(self, below: str) -> None:
        """Let the server forget what was begun below a name and has not become an object."""
        for name, upload, _ in self.bucket.begun(below):
            self.bucket.give_up(name, upload)

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
        """End the thread; what it is sending is for the last look to end. TryAgain where a request takes too long."""
        self.bucket.patience = LAST_PATIENCE
        self._ended.set()
        self.bucket.stopped.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            raise TryAgain(f"a request did not end within {JOIN_SECONDS:.0f} s", "")
        self.bucket.stopped.clear()


def merged(kept: Mapping[str, str], sent: Mapping[str, str], whole: set[str]) -> dict[str, str]:
    """What is to be kept next, digests by name, after a look at what is there.

    kept: by now. sent: all that is there, with an empty digest where it is not fit to be kept yet. whole: its sealed
    folders that can be kept. Sealed folders of which that cannot be said, or that went, stay as they were kept while
    none beside them is whole.
    """
    torn = {folder_of(name) for name in (*kept, *sent) if is_seal(name)} - whole
    replaced = {folder_of(folder) for folder in whole}
    stay = {name: digest for name, digest in kept.items()
            if (folder := folder_of(name)) in torn and folder_of(folder) not in replaced}
    now = {name: digest or kept.get(name, "") for name, digest in sent.items() if folder_of(name) not in torn}
    return stay | {name: digest for name, digest in now.items() if digest}


def folder_of(name: str) -> str:
    """The folder that a file or folder lies in.

    >>> folder_of("state-1/counters.json"), folder_of("state-1")
    ('state-1', '')
    """
    return name.rpartition("/")[0]


def is_seal(name: str) -> bool:
    """Whether a file is the seal of a folder."""
    return name.rpartition("/")[2] == SEAL
