"""Work spread over processes: in order, with errors told, and nobody left behind when the parent is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import alive, until

from components.data.pool import ordered, processes
from components.errors import TryAgain, UserError


def square(number: int) -> int:
    return number * number


def refuse_seven(number: int) -> int:
    if number == 7:
        raise UserError("seven", "take eight")
    return number


def die_at_seven(number: int) -> int:
    if number == 7:
        os._exit(1)
    return number


def test_results_come_in_the_order_of_the_items_for_any_number_of_processes() -> None:
    items = list(range(200))
    assert list(ordered(square, items, 1)) == list(ordered(square, items, 3, chunk=7)) == [i * i for i in items]


def test_an_error_of_a_worker_is_told_with_its_remedy() -> None:
    with pytest.raises(UserError, match="seven") as caught:
        list(ordered(refuse_seven, list(range(100)), 2))
    assert caught.value.remedy == "take eight"


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(TryAgain, match="died"):
        list(ordered(die_at_seven, list(range(100)), 2))


def test_a_number_of_processes_is_taken_and_zero_means_all() -> None:
    assert processes(3) == 3
    assert 1 <= processes(0) <= (os.cpu_count() or 1)


PARENT = """
import os, sys, time
from pathlib import Path
from components.data.pool import ordered

def wait(number):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(0.2)

if __name__ == "__main__":
    list(ordered(wait, range(10_000), 2, chunk=1))
"""


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program, seen = tmp_path / "parent.py", tmp_path / "seen"
    program.write_text(PARENT)
    seen.mkdir()
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    parent = subprocess.Popen([sys.executable, str(program), str(seen)], cwd=tmp_path, env=environment)
    until(lambda: len(list(seen.iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    workers = [int(path.name) for path in seen.iterdir()]
    until(lambda: not any(alive(worker) for worker in workers))
