"""What a user is told when a step cannot go on, and the exit code that says so to machines."""

import difflib
from collections.abc import Iterable
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of the program; a scheduler retries TRY_AGAIN and nothing else."""

    OK = 0
    USER = 1
    USAGE = 2
    INTERNAL = 70
    TRY_AGAIN = 75
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """Settings or data are wrong: one line of cause and one of remedy, exit code 1."""

    exit_code = Exit.USER

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


class Unfit(UserError):
    """The data are not as the settings demand, so nothing may be learnt from them: exit code 1."""


class UsageError(UserError):
    """The command line itself is wrong: exit code 2."""

    exit_code = Exit.USAGE


class TryAgain(UserError):
    """Nothing is wrong but the moment (a lock is held, a server is away): exit code 75."""

    exit_code = Exit.TRY_AGAIN


class Terminated(BaseException):
    """SIGTERM arrived: state is saved where a step keeps any, and the program ends with 143."""


def near(name: str, known: Iterable[str]) -> str:
    """` Did you mean ...?` where a known name is close.

    >>> near("sdg", ["adam", "sgd"])
    " Did you mean 'sgd'?"
    """
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def shown(value: Any) -> str:
    """A value as an error message shows it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
