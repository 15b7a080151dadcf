"""TensorBoard's event files, written without TensorBoard: records of protocol buffers with checksums.

The format: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto, in records as in
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/io/record_writer.h.
"""

import math
import os
import platform
import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CASTAGNOLI = 0x82F63B78  # CRC-32C, bits reversed (RFC 3720, section 12.1)
MASK = 0xA282EAD8
DOUBLE, LENGTHS, SINGLE, VARINT = 1, 2, 5, 0  # wire types
STARTED = 1  # SessionLog.START: what an earlier process wrote from this step on no longer counts


class Board:
    """One event file in a folder, begun by `begin`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None

    def begin(self, step: int) -> None:
        """Open a file of this process; figures of later steps in older files are overruled."""
        self.folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self.path = self.folder / f"events.out.tfevents.{now:.6f}.{platform.node()}.{os.getpid()}"
        self.path.write_bytes(record(event(now, 0, field(3, b"brain.Event:2")))
                              + record(event(now, step + 1, field(7, field(1, STARTED)))))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append figures of a step, at once."""
        assert self.path is not None, "begin comes first"
        pairs = b"".join(field(1, field(1, name.encode()) + single(2, value)) for name, value in values.items())
        with self.path.open("ab") as stream:
            stream.write(record(event(time.time(), step, field(5, pairs))))


def event(when: float, step: int, what: bytes) -> bytes:
    """An Event: wall time, step, and one of its other fields."""
    return key(1, DOUBLE) + struct.pack("<d", when) + field(2, step) + what


def field(number: int, value: bytes | int) -> bytes:
    """A field of bytes, text or messages, or of a whole number."""
    if isinstance(value, int):
        return key(number, VARINT) + varint(value)
    return key(number, LENGTHS) + varint(len(value)) + value


def single(number: int, value: float) -> bytes:
    """A field of single precision; what lies beyond it becomes infinite."""
    try:
        return key(number, SINGLE) + struct.pack("<f", value)
    except OverflowError:
        return key(number, SINGLE) + struct.pack("<f", math.copysign(math.inf, value))


def key(number: int, wire: int) -> bytes:
    """What stands before a field."""
    return varint(number << 3 | wire)


def varint(value: int) -> bytes:
    """A whole number in groups of seven bits, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def record(data: bytes) -> bytes:
    """Data with its length and the checksums of both."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def masked(data: bytes) -> bytes:
    """A checksum that may itself be part of data that has one."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """CRC-32C.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc, rest = 0xFFFFFFFF, table()
    for byte in data:
        crc = crc >> 8 ^ rest[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


@cache
def table() -> tuple[int, ...]:
    """The remainder of every byte."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (CASTAGNOLI if byte & 1 else 0)
        found.append(byte)
    return tuple(found)
