"""Objects below a prefix of a bucket: requests that are tried again until they are answered, and checked bytes."""

import hashlib
import io
import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from components.errors import TryAgain
from components.storage.objects import SHA256, Found, Piece, checksum, found, plain
from components.storage.s3 import Damaged, Refused, Url, connect, explained, failures

T = TypeVar("T")
LONGEST_PAUSE = 8.0
DAMAGED_TRIES = 8
ABSENT = ("404", "NoSuchKey", "NotFound")
GONE = ("NoSuchUpload", *ABSENT)
UNMET = ("PreconditionFailed", "412")
LISTINGS = {"list_objects_v2": "list", "list_multipart_uploads": "list uploads of", "list_parts": "list pieces of"}
Place = dict[str, str]


@dataclass(frozen=True)
class Patience:
    """For how many seconds a request is tried again; `first` as long as the server has never answered."""

    seconds: float = 120.0
    first: float = 20.0


class Sink(Protocol):
    """Where bytes go that are read."""

    def seek(self, place: int, /) -> int:
        """Go to a byte."""

    def write(self, content: bytes, /) -> int:
        """Take bytes."""


class Bucket:
    """The objects below `s3://bucket/prefix`, by names relative to it.

    Every request is tried again while what fails may pass. Raises TryAgain where the server stays away, UserError
    where it refuses.
    """

    def __init__(self, url: str, patience: Patience = Patience()) -> None:
        self.url, self.patience = Url.parse(url), patience
        self.client = connect()
        self.stopped = threading.Event()
        self._answered = False
        self._conditions: bool | None = None

    def find(self, name: str) -> Found | None:
        """What is known of an object; None where there is none."""
        try:
            return found(name, self.ask("read", name, lambda place: self.client.head_object(**place)))
        except Refused as error:
            if error.code not in ABSENT:
                raise
        self.ask("list", "", lambda place: self.client.head_bucket(Bucket=place["Bucket"]))  # is it that?
        return None

    def first_piece(self, name: str) -> int:
        """The size of the first of the pieces that an object was sent in; 0 where the server does not tell."""
        try:
            answer = self.ask("read", name, lambda place: self.client.head_object(**place, PartNumber=1))
        except Refused:
            return 0
        return int(answer["ContentLength"]) if answer.get("PartsCount") else 0

    def objects(self, below: str = "") -> list[Found]:
        """Every object below a name, in the order of the names; the marks that consoles make for folders left out."""
        prefix = self.url.key(f"{below}/" if below else "")
        answers = self._pages("list_objects_v2", {"Prefix": prefix}, {"ContinuationToken": "NextContinuationToken"})
        cut = len(self.url.key(""))
        return [Found(one["Key"][cut:], one["Size"], one["ETag"].strip('"'))
                for answer in answers for one in answer.get("Contents", []) if not one["Key"].endswith("/")]

    def read(self, name: str) -> tuple[bytes, str] | None:
        """A small object, checked, and its ETag; None where there is none."""
        def fetch(place: Place) -> tuple[bytes, str]:
            answer = self.client.get_object(**place)
            content, about = answer["Body"].read(), found(name, answer)
            algorithm, expected = about.digest()
            if algorithm and hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() != expected:
                raise Damaged(f"{self.url}/{name} came with other bytes than its {algorithm} digest tells")
            return content, about.etag

        try:
            return self.ask("read", name, fetch)
        except Refused as error:
            if error.code not in ABSENT:
                raise
            return None

    def read_range(self, about: Found, start: int, stop: int, sink: Sink) -> None:
        """Bytes start to stop of an object, put at the same place of a sink; TryAgain where it was replaced."""
        wanted = {} if (start, stop) == (0, about.size) else {"Range": f"bytes={start}-{stop - 1}"}

        def fetch(place: Place) -> None:
            answer = self.client.get_object(**place, **wanted, IfMatch=f'"{about.etag}"')
            sink.seek(start)
            count = sum(sink.write(chunk) for chunk in answer["Body"].iter_chunks(1 << 18))
            if count != stop - start:
                raise Damaged(f"{self.url}/{about.name}: {count} bytes came of {stop - start}")

        try:
            self.ask("read", about.name, fetch)
        except Refused as error:
            if error.code not in UNMET:
                raise
            raise TryAgain(f"{self.url}/{about.name} was replaced while it was read",
                           "run the same command again") from None

    def write(self, name: str, content: bytes, condition: str | None = None) -> str | None:
        """Put a small object in its place and return its ETag; None where the condition does not hold.

        condition: the ETag that the object must have, or "" where there must be none; None: any.
        """
        if condition is None:
            return self._put(name, content, {})
        if not self._holds_conditions():
            now = self.find(name)
            return self._put(name, content, {}) if condition == (now.etag if now else "") else None
        try:
            return self._put(name, content, {"IfMatch": f'"{condition}"'} if condition else {"IfNoneMatch": "*"})
        except Refused as error:
            if error.code not in (*UNMET, *ABSENT):
                raise
        there = self.read(name)  # the answer to an earlier try may have been lost, and this be ours
        return there[1] if there is not None and there[0] == content else None

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there count as removed."""
        for name in names:
            self.ask("remove", name, lambda place: self.client.delete_object(**place))

    def begin(self, name: str, sha256: str) -> str:
        """Begin to send an object in pieces; the number of the upload."""
        answer = self.ask("write", name, lambda place: self.client.create_multipart_upload(
            **place, Metadata={SHA256: sha256}, ChecksumAlgorithm="SHA256"))
        return str(answer["UploadId"])

    def begun(self, below: str = "") -> list[tuple[str, str, float]]:
        """What was begun below a name and neither ended nor given up: name, upload, and when."""
        marks = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
        answers = self._pages("list_multipart_uploads", {"Prefix": self.url.key(below)}, marks)
        cut = len(self.url.key(""))
        return [(one["Key"][cut:], one["UploadId"], one["Initiated"].timestamp())
                for answer in answers for one in answer.get("Uploads", [])]

    def pieces(self, name: str, upload: str) -> list[Piece]:
        """The pieces of an upload that have arrived; none where it was ended or given up."""
        answers = self._pages("list_parts", {"Key": self.url.key(name), "UploadId": upload},
                              {"PartNumberMarker": "NextPartNumberMarker"}, name)
        try:
            return [Piece(one["PartNumber"], one["Size"], one["ETag"].strip('"'), one.get("ChecksumSHA256", ""),
                          one["LastModified"].timestamp())
                    for answer in answers for one in answer.get("Parts", [])]
        except Refused as error:
            if error.code not in GONE:
                raise
            return []

    def send(self, name: str, upload: str, number: int, content: bytes) -> Piece:
        """Send a piece; numbers begin with 1."""
        def put(place: Place) -> Any:
            return self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=io.BytesIO(content),
                                           ContentLength=len(content), ChecksumSHA256=checksum(content))

        return Piece(number, len(content), self._confirmed(name, content, put))

    def complete(self, name: str, upload: str, pieces: Iterable[tuple[Piece, str]]) -> None:
        """Make an object of the pieces, each with its SHA-256 in base64."""
        parts = [{"PartNumber": piece.number, "ETag": f'"{piece.etag}"', "ChecksumSHA256": digest}
                 for piece, digest in pieces]
        self.ask("write", name, lambda place: self.client.complete_multipart_upload(
            **place, UploadId=upload, MultipartUpload={"Parts": parts}))

    def give_up(self, name: str, upload: str) -> None:
        """Let the server forget the pieces of an upload."""
        try:
            self.ask("give up", name, lambda place: self.client.abort_multipart_upload(**place, UploadId=upload))
        except Refused as error:
            if error.code not in GONE:
                raise

    def ask(self, verb: str, name: str, request: Callable[[Place], T]) -> T:
        """Make a request until it is answered, with growing pauses of chance length.

        verb: one of RIGHTS of components/storage/s3.py, for messages.
        """
        began = time.monotonic()
        place = {"Bucket": self.url.bucket, "Key": self.url.key(name)}
        for attempt in itertools.count(1):
            if self.stopped.is_set():
                raise TryAgain(f"{self.url}/{name} was given up", "run the same command again")
            try:
                answer = request(place)
                self._answered = True
                return answer
            except failures() as error:
                self._answered = self._answered or hasattr(error, "response")
                told = explained(error, verb, f"{self.url}/{name}".rstrip("/"), self.client.meta.endpoint_url)
                if not isinstance(told, TryAgain) or self._enough(told, attempt, time.monotonic() - began):
                    raise told from None
            self.stopped.wait(pause(attempt))
        raise AssertionError

    def _enough(self, told: TryAgain, attempt: int, seconds: float) -> bool:
        limit = self.patience.seconds if self._answered else self.patience.first
        return seconds > limit or self.stopped.is_set() or (isinstance(told, Damaged) and attempt >= DAMAGED_TRIES)

    def _put(self, name: str, content: bytes, wanted: Mapping[str, str]) -> str:
        digest = hashlib.sha256(content).hexdigest()

        def put(place: Place) -> Any:
            return self.client.put_object(**place, **wanted, Body=io.BytesIO(content), ContentLength=len(content),
                                          ChecksumSHA256=checksum(content), Metadata={SHA256: digest})

        return self._confirmed(name, content, put)

    def _confirmed(self, name: str, content: bytes, put: Callable[[Place], Any]) -> str:
        """Send bytes whose SHA-256 the server was given, compare the MD5 that it says it has got; its ETag.

        An ETag that is no MD5 of the bytes shows as such by coming again.
        """
        expected = hashlib.md5(content, usedforsecurity=False).hexdigest()
        others: set[str] = set()

        def send(place: Place) -> str:
            answer = put(place)
            etag = str(answer["ETag"]).strip('"')
            if etag != expected and plain(answer) and etag not in others:
                others.add(etag)
                raise Damaged(f"{self.url}/{name} did not arrive as it was sent")
            return etag

        return self.ask("write", name, send)

    def _holds_conditions(self) -> bool:
        """Whether the server refuses a write whose condition does not hold; tried out once, and said where not."""
        if self._conditions is None:
            name = f".condition-{os.urandom(8).hex()}"
            try:
                self._put(name, b"1", {})
                self._put(name, b"2", {"IfNoneMatch": "*"})
                self._conditions = False
            except Refused as error:
                if error.code not in (*UNMET, "NotImplemented", "501", "InvalidArgument"):
                    raise
                self._conditions = error.code in UNMET
            self.remove([name])
            if not self._conditions:
                print(f"warning: {self.client.meta.endpoint_url} knows no conditional writes, so two that write at the "
                      "same moment cannot be told apart", file=sys.stderr)
        return self._conditions

    def _pages(self, call: str, given: dict[str, Any], marks: Mapping[str, str],
               name: str = "") -> Iterator[dict[str, Any]]:
        request, verb = getattr(self.client, call), LISTINGS[call]
        while True:
            page = given
            answer: dict[str, Any] = self.ask(verb, name, lambda place: request(Bucket=place["Bucket"], **page))  # noqa: B023
            yield answer
            if not answer.get("IsTruncated"):
                return
            given = given | {mark: answer[following] for mark, following in marks.items() if answer.get(following)}


def pause(attempt: int) -> float:
    """Seconds to wait after so many tries: anything up to a bound that doubles, so that many do not come at once."""
    return random.SystemRandom().uniform(0.0, min(LONGEST_PAUSE, 0.2 * 2.0**min(attempt, 10)))
