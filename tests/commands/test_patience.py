"""Trying again: how often, how long, what is told, and what ends it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from imports import ROOT

from components.commands.patience import Patience, insist, patience_of
from components.errors import TryAgain, UserError


class Moody:
    """Something that says to try again so many times, then answers."""

    def __init__(self, moods: int, error: type[UserError] = TryAgain) -> None:
        self.left, self.calls, self.error = moods, 0, error

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error("the server is away", "wait")
        return "done"


def test_what_comes_right_in_time_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert insist(Moody(3), Patience(4, 0.001)) == "done"
    said = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in said[1::2]] == [f"  try {n} of 4" for n in (1, 2, 3)]
    assert set(said[::2]) == {"stillhouse: the server is away"}


def test_the_last_try_raises_what_it_found() -> None:
    moody = Moody(9)
    with pytest.raises(TryAgain, match="the server is away"):
        insist(moody, Patience(3, 0.001))
    assert moody.calls == 3


def test_an_error_of_the_user_s_is_tried_once(capsys: pytest.CaptureFixture[str]) -> None:
    moody = Moody(1, UserError)
    with pytest.raises(UserError):
        insist(moody, Patience(5, 0.001))
    assert moody.calls == 1 and not capsys.readouterr().err


def test_no_try_begins_after_the_time_is_up() -> None:
    moody = Moody(9)
    with pytest.raises(TryAgain):
        insist(moody, Patience(9, 60.0, seconds=5.0))
    assert moody.calls == 1


def test_pauses_double_and_differ_from_one_another() -> None:
    patience = Patience(9, 10.0)
    for number in (1, 2, 3, 4):
        pauses = [patience.pause(number) for _ in range(50)]
        middle = 10.0 * 2 ** (number - 1)
        assert 0.5 * middle <= min(pauses) < max(pauses) <= 1.5 * middle
        assert len(set(pauses)) > 40
    assert patience.pause(10_000) < 1.5 * 10.0 * 2**30, "no overflow"


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match="STILLHOUSE_TRIES is many; expected a number"):
        patience_of({"STILLHOUSE_TRIES": "many"})
    assert patience_of({"STILLHOUSE_TRIES": "0"}).tries == 1


def test_sigterm_ends_a_pause() -> None:
    program = ("from components.commands.patience import Patience, insist\n"
               "from components.errors import Terminated, TryAgain\n"
               "def work(): raise TryAgain('away', 'wait')\n"
               "try: insist(work, Patience(9, 100.0, 1000.0))\n"
               "except Terminated: raise SystemExit(143)\n")
    running = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert running.stderr is not None
    assert "away" in running.stderr.readline()
    assert "try 1 of 9" in running.stderr.readline()
    started = time.monotonic()
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=30) == 143
    assert time.monotonic() - started < 25
    running.stderr.close()
