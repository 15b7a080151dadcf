"""The words for what may be wrong with a file, and what a policy makes of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Policy = Literal["quarantine", "fail", "allow"]
Reason = Literal["empty", "unreadable", "truncated", "bomb", "wrong_extension", "duplicate", "leak", "conflict"]

REASONS: tuple[Reason, ...] = get_args(Reason)
UNUSABLE: tuple[Reason, ...] = ("empty", "unreadable", "truncated", "bomb")
MEANING: dict[Reason, str] = {
    "empty": "Files without a byte.",
    "unreadable": "Files that are no image of a format that is read, or are damaged.",
    "truncated": "Images that end before their last pixel.",
    "bomb": "Images of more pixels than are safe to decode.",
    "wrong_extension": "Images whose name claims another format than they have.",
    "duplicate": "Files whose very bytes the same split has under another name.",
    "leak": "Files whose very bytes another split has: a score there would be too good.",
    "conflict": "Equal files whose labels contradict each other.",
}
# Whatever the general policy is, unless the reason is named.
DEFAULTS: dict[Reason, Policy] = {"wrong_extension": "allow"}


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
