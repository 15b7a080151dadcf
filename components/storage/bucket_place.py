"""A prefix of a bucket as a place that keeps files by name."""

import hashlib
from pathlib import Path

from components.errors import TryAgain
from components.storage.bucket import Bucket
from components.storage.receiving import receive_files
from components.storage.sending import send_files


class BucketPlace:
    """A place that is `s3://bucket/prefix`. A version is an ETag."""

    def __init__(self, url: str) -> None:
        self.bucket = Bucket(url)

    @property
    def name(self) -> str:
        """The address."""
        return str(self.bucket.url)

    def names(self, prefix: str) -> list[str]:
        """Every object whose name begins so; hidden ones are not of the place."""
        found = [one.name for one in self.bucket.objects(prefix.rpartition("/")[0])]
        return [name for name in found if name.startswith(prefix) and "/." not in f"/{name}"]

    def digest(self, name: str) -> str:
        """The digest that went with the object, to which the server held its bytes; of what others sent, computed."""
        found = self.bucket.find(name)
        if found is None or found.sha256:
            return found.sha256 if found else ""
        there = self.bucket.read(name)
        return hashlib.sha256(there[0]).hexdigest() if there else ""

    def put(self, name: str, source: Path) -> None:
        """Send a file, in pieces where it is large; an object appears when all of it has arrived."""
        send_files(self.bucket, {name: source})

    def get(self, name: str, target: Path) -> None:
        """Fetch an object, checked."""
        receive_files(self.bucket, {name: target}, {})

    def read(self, name: str) -> tuple[bytes, str]:
        """The bytes of a small object and its ETag."""
        return self.bucket.read(name) or (b"", "")

    def replace(self, name: str, content: bytes, version: str) -> None:
        """Write on the condition that the ETag is still the same."""
        if self.bucket.write(name, content, version) is None:
            raise TryAgain(f"{self.name}/{name} was changed by somebody else meanwhile", "look at it, then try again")
