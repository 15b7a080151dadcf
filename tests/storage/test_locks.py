"""Locks hold between processes, whatever their ids, and die with their holder."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.errors import TryAgain
from components.storage.locks import lock_path, locked

HOLD = "import sys, time; from pathlib import Path; from components.storage.locks import locked\n" \
       "with locked([Path(sys.argv[1])]): print('held', flush=True); time.sleep(60)"


def hold(path: Path, *before: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([*before, sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_another_process_is_turned_away_at_once_until_the_holder_is_killed(tmp_path: Path) -> None:
    holder = hold(tmp_path / "data")
    started = time.monotonic()
    with pytest.raises(TryAgain, match=f"process {holder.pid}") as caught, locked([tmp_path / "data"]):
        pass
    assert time.monotonic() - started < 1 and "wait" in caught.value.remedy
    end(holder)
    with locked([tmp_path / "data"]):
        pass


def test_process_ids_decide_nothing(tmp_path: Path) -> None:
    """Two containers that share a volume are both process 1."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to make process namespaces")
    holder = hold(tmp_path / "data", *apart)
    again = [*apart, sys.executable, "-c", HOLD, str(tmp_path / "data")]
    second = subprocess.run(again, check=False, capture_output=True, text=True)
    assert second.returncode == 1 and "TryAgain" in second.stderr
    end(holder)


def test_a_name_left_in_a_lock_file_holds_nothing(tmp_path: Path) -> None:
    lock_path(tmp_path / "data").write_text("somebody long gone, process 1\n" * 20)
    with locked([tmp_path / "data"]):
        assert lock_path(tmp_path / "data").read_text().count("\n") == 1
