"""Work that dies at a chosen call which changes a disk."""

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from components.storage import atomic

CHANGES = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir")


def crash_at(at: int, work: Callable[[], object], calls: Sequence[str] = CHANGES) -> int:
    """Do some work in a child process that dies at its given call among those of `os`, or of a copy; its exit code."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                os._exit(137)
            return call(*arguments, **options)
        return wrapper

    for name in calls:
        setattr(os, name, counted(getattr(os, name)))
    shutil.copyfile = counted(shutil.copyfile)
    atomic._exchange = counted(atomic._exchange)
    work()
    os._exit(0)
