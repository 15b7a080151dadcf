"""What is wrong with files, one by one and among each other, and what a policy makes of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from components.data.dataset import SPLITS
from components.data.decoding import SUFFIXES, Undecodable, examine
from components.data.pool import ordered
from components.data.tasks import Task
from components.errors import UserError
from components.progress import progress

Policy = Literal["quarantine", "fail", "allow"]
Reason = Literal["empty", "unreadable", "truncated", "bomb", "wrong_extension", "duplicate", "leak", "conflict"]
REASONS: tuple[Reason, ...] = get_args(Reason)
UNUSABLE = ("empty", "unreadable", "truncated", "bomb")
# Whatever the general policy is, unless the reason is named.
DEFAULTS: dict[str, Policy] = {"wrong_extension": "allow"}


@dataclass(frozen=True)
class Finding:
    """One file as it was found.

    width, height: of the upright image, 0 where there is none. mode: Pillow's, of the file. detail: in words.
    peer: the file that it is a copy of.
    """

    sha256: str
    bytes: int
    width: int = 0
    height: int = 0
    mode: str = ""
    reason: str = ""
    detail: str = ""
    peer: str = ""


def inspect_all(root: Path, paths: Sequence[str], processes: int) -> list[Finding]:
    """Read and decode every file, to its last pixel; in the order of the paths."""
    found = ordered(partial(inspect, root), paths, processes)
    return list(progress(found, len(paths), "checking"))


def inspect(root: Path, path: str) -> Finding:
    """Read and decode one file."""
    try:
        content = (root / path).read_bytes()
    except OSError as error:
        raise UserError(f"{root / path} cannot be read: {error.strerror}", "check its permissions and its disk") from None
    blank = Finding(hashlib.sha256(content).hexdigest(), len(content))
    try:
        decoded = examine(content)
    except Undecodable as error:
        return replace(blank, reason=error.reason, detail=error.detail)
    seen = replace(blank, width=decoded.image.width, height=decoded.image.height, mode=decoded.mode)
    if Path(path).suffix.lower() in SUFFIXES[decoded.format]:
        return seen
    return replace(seen, reason="wrong_extension", detail=f"holds {decoded.format}")


def compare(rows: pd.DataFrame, findings: Sequence[Finding], tasks: Sequence[Task]) -> list[Finding]:
    """The findings with what only shows among files: copies within a split, across splits, and with other labels.

    Of copies across splits the one of test counts, else that of val, and those of the other splits leak; within a
    split the first path counts. Copies whose labels contradict each other are all in conflict.
    """
    result = list(findings)
    groups: dict[str, list[int]] = {}
    for row, finding in enumerate(findings):
        if finding.reason not in UNUSABLE:
            groups.setdefault(finding.sha256, []).append(row)
    for members in groups.values():
        if len(members) > 1:
            for row, change in judge_copies(rows, members, tasks).items():
                result[row] = replace(findings[row], **change)
    return result


def judge_copies(rows: pd.DataFrame, members: Sequence[int], tasks: Sequence[Task]) -> dict[int, dict[str, str]]:
    """Reason, detail and peer of each row of one group of equal files; the row that is kept has none."""
    paths, splits = rows["path"], rows["split"]
    kept = max(members, key=lambda row: (SPLITS.index(splits.iat[row]), -row))
    for task in tasks:
        labels = {row: rows[task.name].iat[row] for row in members if rows[task.name].iat[row]}
        if len(set(labels.values())) > 1:
            told = "; ".join(f"{paths.iat[row]}: {label}" for row, label in labels.items())
            return {row: {"reason": "conflict", "detail": f"{task.name} differs: {told}",
                          "peer": paths.iat[next(other for other in members if other != row)]} for row in members}
    changes = {}
    for row in members:
        if row != kept:
            reason = "duplicate" if splits.iat[row] == splits.iat[kept] else "leak"
            detail = f"the same file is in {splits.iat[kept]} as {paths.iat[kept]}"
            changes[row] = {"reason": reason, "detail": detail, "peer": paths.iat[kept]}
    return changes


def policy_of(reason: str, general: Policy, special: Mapping[str, Policy]) -> Policy:
    """The policy for a reason: its own, else the general one.

    >>> policy_of("leak", "fail", {}), policy_of("leak", "fail", {"leak": "allow"}), policy_of("wrong_extension", "fail", {})
    ('fail', 'allow', 'allow')
    """
    return special.get(reason) or DEFAULTS.get(reason, general)


def verdict(finding: Finding, general: Policy, special: Mapping[str, Policy]) -> str:
    """`ok` or `left_out`; what cannot be decoded is left out under every policy."""
    if not finding.reason:
        return "ok"
    allowed = policy_of(finding.reason, general, special) == "allow" and finding.reason not in UNUSABLE
    return "ok" if allowed else "left_out"


def refuse(findings: Sequence[Finding], paths: Sequence[str], general: Policy, special: Mapping[str, Policy]) -> None:
    """UserError where a finding's policy is `fail`: the counts, and the first few."""
    counts = count(findings)
    fatal = [reason for reason in REASONS if counts[reason] and policy_of(reason, general, special) == "fail"]
    if fatal:
        said = ", ".join(f"{counts[reason]} {reason}" for reason in fatal)
        first = [f"{path} ({finding.reason})" for path, finding in zip(paths, findings, strict=True) if finding.reason in fatal]
        raise UserError(f"the policy is to fail on findings, and there are {said}: {', '.join(first[:5])}",
                        "mend or remove the files, or leave them out: validate.policy: quarantine")


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """How many files each reason was found for, all reasons named."""
    reasons = [finding.reason for finding in findings]
    return {reason: reasons.count(reason) for reason in REASONS}


def judged(rows: pd.DataFrame, findings: Sequence[Finding], general: Policy, special: Mapping[str, Policy]) -> pd.DataFrame:
    """The rows with a column for everything that was found, and the verdict."""
    measured = pd.DataFrame([asdict(finding) for finding in findings], index=rows.index)
    verdicts = [verdict(finding, general, special) for finding in findings]
    return pd.concat([rows, measured], axis=1).assign(verdict=verdicts)
