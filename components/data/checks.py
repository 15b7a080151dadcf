"""What is wrong with files, one by one and among each other."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from components.data.dataset import SPLITS
from components.data.decoding import SUFFIXES, Undecodable, examine
from components.data.pool import ordered
from components.data.tasks import Task
from components.data.verdicts import REASONS, UNUSABLE, Policies, Reason
from components.errors import UserError
from components.progress import progress

Row = Mapping[Hashable, str]


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
    reason: Reason | None = None
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
        raise UserError(f"{root / path} cannot be read: {error.strerror}", "check permissions and disk") from None
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
    groups: dict[str, list[int]] = {}
    for row, finding in enumerate(findings):
        if finding.reason not in UNUSABLE:
            groups.setdefault(finding.sha256, []).append(row)
    result = list(findings)
    for members in groups.values():
        if len(members) > 1:
            table = rows.iloc[members].to_dict("records")
            for row, (reason, detail, peer) in zip(members, judge_copies(table, tasks), strict=True):
                if reason is not None:
                    result[row] = replace(findings[row], reason=reason, detail=detail, peer=peer)
    return result


def judge_copies(group: Sequence[Row], tasks: Sequence[Task]) -> list[tuple[Reason | None, str, str]]:
    """Reason, detail and peer of each row of a group of equal files; the row that is kept has no reason."""
    for task in tasks:
        labels = {row["path"]: row[task.name] for row in group if row[task.name]}
        if len(set(labels.values())) > 1:
            told = f"{task.name} differs: " + "; ".join(f"{path} is {label}" for path, label in labels.items())
            return [("conflict", told, next(one["path"] for one in group if one is not row)) for row in group]
    kept = max(group, key=lambda row: SPLITS.index(row["split"]))  # the first of the last split
    detail = f"the same file is in {kept['split']} as {kept['path']}"
    reasons: list[Reason] = ["duplicate" if row["split"] == kept["split"] else "leak" for row in group]
    return [(None, "", "") if row is kept else (reason, detail, kept["path"])
            for row, reason in zip(group, reasons, strict=True)]


def refuse(findings: Sequence[Finding], paths: Sequence[str], policies: Policies) -> None:
    """UserError where the policy for a finding is `fail`: the counts, and the first few."""
    counts = count(findings)
    fatal = [reason for reason in REASONS if counts[reason] and policies.of(reason) == "fail"]
    if fatal:
        said = ", ".join(f"{counts[reason]} {reason}" for reason in fatal)
        named = [f"{path} ({one.reason})" for path, one in zip(paths, findings, strict=True) if one.reason in fatal]
        raise UserError(f"the policy is to fail on findings, and there are {said}: {', '.join(named[:5])}",
                        "mend or remove the files, or leave them out: validate.policy: quarantine")


def count(findings: Sequence[Finding]) -> dict[Reason, int]:
    """How many files each reason was found for, all reasons named."""
    reasons = [finding.reason for finding in findings]
    return {reason: reasons.count(reason) for reason in REASONS}


def judged(rows: pd.DataFrame, findings: Sequence[Finding], policies: Policies) -> pd.DataFrame:
    """The rows with a column for everything that was found, and the verdict: `ok` or `left_out`."""
    found = [vars(finding) | {"reason": finding.reason or ""} for finding in findings]
    measured = pd.DataFrame(found, index=rows.index)
    verdicts = ["ok" if policies.keeps(finding.reason) else "left_out" for finding in findings]
    return pd.concat([rows, measured], axis=1).assign(verdict=verdicts)
