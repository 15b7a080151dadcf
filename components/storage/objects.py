"""What a server tells of the objects of a bucket, and the digests by which their bytes are checked."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHA256 = "sha256"  # the name of our digest among an object's metadata


@dataclass(frozen=True)
class Found:
    """An object as the server tells it.

    sha256: ours, hexadecimal, empty where none was given or a listing does not tell. plain: whether an ETag may be
    the MD5 of the bytes, which keys of a customer or of KMS prevent.
    """

    name: str
    size: int
    etag: str
    sha256: str = ""
    plain: bool = True

    def digest(self) -> tuple[str, str]:
        """The algorithm and the hexadecimal digest by which the bytes can be checked; empty where there is none."""
        if self.sha256:
            return "sha256", self.sha256
        return ("md5", self.etag) if self.plain and re.fullmatch("[0-9a-f]{32}", self.etag) else ("", "")


@dataclass(frozen=True)
class Piece:
    """A piece of an object that is being sent: what the server has got.

    checksum: its SHA-256 in base64, if told. came: when it arrived, in seconds since 1970.
    """

    number: int
    size: int
    etag: str
    checksum: str = ""
    came: float = 0.0


def found(name: str, answer: Mapping[str, Any]) -> Found:
    """What the answer to a HEAD or GET tells of an object."""
    size = int(str(answer.get("ContentRange", "")).rpartition("/")[2] or answer["ContentLength"])
    return Found(name, size, str(answer["ETag"]).strip('"'), answer.get("Metadata", {}).get(SHA256, ""), plain(answer))


def plain(answer: Mapping[str, Any]) -> bool:
    """Whether nothing keeps an ETag from being the MD5 of the bytes."""
    return "SSECustomerAlgorithm" not in answer and "kms" not in str(answer.get("ServerSideEncryption", ""))


def checksum(content: bytes) -> str:
    """SHA-256 as headers carry it, in base64."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()
