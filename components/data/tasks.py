"""What a task is, everywhere after `index`: a name, a kind and ordered class names."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Task:
    """One question asked of every image.

    kind: `single` has one true label (class index, -1 = not labelled); `multi` has several (null = not labelled).
    """

    name: str
    kind: Literal["single", "multi"]
    classes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The form in which the heads of artifacts hold a task."""
        return {"name": self.name, "kind": self.kind, "classes": list(self.classes)}


def read_tasks(values: Iterable[dict[str, Any]]) -> tuple[Task, ...]:
    """Tasks from the head of an artifact."""
    return tuple(Task(value["name"], value["kind"], tuple(value["classes"])) for value in values)
