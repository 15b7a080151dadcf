"""What is wrong with files, one by one and among each other, and what becomes of each."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from components.data.check_settings import Thresholds
from components.data.copies import among
from components.data.facts import Facts, finished, look
from components.data.guard_worker import Limits
from components.data.guarded import Failure, guarded
from components.data.tasks import Task
from components.data.verdicts import REASONS, Finding, Policies, Reason
from components.errors import Unfit
from components.progress import progress

MEASURED = ("sha256", "bytes", "width", "height", "format", "mode", "brightness", "contrast", "sharpness", "entropy",
            "fingerprint")
NAMED = 5  # files in a message


def inspect_all(root: Path, rows: pd.DataFrame, thresholds: Thresholds, limits: Limits, processes: int) -> list[Facts]:
    """Read and decode every file, to its last pixel, in processes under limits; in the order of the rows.

    rows: path, and sha256_given where the listing has it. Takes about 0.6 KB of memory a file.
    """
    paths = rows["path"].tolist()
    results = guarded(partial(look, str(root)), paths, processes, limits, finish=partial(finished, thresholds))
    given = rows["sha256_given"].tolist() if "sha256_given" in rows else [None] * len(paths)
    checked = zip(progress(results, len(paths), "checking"), given, strict=True)
    return [as_given(settled(result), digest) for result, digest in checked]


def settled(result: Facts | Failure) -> Facts:
    """The facts of a file, also of one that no process survived."""
    return Facts("", 0, findings=(Finding(result.reason, result.detail),)) if isinstance(result, Failure) else result


def as_given(facts: Facts, digest: object) -> Facts:
    """The facts, with the finding that the file has another digest than its list gives."""
    if not isinstance(digest, str) or not facts.sha256 or digest == facts.sha256:
        return facts
    return replace(facts, findings=(Finding("changed", f"its list gives the digest {digest[:12]}, it has "
                                                       f"{facts.sha256[:12]}"), *facts.findings))


def compared(rows: pd.DataFrame, facts: Sequence[Facts], tasks: Sequence[Task]
             ) -> tuple[list[Facts], list[str | None]]:
    """The facts with what shows only among files behind each file's own findings, and the cluster of each."""
    more, clusters = among(rows, facts, tasks)
    joined = [replace(one, findings=one.findings + found) if found else one
              for one, found in zip(facts, more, strict=True)]
    return joined, clusters


def refuse(facts: Sequence[Facts], paths: Sequence[str], policies: Policies) -> None:
    """Unfit where the policy for a finding is `fail`: the counts, and the first few."""
    counts = count(facts)
    fatal = [reason for reason in REASONS if counts[reason] and policies.of(reason) == "fail"]
    if fatal:
        said = ", ".join(f"{counts[reason]} {reason}" for reason in fatal)
        named = [f"{path} ({found.reason})" for path, one in zip(paths, facts, strict=True)
                 for found in one.findings if found.reason in fatal]
        raise Unfit(f"the policy is to fail on findings, and there are {said}: {', '.join(named[:NAMED])}",
                        "mend or remove the files, or leave them out: validate.policy: quarantine, or "
                        f"validate.policies: {{{fatal[0]}: quarantine}}")


def count(facts: Sequence[Facts]) -> dict[Reason, int]:
    """How many files each reason was found for, all reasons named."""
    found = Counter(reason for one in facts for reason in {finding.reason for finding in one.findings})
    return {reason: found[reason] for reason in REASONS}


def judged(rows: pd.DataFrame, facts: Sequence[Facts], clusters: Sequence[str | None], policies: Policies
           ) -> pd.DataFrame:
    """The rows with a column for everything that was measured, the cluster, the verdict and its reason.

    verdict: `ok` or `left_out`. reason: the first that leaves the file out, else "".
    """
    reasons = [next((one.reason for one in fact.findings if not policies.keeps(one.reason)), "") for fact in facts]
    columns = {name: pd.Series([getattr(fact, name) for fact in facts], rows.index) for name in MEASURED}
    verdicts = ["left_out" if reason else "ok" for reason in reasons]
    return rows.assign(**columns, cluster=pd.Series(list(clusters), rows.index, object), verdict=verdicts,
                       reason=reasons)


def findings_table(rows: pd.DataFrame, facts: Sequence[Facts], policies: Policies) -> pd.DataFrame:
    """Every finding of every file: path, split, reason, detail, peer, verdict (`ok` where the reason is allowed)."""
    return pd.DataFrame(told(rows, facts, policies),
                        columns=["path", "split", "reason", "detail", "peer", "verdict"], dtype=object)


def told(rows: pd.DataFrame, facts: Sequence[Facts], policies: Policies) -> Iterator[tuple[str, ...]]:
    """The findings one by one, in the order of the rows."""
    for path, split, fact in zip(rows["path"], rows["split"], facts, strict=True):
        for one in fact.findings:
            verdict = "ok" if policies.keeps(one.reason) else "left_out"
            yield path, split, one.reason, one.detail, one.peer, verdict


def content_digest(rows: pd.DataFrame) -> str:
    """SHA-256 (hex) over path, digest and verdict of every file: two manifests that agree in it list the same data."""
    digest = hashlib.sha256()
    for parts in zip(rows["path"], rows["sha256"], rows["verdict"], strict=True):
        digest.update("\0".join(parts).encode() + b"\n")
    return digest.hexdigest()
