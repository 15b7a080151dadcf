"""How a process is set up and ends."""

import subprocess
import sys

from imports import ROOT

ENDING = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() >= 1000))
from components.process import prepare
prepare()
print(gc.get_freeze_count(), gc.isenabled())
"""


def test_what_is_left_at_the_end_is_not_searched_for_garbage_and_nothing_is_withheld_before() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "True"]
