"""Doing something again while it says to: bounded in tries and time, with growing and uneven pauses between."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

from components.errors import Exit, Terminated, UserError
from components.signals import on_sigterm

TRIES, WAIT, SECONDS = "STILLHOUSE_TRIES", "STILLHOUSE_TRY_WAIT", "STILLHOUSE_TRY_SECONDS"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How often something is tried, how long the first pause is (it doubles), and for how long in all.

    wait and seconds: in seconds; no try begins later than `seconds` after the first.
    """

    tries: int = 1
    wait: float = 5.0
    seconds: float = 1800.0

    def pause(self, number: int) -> float:
        """Seconds between a try, counted from 1, and the next: doubled each time, and up to a half more or less.

        Tasks that fail together because one server is away must not come back together.
        """
        return self.wait * 2.0 ** min(number - 1, 30) * SystemRandom().uniform(0.5, 1.5)


def patience_of(environment: Mapping[str, str] = os.environ) -> Patience:
    """The patience that the environment asks for; UserError for what is no number.

    >>> patience_of({"STILLHOUSE_TRIES": "3", "STILLHOUSE_TRY_WAIT": "0.5"})
    Patience(tries=3, wait=0.5, seconds=1800.0)
    """
    given = Patience()
    return Patience(max(1, int(number(environment, TRIES, given.tries))), number(environment, WAIT, given.wait),
                    number(environment, SECONDS, given.seconds))


def number(environment: Mapping[str, str], name: str, default: float) -> float:
    """A number from the environment."""
    text = environment.get(name, "")
    try:
        return float(text) if text else default
    except ValueError:
        raise UserError(f"{name} is {text}; expected a number", "see retries in docs/kubeflow.md") from None


def insist(work: Callable[[], Result], patience: Patience) -> Result:
    """Do some work, and again as long as it says to try again (exit code 75); every pause is told on stderr.

    Whatever else it raises ends it at once, and so does SIGTERM, also within a pause (Terminated).
    """
    end = time.monotonic() + patience.seconds
    with on_sigterm(terminate):
        for number in range(1, patience.tries + 1):
            try:
                return work()
            except UserError as error:
                pause = patience.pause(number)
                if error.exit_code != Exit.TRY_AGAIN or number == patience.tries or time.monotonic() + pause > end:
                    raise
                print(f"stillhouse: {error.cause}\n  try {number} of {patience.tries}; the next in {pause:.1f} s",
                      file=sys.stderr, flush=True)
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def terminate() -> None:
    """End what is going on."""
    raise Terminated
