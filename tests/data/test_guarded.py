"""Items that crash, hang, devour memory or write harm themselves only, in real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from guard_tricks import Poison, trick
from processes import alive, until

from components.data.guard_worker import Limits
from components.data.guarded import Failure, guarded
from components.errors import TryAgain

QUICK = Limits(seconds=0.7, memory_mb=128)
ROOT = Path(__file__).resolve().parents[2]


def tried(items: list[str], count: int = 2, limits: Limits = QUICK, chunk: int = 8) -> list[str | Failure]:
    return list(guarded(trick, items, count, limits, chunk))


def words(count: int) -> list[str]:
    return [f"word {number}" for number in range(count)]


@pytest.mark.parametrize(("count", "chunk"), [(1, 1), (1, 32), (3, 7)])
def test_results_come_in_order_for_any_number_of_processes_and_any_chunk(count: int, chunk: int) -> None:
    assert tried(words(100), count, chunk=chunk) == [word.upper() for word in words(100)]


def test_nothing_to_do_starts_nothing() -> None:
    assert tried([]) == []


def test_of_a_batch_only_the_guilty_item_is_blamed() -> None:
    items = words(40)
    items[3], items[4], items[20], items[39] = "die", "leave", "hang", "spin"
    found = tried(items, chunk=16)
    killed, left = "ended the process that decoded it: SIGKILL", "ended the process that decoded it: exit code 3"
    late = Failure("timeout", "took more than 0.7 s")
    expected: list[str | Failure] = [item.upper() for item in items]
    expected[3], expected[4] = Failure("crash", killed), Failure("crash", left)
    expected[20] = expected[39] = late
    assert found == expected


def test_an_item_whose_process_was_killed_from_outside_is_not_blamed(tmp_path: Path) -> None:
    once = f"once:{tmp_path / 'tried'}"
    assert tried([*words(5), once, *words(5)]) == [*map(str.upper, [*words(5), once, *words(5)])]


def test_memory_beyond_the_limit_is_refused_and_below_it_given() -> None:
    assert tried(["eat:100", "eat:200", "after"], 1, Limits(5, 128)) == ["100", "no memory", "AFTER"]
    assert tried(["eat:200"], 1, Limits(5, 300)) == ["200"]


def test_nothing_can_be_written(tmp_path: Path) -> None:
    assert tried([f"write:{tmp_path / 'x'}"]) == ["File too large"]
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size == 0


def test_an_exception_is_raised_where_the_work_was_asked_for() -> None:
    with pytest.raises(LookupError, match="seven"):
        tried([*words(20), "raise:seven", *words(20)])


def test_workers_that_end_before_they_do_anything_are_told() -> None:
    with pytest.raises(TryAgain, match=r"end before they do anything: .* exit code 5"):
        list(guarded(repr, [Poison()], 1, QUICK))


def test_many_quick_items_in_messages_of_one_are_no_delay() -> None:
    assert len(tried(words(4000), 1, Limits(0.3, 128), chunk=1)) == 4000


def test_whoever_stops_listening_stops_the_work(tmp_path: Path) -> None:
    results = guarded(trick, [f"pid:{tmp_path}"] * 1000, 2, QUICK, 1)
    next(results)
    results.close()  # type: ignore[attr-defined]
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert workers
    until(lambda: not any(alive(worker) for worker in workers))


PARENT = """
import signal
import sys
from components.data.guarded import guarded
from components.data.guard_worker import Limits
from guard_tricks import Poison, trick

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who is started in the background ignores it
    list(guarded(trick, [f"pid:{sys.argv[1]}"] * 10_000, 2, Limits(), 1))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    program, seen = tmp_path / "parent.py", tmp_path / "seen"
    program.write_text(PARENT)
    seen.mkdir()
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'data'}"}
    parent = subprocess.Popen([sys.executable, str(program), str(seen)], cwd=tmp_path, env=environment,
                              stderr=subprocess.DEVNULL)
    until(lambda: len(list(seen.iterdir())) == 2)
    parent.send_signal(number)
    parent.wait(timeout=20)
    workers = [int(path.name) for path in seen.iterdir()]
    until(lambda: not any(alive(worker) for worker in workers))
