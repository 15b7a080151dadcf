"""Progress passes everything on, and is quiet, chatty or a bar as the place demands."""

import sys

import pytest

from components import progress as module
from components.progress import progress


def test_everything_passes_and_short_loops_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter(range(9)), 9, "work")) == list(range(9))
    assert capfd.readouterr() == ("", "")


def test_long_loops_say_a_line_now_and_then(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert list(progress("abcdefg", 7, "work")) == list("abcdefg")
    assert capfd.readouterr().err.splitlines() == ["work: 3 of 7, 0/s", "work: 6 of 7, 0/s"]


def test_a_terminal_gets_a_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress("abc", 3, "work")) == list("abc")
    assert "work" in capfd.readouterr().err
