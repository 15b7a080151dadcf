"""Whether images are stored decoded or as JPEG, and what that costs."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from components.data.forms import Form, expected_bytes
from components.data.shards import MIB, MOST_FILES, file_limit

GB = 10**9


@dataclass(frozen=True)
class Wanted:
    """What the settings ask for.

    store: in which form, or `auto`: JPEG where decoded pixels would take more than decoded_limit GB. size, pad,
    quality, short_side: as in Form. shard_mb: largest size of a file in MiB.
    """

    store: Literal["auto", "decoded", "jpeg"]
    size: tuple[int, int]
    pad: int
    shard_mb: int
    decoded_limit: float
    quality: int
    short_side: int

    def form(self, pixels: Literal["decoded", "jpeg"]) -> Form:
        """One of the two forms that it can come to."""
        jpeg = pixels == "jpeg"
        return Form(pixels, self.size, self.pad, self.quality if jpeg else 0, self.short_side if jpeg else 0)


@dataclass(frozen=True)
class Plan:
    """The form that was chosen, the largest size of a file in bytes, what to say beforehand, and what to warn of."""

    form: Form
    limit: int
    said: tuple[str, ...]
    notes: tuple[str, ...]


def choose(rows: pd.DataFrame, wanted: Wanted, free: int) -> Plan:
    """Choose a form for images and say what both forms would cost.

    rows: width, height, bytes and format of the files. free: bytes that the disk has left.
    """
    forms = {name: wanted.form(name) for name in ("decoded", "jpeg")}
    cost = {name: expected_bytes(rows, form) for name, form in forms.items()}
    fits = cost["decoded"] <= wanted.decoded_limit * GB
    chosen = wanted.store if wanted.store != "auto" else "decoded" if fits else "jpeg"
    why = f"index.store is {wanted.store}"
    if wanted.store == "auto":
        why = f"decoded is {'within' if fits else 'over'} index.decoded_limit, {wanted.decoded_limit:g} GB"
    said = (f"{len(rows)} images of {wanted.size[0]} x {wanted.size[1]} take {amount(cost['decoded'])} decoded or "
            f"about {amount(cost['jpeg'])} as JPEG; stored: {chosen} ({why})",)
    limit = file_limit(cost[chosen], wanted.shard_mb)
    notes = []
    if limit > wanted.shard_mb * MIB:
        notes.append(f"index.shard_mb is raised from {wanted.shard_mb} to {-(-limit // MIB)}, so that no more than "
                     f"{MOST_FILES} files are needed")
    if cost[chosen] > free:
        notes.append(f"the disk has {amount(free)} left, and {amount(cost[chosen])} are needed")
    return Plan(forms[chosen], limit, said, tuple(notes))


def amount(size: int) -> str:
    """Bytes in a unit that can be read.

    >>> amount(1200), amount(185_942_016), amount(3_010_560_000_000)
    ('0.0012 MB', '186 MB', '3010.6 GB')
    """
    if size < GB:
        return f"{size / 10**6:.3g} MB"
    return f"{size / GB:.1f} GB"
