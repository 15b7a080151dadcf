"""The tasks of a run, from the nodes of the workflow that Kubeflow makes of it.

A task `train` is a node of that name beside its driver `train-driver`; below it stand one node `executor`, or several,
`executor(0)`, `executor(1)`, where its pod was started again. An executor that was skipped under a task that succeeded
was found in the cache. Groups (loops, conditions) look the same but have tasks below them instead of executors.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

EXECUTOR = re.compile(r"executor(\(\d+\))?")
DRIVER = "-driver"
FAILED = ("FAILED", "ERROR", "CANCELED")


@dataclass(frozen=True)
class Task:
    """A task of a run. pods: in the order in which they were started; retries: pods after the first.

    waiting: since when its last pod has not started, None where it has.
    """

    name: str
    state: str
    started: datetime | None = None
    finished: datetime | None = None
    pods: tuple[str, ...] = ()
    retries: int = 0
    cached: bool = False
    error: str = ""
    waiting: datetime | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended without its outputs."""
        return self.state in FAILED


@dataclass(frozen=True)
class Node:
    """A node of the workflow. key: what children are known by, the last part of a pod's name or node's id."""

    key: str
    name: str
    state: str
    pod: str
    started: datetime | None
    finished: datetime | None
    children: tuple[str, ...]
    error: str


def tasks_of(details: Sequence[Any]) -> tuple[Task, ...]:
    """The tasks in V2beta1PipelineTaskDetail values, in the order of their start; equal names get numbers."""
    nodes = {node.key: node for node in map(node_of, details)}
    tasks = [task_of(node, nodes) for node in nodes.values() if is_task(node, nodes)]
    return tuple(numbered(sorted(tasks, key=lambda task: (task.started or LATEST, task.name))))


LATEST = datetime.max.replace(tzinfo=UTC)


def node_of(detail: Any) -> Node:
    """A node, of which the server leaves out what is empty."""
    pod = detail.pod_name or detail.task_id or detail.display_name or ""
    children = tuple(key_of(child.pod_name or child.task_id or "") for child in detail.child_tasks or [])
    return Node(key_of(pod), detail.display_name or "", detail.state or "", pod, moment(detail.start_time),
                moment(detail.end_time), children, detail.error.message or "" if detail.error else "")


def key_of(name: str) -> str:
    """What a pod's name and a node's id have in common: the hash at their end.

    >>> key_of("stillhouse-x7k2p-system-container-impl-123"), key_of("stillhouse-x7k2p-123")
    ('123', '123')
    """
    return name.rpartition("-")[2]


def moment(time: datetime | None) -> datetime | None:
    """A time, None where the server writes the beginning of 1970 (or of the calendar) for none."""
    return time if time and time.year > 1970 else None


def is_task(node: Node, nodes: dict[str, Node]) -> bool:
    """Whether a node is what the pipeline calls a task, rather than a driver, an executor or a group."""
    if EXECUTOR.fullmatch(node.name) or node.name.endswith(DRIVER):
        return False
    if any(True for _ in executors(node, nodes)):
        return True
    names = {other.name for other in nodes.values()}
    groups = {nodes[child].name for child in node.children if child in nodes}
    return f"{node.name}{DRIVER}" in names and not groups and node.name != "root"


def executors(node: Node, nodes: dict[str, Node]) -> Iterator[Node]:
    """The executors right below a node: those of retries instead of the one that stands for them all."""
    for child in (nodes[key] for key in node.children if key in nodes):
        if EXECUTOR.fullmatch(child.name):
            below = [nodes[key] for key in child.children if key in nodes and EXECUTOR.fullmatch(nodes[key].name)]
            yield from below or [child]


def task_of(node: Node, nodes: dict[str, Node]) -> Task:
    """A task from its node and executors."""
    pods = sorted(executors(node, nodes), key=lambda pod: (pod.started or LATEST, pod.name))
    cached = node.state == "SUCCEEDED" and bool(pods) and all(pod.state == "SKIPPED" for pod in pods)
    real = [pod for pod in pods if pod.state != "SKIPPED"]
    state = "PENDING" if node.state == "RUNNING" and real and real[-1].state == "PENDING" else node.state
    error = next((one.error for one in [node, *reversed(real)] if one.error), "")
    waiting = real[-1].started if state == "PENDING" and real else None
    return Task(node.name, state, node.started, node.finished, tuple(pod.pod for pod in real),
                max(len(real) - 1, 0), cached, error, waiting)


def numbered(tasks: list[Task]) -> Iterator[Task]:
    """The tasks, those of one name (a loop's) numbered in the order of their start: `train-1`, `train-2`."""
    names = [task.name for task in tasks]
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task.name] = counts.get(task.name, 0) + 1
        yield replace(task, name=f"{task.name}-{counts[task.name]}") if names.count(task.name) > 1 else task
