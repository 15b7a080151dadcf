"""The bytes of a file that may be anything: a pipe, a socket, a circle of links, or under change."""

import errno
import os
import stat
from pathlib import Path

from components.data.decoding import Undecodable
from components.data.verdicts import Reason
from components.errors import UserError

# What opening a path can fail with that is the path's own fault; all else is the disk's, or this process's.
FAULTS: dict[int, tuple[Reason, str]] = {
    errno.ELOOP: ("not_a_file", "a link that leads in a circle"),
    errno.ENXIO: ("not_a_file", "a socket, or a device that is not there"),
    errno.ENODEV: ("not_a_file", "a device that is not there"),
    errno.ENOTDIR: ("not_a_file", "a part of its path is no folder"),
    errno.EACCES: ("forbidden", "this user may not read it"),
    errno.EPERM: ("forbidden", "this user may not read it"),
}
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
         stat.S_IFBLK: "a device"}


def content_of(path: str) -> bytes:
    """Everything in a regular file, the same from its first byte to its last; opening it never waits.

    Raises Undecodable (not_a_file, forbidden, changed), UserError where the disk fails, MemoryError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise unopened(path, error) from None
    try:
        return whole(path, descriptor)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check the disk, then run the same command again"
                        ) from None
    finally:
        os.close(descriptor)


def whole(path: str, descriptor: int) -> bytes:
    """The content behind a descriptor; raises Undecodable where it is no file, or changes meanwhile."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise Undecodable("not_a_file", KINDS.get(stat.S_IFMT(before.st_mode), "no regular file"))
    content = os.read(descriptor, before.st_size + 1)
    while 0 < len(content) < before.st_size:  # one call reads 2 GiB at most
        more = os.read(descriptor, before.st_size + 1 - len(content))
        if not more:
            break
        content += more
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(content) != after.st_size:
        raise Undecodable("changed", "it was written to while it was read")
    return content


def unopened(path: str, error: OSError) -> Exception:
    """What it means that a path could not be opened."""
    if error.errno == errno.ENOENT:
        if Path(path).is_symlink():
            return Undecodable("not_a_file", "a link that leads nowhere")
        return Undecodable("changed", "it is gone since it was listed")
    if error.errno in FAULTS:
        return Undecodable(*FAULTS[error.errno])
    return UserError(f"{path} cannot be read: {error.strerror}", "check the disk, then run the same command again")
