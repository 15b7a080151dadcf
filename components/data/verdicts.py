"""The words for what may be wrong with a file, and what a policy makes of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Policy = Literal["quarantine", "fail", "allow"]
Reason = Literal[
    "empty", "unreadable", "truncated", "bomb", "timeout", "crash", "not_a_file", "forbidden", "changed",
    "wrong_extension", "animated", "exif_rotated", "cmyk", "sixteen_bit", "alpha", "grey", "palette",
    "too_small", "extreme_aspect", "near_uniform", "dark", "bright", "blurred", "low_information",
    "duplicate", "near_duplicate", "leak", "near_leak", "conflict", "near_conflict",
]

REASONS: tuple[Reason, ...] = get_args(Reason)
UNUSABLE: tuple[Reason, ...] = REASONS[: REASONS.index("wrong_extension")]
MEANING: dict[Reason, str] = {
    "empty": "Files without a byte.",
    "unreadable": "Files that are no image of a format that is read, or are damaged.",
    "truncated": "Images that end before their last pixel.",
    "bomb": "Images of more pixels than are safe to decode, or that need more memory than a decoder is given.",
    "timeout": "Files whose decoding took longer than is allowed.",
    "crash": "Files that crashed the process that decoded them.",
    "not_a_file": "Sockets, pipes, devices, and links that lead nowhere or in a circle.",
    "forbidden": "Files that this user may not read.",
    "changed": "Files that changed while they were read, or are not what their manifest says.",
    "wrong_extension": "Images whose name claims another format than they have.",
    "animated": "Files of several frames or pages, of which the first counts.",
    "exif_rotated": "Photographs that lie on their side or head and are turned upright, as their EXIF says.",
    "cmyk": "Images in printing colours, converted to RGB.",
    "sixteen_bit": "Images of more than 8 bits a sample, scaled to 8.",
    "alpha": "Images with transparency, laid over white.",
    "grey": "Images without colour.",
    "palette": "Images of a table of colours, converted to RGB.",
    "too_small": "Images with a side that is too short.",
    "extreme_aspect": "Images much longer than wide, or wider than long.",
    "near_uniform": "Images of almost one colour.",
    "dark": "Images that are almost black all over.",
    "bright": "Images that are almost white all over.",
    "blurred": "Images without a sharp edge.",
    "low_information": "Images with very little to see in them.",
    "duplicate": "Files whose very bytes the same split has under another name.",
    "near_duplicate": "Images that show the same picture as another of the same split: resized or recompressed.",
    "leak": "Files whose very bytes another split has: a score there would be too good.",
    "near_leak": "Images that show the same picture as one of another split: a score there would be too good.",
    "conflict": "Equal files whose labels contradict each other.",
    "near_conflict": "Images of the same picture whose labels contradict each other.",
}
# Whatever the general policy is, unless the reason is named: facts that the decoder takes care of, and doubts.
DEFAULTS: dict[Reason, Policy] = dict.fromkeys(
    ("wrong_extension", "animated", "exif_rotated", "cmyk", "sixteen_bit", "alpha", "grey", "palette", "extreme_aspect",
     "dark", "bright", "blurred", "low_information", "near_duplicate", "near_conflict"), "allow")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with, or worth knowing of, a file; a file may have several.

    detail: in words. peer: path of the file that it is a copy of.
    """

    reason: Reason
    detail: str = ""
    peer: str = ""


@dataclass(frozen=True)
class Policies:
    """What to do about findings: in general, and about single reasons."""

    general: Policy = "quarantine"
    special: Mapping[Reason, Policy] = field(default_factory=dict)

    def of(self, reason: Reason) -> Policy:
        """The policy for a reason: its own, else the general one.

        >>> policies = Policies("fail", {"leak": "quarantine"})
        >>> policies.of("leak"), policies.of("conflict"), policies.of("wrong_extension")
        ('quarantine', 'fail', 'allow')
        """
        return self.special.get(reason) or DEFAULTS.get(reason, self.general)

    def keeps(self, reason: Reason | None) -> bool:
        """Whether a file with this finding, or with none, is learnt from; what cannot be decoded never is."""
        return reason is None or (self.of(reason) == "allow" and reason not in UNUSABLE)
