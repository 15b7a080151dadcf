"""What shows only among files: the same bytes or the same picture twice, across splits, and under other labels."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from components.data.dataset import SPLITS
from components.data.facts import Facts
from components.data.fingerprints import clusters, twins
from components.data.reading import labels_of
from components.data.tasks import Task
from components.data.verdicts import UNUSABLE, Finding, Reason

Row = Mapping[Hashable, Any]
TOLD = 5  # labels that contradict each other, in one sentence


def among(rows: pd.DataFrame, facts: Sequence[Facts], tasks: Sequence[Task]
          ) -> tuple[list[tuple[Finding, ...]], list[str | None]]:
    """The findings of each row that only other rows bring about, and its cluster.

    Of equal files across splits the one of test counts, else that of val, and those of the other splits leak; within a
    split the first path counts and the others are duplicates. A row whose split is "" is no leak, only a duplicate. Of
    different files that show the same picture the same is said as near_leak and near_duplicate, and each is measured by
    what it is like itself, not by what that is like in turn. Copies whose labels contradict each other are in conflict
    too, all of them; several labels are compared as sets, and a missing label contradicts none. Files that cannot be
    decoded are no copies. The cluster is the smallest digest of all that are the same or near the same picture, or None
    for a row that stands alone.
    """
    contents = list(by_content(facts).values())
    prints = [facts[members[0]].fingerprint for members in contents]
    pairs = twins(prints)
    alike = neighbours(pairs)
    table = records(rows, [row for number, members in enumerate(contents) if len(members) > 1 or number in alike
                           for row in members])
    first = {number: heads([table[row] for row in members], tasks) for number, members in enumerate(contents)
             if members[0] in table}
    found: list[tuple[Finding, ...]] = [()] * len(facts)
    for number in first:
        peers = sorted((row for other in alike.get(number, ()) for row in first[other]), key=rank)
        for row in contents[number]:
            found[row] = (*equal_files(table[row], first[number], tasks), *near_copy(table[row], peers, tasks))
    return found, named_clusters(facts, contents, clusters(prints, pairs))


def records(rows: pd.DataFrame, numbers: Sequence[int]) -> dict[int, Row]:
    """Some rows by their numbers."""
    if not numbers:
        return {}
    return dict(zip(numbers, rows.iloc[list(numbers)].to_dict("records"), strict=True))


def by_content(facts: Sequence[Facts]) -> dict[str, list[int]]:
    """The rows of every content that can be decoded, by digest."""
    groups: dict[str, list[int]] = {}
    for row, fact in enumerate(facts):
        if not any(finding.reason in UNUSABLE for finding in fact.findings):
            groups.setdefault(fact.sha256, []).append(row)
    return groups


def rank(row: Row) -> tuple[int, str]:
    """Sorts copies so that the one that counts comes first: test, val, train, no split; then by path."""
    return -SPLITS.index(row["split"]) if row["split"] else 1, row["path"]


def heads(group: Sequence[Row], tasks: Sequence[Task]) -> list[Row]:
    """Of equal files, for each combination of labels the one that counts; sorted, the one of all first."""
    found: dict[tuple[str, ...], Row] = {}
    for row in sorted(group, key=rank):
        found.setdefault(tuple(row[task.name] for task in tasks), row)
    return list(found.values())


def equal_files(row: Row, others: Sequence[Row], tasks: Sequence[Task]) -> Iterator[Finding]:
    """The findings of a row among files of its content. others: their heads, of which it may be one."""
    task = next((task for task in tasks if contradict(task, others)), None)
    if task is not None:
        peer = next((one for one in others if contradict(task, (row, one))), None)
        peer = peer or next(one for one in others if one is not row)  # of a row without a label
        yield Finding("conflict", told_labels(task, others), peer["path"])
    if row is not others[0]:
        reason: Reason = "leak" if leaks_into(row, others[0]) else "duplicate"
        yield Finding(reason, f"the same file is {place(others[0])}", others[0]["path"])


def near_copy(row: Row, peers: Sequence[Row], tasks: Sequence[Task]) -> Iterator[Finding]:
    """The findings of a row whose picture other files show too. peers: their heads, the one that counts first."""
    for task in tasks:
        other = next((peer for peer in peers if contradict(task, (row, peer))), None)
        if other is not None:
            yield Finding("near_conflict", told_labels(task, (row, other)), other["path"])
            break
    if peers and rank(peers[0]) < rank(row):
        reason: Reason = "near_leak" if leaks_into(row, peers[0]) else "near_duplicate"
        yield Finding(reason, f"the same picture is {place(peers[0])}", peers[0]["path"])


def contradict(task: Task, rows: Iterable[Row]) -> bool:
    """Whether rows that have labels for a task have different ones."""
    return len({frozenset(labels_of(row[task.name], task.kind)) for row in rows if row[task.name]}) > 1


def told_labels(task: Task, rows: Iterable[Row]) -> str:
    """What contradicts, in words."""
    said = [f"{row['path']} is {row[task.name]}" for row in rows if row[task.name]]
    more = f"; and {len(said) - TOLD} more" if len(said) > TOLD else ""
    return f"{task.name} differs: {'; '.join(said[:TOLD])}{more}"


def leaks_into(row: Row, kept: Row) -> bool:
    """Whether a copy is in another split than the one that counts; one that has no split yet is in none."""
    return bool(row["split"] and kept["split"] and row["split"] != kept["split"])


def place(row: Row) -> str:
    """Where a file is, in words."""
    return f"in {row['split']} as {row['path']}" if row["split"] else str(row["path"])


def neighbours(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """The twins of each content that has any."""
    found: dict[int, list[int]] = {}
    for one, other in pairs:
        found.setdefault(one, []).append(other)
        found.setdefault(other, []).append(one)
    return found


def named_clusters(facts: Sequence[Facts], contents: Sequence[Sequence[int]], of: Sequence[int]) -> list[str | None]:
    """The cluster of each row as a digest. of: cluster of each content, a number."""
    members: dict[int, list[int]] = {}
    for rows, cluster in zip(contents, of, strict=True):
        members.setdefault(cluster, []).extend(rows)
    names: list[str | None] = [None] * len(facts)
    for rows in members.values():
        if len(rows) > 1:
            name = min(facts[row].sha256 for row in rows)
            for row in rows:
                names[row] = name
    return names


def leaks(rows: pd.DataFrame, facts: Sequence[Facts], clusters: Sequence[str | None]) -> list[dict[str, Any]]:
    """What every pair of splits shares, as the files lie: one entry a pair, also where it shares nothing.

    later, earlier: the splits. images: how many decodable ones the later has. exact: how many of them are also in the
    earlier, byte by byte. near: how many more show the same picture as one there.
    """
    usable = sorted(row for members in by_content(facts).values() for row in members)
    seen = pd.DataFrame({"split": list(rows["split"]), "sha256": [fact.sha256 for fact in facts],
                         "cluster": list(clusters)}, dtype=object).iloc[usable]
    present = [split for split in SPLITS if (seen["split"] == split).any()]
    found = []
    for earlier, later in combinations(present, 2):
        first, second = (seen[seen["split"] == split] for split in (earlier, later))
        exact = second["sha256"].isin(set(first["sha256"]))
        near = second["cluster"].isin(set(first["cluster"].dropna())) & ~exact
        found.append({"later": later, "earlier": earlier, "images": len(second), "exact": int(exact.sum()),
                      "near": int(near.sum())})
    return found
