"""What one file is: read once, decoded once, and everything that this tells kept together."""

import builtins
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from components.data.check_settings import Thresholds
from components.data.contents import content_of
from components.data.decoding import SUFFIXES, Undecodable
from components.data.fingerprints import fingerprint
from components.data.glancing import Glance, glance
from components.data.measuring import Measures, doubts, measure
from components.data.verdicts import Finding


@dataclass(frozen=True, slots=True)
class Facts:
    """One file as it was found.

    sha256: of the bytes, "" where they could not be read. bytes: their number. width, height: of the upright image in
    pixels, 0 where nothing was decoded. format, mode: Pillow's, of the file. brightness, contrast, sharpness, entropy:
    see `measuring`, NaN where nothing was decoded. fingerprint: b"" where nothing was decoded.
    """

    sha256: str
    bytes: int
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    brightness: float = math.nan
    contrast: float = math.nan
    sharpness: float = math.nan
    entropy: float = math.nan
    fingerprint: builtins.bytes = b""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A file that was decoded, before its small picture was looked at."""

    path: str
    sha256: str
    bytes: int
    glance: Glance


def inspect(root: str, thresholds: Thresholds, path: str) -> Facts:
    """Read and decode one file below a folder; whatever is wrong with it is a finding.

    Raises UserError where the disk itself fails.
    """
    return finished(thresholds, [look(root, path)])[0]


def look(root: str, path: str) -> Facts | Seen:
    """Read and decode one file; its facts where that already fails."""
    digest, size = "", 0
    try:
        content = content_of(f"{root}/{path}")
        digest, size = hashlib.sha256(content).hexdigest(), len(content)
        return Seen(path, digest, size, glance(content))
    except Undecodable as error:
        return Facts(digest, size, findings=(Finding(error.reason, error.detail),))
    except MemoryError:
        return Facts(digest, size, findings=(Finding("bomb", "needs more memory than a decoder is given"),))


def finished(thresholds: Thresholds, files: Sequence[Facts | Seen]) -> list[Facts]:
    """The facts of files; all are measured, then all get their fingerprints: code that is warm takes half the time."""
    decoded = [one for one in files if isinstance(one, Seen)]
    measured = iter([measure(one.glance.grey) for one in decoded])
    prints = iter([fingerprint(one.glance.grey) for one in decoded])
    return [stated(one, next(measured), next(prints), thresholds) if isinstance(one, Seen) else one for one in files]


def stated(file: Seen, measured: Measures, mark: builtins.bytes, thresholds: Thresholds) -> Facts:
    """The facts of a file that was decoded and measured."""
    seen = file.glance
    found = (*misnamed(file.path, seen), *seen.traits, *doubts(seen.size, measured, thresholds))
    return Facts(file.sha256, file.bytes, *seen.size, seen.format, seen.mode, *measured, mark, found)


def misnamed(path: str, seen: Glance) -> tuple[Finding, ...]:
    """The finding that a name claims another format than the file has; a name without a suffix claims none."""
    if path.lower().endswith(SUFFIXES[seen.format]) or not PurePath(path).suffix:
        return ()
    return (Finding("wrong_extension", f"holds {seen.format}"),)
