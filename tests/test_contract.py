"""Steps are run small, in this process and in real ones that are really killed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import CHANGES, crash_at
from small_steps import BREW, STILL, Brew, paths, run_brew

from components.contract import run_step
from components.errors import TryAgain, UsageError, UserError
from components.storage import receipts
from components.storage.locks import locked

PROGRAM = [sys.executable, str(Path(__file__).with_name("small_steps.py"))]


def environment(mood: str = "", **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "BREW"))}
    return kept | {"BREW": mood} | more


def start(folder: Path, mood: str = "", *options: str) -> "subprocess.Popen[str]":
    paths(folder)
    return subprocess.Popen([*PROGRAM, *options], cwd=folder, env=environment(mood), stderr=subprocess.PIPE, text=True)


def brewed(folder: Path, mood: str = "", *options: str) -> tuple[int, str]:
    process = start(folder, mood, *options)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def wait_for(path: Path, seconds: float = 20) -> str:
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
    return path.read_text()


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.name.endswith((".partial", ".replaced"))]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BREW", raising=False)
    yield


def test_a_receipt_names_every_file_input_and_setting_and_nothing_of_this_run(tmp_path: Path) -> None:
    facts = run_brew(tmp_path, Brew(strength=3))
    wash = tmp_path / "data" / "wash"
    content = (wash / "receipt.json").read_text()
    receipt = json.loads(content)
    assert receipt["files"] == {name: hashlib.sha256((wash / name).read_bytes()).hexdigest()
                                for name in ("part.bin", "wash.json")}
    assert (receipt["step"], receipt["section"], receipt["settings"]) == ("brew", "brew", {"strength": 3, "washes": []})
    assert facts["outputs"]["wash"] == hashlib.sha256(content.encode()).hexdigest()
    assert receipt["inputs"] == facts["inputs"] == receipt["roots"]
    assert str(tmp_path) not in content and facts["host"] not in content and facts["started"] not in content


def test_equal_inputs_and_settings_give_equal_bytes(tmp_path: Path) -> None:
    one, two = run_brew(tmp_path / "one"), run_brew(tmp_path / "two")
    assert one["outputs"] == two["outputs"] and one["key"] == two["key"]
    contents = [(tmp_path / name / "data" / "wash" / "receipt.json").read_bytes() for name in ("one", "two")]
    assert contents[0] == contents[1]


def test_facts_stand_in_run_json_under_the_digest_of_the_outputs(tmp_path: Path) -> None:
    facts = run_brew(tmp_path)
    run_brew(tmp_path, Brew(strength=2))
    known = json.loads((tmp_path / "reports" / "brew" / "run.json").read_text())
    assert [entry["settings"]["strength"] for entry in known.values()] == [1, 2]
    first = next(iter(known.values()))
    assert first["outputs"] == facts["outputs"] and first["litres_per_second"] == 2.5
    assert first["paths"]["wash"].endswith("data/wash")


def test_digests_chain_from_an_artifact_to_the_folder_at_the_far_end(tmp_path: Path) -> None:
    wash = run_brew(tmp_path)["outputs"]["wash"]
    (tmp_path / "washes").mkdir()
    shutil.move(tmp_path / "data" / "wash", tmp_path / "washes" / "ale")
    run_step(STILL, Brew(washes=("ale",)), "still", {"washes": tmp_path / "washes", "spirit": tmp_path / "spirit"})
    receipt = receipts.read(tmp_path / "spirit")
    assert receipt.inputs == {"washes/ale": wash}
    assert receipt.roots == receipts.read(tmp_path / "washes" / "ale").roots


@pytest.mark.parametrize("name", ["part.bin", "wash.json", "receipt.json"])
def test_an_input_with_one_flipped_bit_is_refused_by_name(tmp_path: Path, name: str) -> None:
    run_brew(tmp_path)
    (tmp_path / "washes").mkdir()
    shutil.move(tmp_path / "data" / "wash", tmp_path / "washes" / "ale")
    file = tmp_path / "washes" / "ale" / name
    content = bytearray(file.read_bytes())
    if name == "receipt.json":
        content[content.index(b'"wash.json": "') + 20] ^= 1
    else:
        content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"ale: .* was changed") as caught:
        run_step(STILL, Brew(washes=("ale",)), "still", {"washes": tmp_path / "washes", "spirit": tmp_path / "spirit"})
    assert "dvc" in caught.value.remedy
    assert not (tmp_path / "spirit").exists()


def test_a_collected_artifact_that_is_missing_is_refused_and_a_surplus_one_left_out(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_brew(tmp_path)
    washes = tmp_path / "washes"
    washes.mkdir()
    for name in ("ale", "wine", "gone"):
        shutil.copytree(tmp_path / "data" / "wash", washes / name)
    given = {"washes": washes, "spirit": tmp_path / "spirit"}
    run_step(STILL, Brew(washes=("wine", "ale")), "still", given)
    assert json.loads((tmp_path / "spirit" / "spirit.json").read_text())["of"] == ["wine", "ale"]
    assert "gone is not listed in params.yaml and is left out" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no lager"):
        run_step(STILL, Brew(washes=("wine", "lager")), "still", given)
    with pytest.raises(UserError, match="names no"):
        run_step(STILL, Brew(), "still", given)


@pytest.mark.parametrize("wash", ["sugar", "sugar/wash", "."])
def test_overlapping_paths_are_refused(tmp_path: Path, wash: str) -> None:
    with pytest.raises(UsageError, match="overlap"):
        run_step(BREW, Brew(), "brew", paths(tmp_path) | {"wash": tmp_path / wash})
    assert (tmp_path / "sugar" / "cane.txt").read_text() == "sweet"


def test_a_link_does_not_hide_an_overlap(tmp_path: Path) -> None:
    given = paths(tmp_path)
    (tmp_path / "link").symlink_to(given["sugar"])
    with pytest.raises(UsageError, match="overlap"):
        run_step(BREW, Brew(), "brew", given | {"wash": tmp_path / "link"})


def test_an_input_that_changes_while_it_is_read_fails_the_step_and_leaves_the_old_output(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_brew(tmp_path)["outputs"]["wash"]
    monkeypatch.setenv("BREW", "tamper")
    with pytest.raises(UserError, match=r"sugar .* was changed while the step was reading it"):
        run_brew(tmp_path, Brew(strength=2))
    assert receipts.verify(tmp_path / "data" / "wash") == before and not leftovers(tmp_path)


def test_a_touched_input_with_the_same_content_is_no_change(tmp_path: Path) -> None:
    def touching(settings: Brew, /, *, sugar: Path, wash: Path, metrics: Path) -> None:
        os.utime(sugar / "cane.txt", (1, 1))
        BREW.function(settings, sugar=sugar, wash=wash, metrics=metrics)

    run_brew(tmp_path, step=type(BREW)("brew", touching, Brew, BREW.ports))
    receipts.verify(tmp_path / "data" / "wash")


@pytest.mark.parametrize(("mood", "code", "said"), [
    ("", 0, ""),
    ("fail", 1, "stillhouse: the wash boiled over\n  remedy: cool it\n"),
    ("forget", 70, "brew wrote no metrics"),
])
def test_a_step_that_fails_leaves_nothing_and_says_so_by_its_exit_code(
        tmp_path: Path, mood: str, code: int, said: str) -> None:
    returned, errors = brewed(tmp_path, mood)
    assert returned == code and said in errors and "Traceback" not in errors
    assert (tmp_path / "data" / "wash").exists() == (code == 0)
    assert not leftovers(tmp_path)


def test_a_traceback_is_shown_on_request_only(tmp_path: Path) -> None:
    assert "Traceback" in brewed(tmp_path, "forget", "--debug")[1]


def test_a_second_writer_is_turned_away_at_once(tmp_path: Path) -> None:
    first = start(tmp_path, "hang")
    wait_for(tmp_path / "hanging")
    started = time.monotonic()
    code, errors = brewed(tmp_path)
    assert code == 75 and f"process {first.pid}" in errors and time.monotonic() - started < 5
    first.kill()
    first.communicate()


def test_locks_are_all_held_or_none(tmp_path: Path) -> None:
    with locked([tmp_path / "b"]), pytest.raises(TryAgain), locked([tmp_path / "a", tmp_path / "b"]):
        raise AssertionError
    with locked([tmp_path / "a", tmp_path / "b"]):
        pass


def test_what_a_killed_step_left_is_cleaned_by_the_next(tmp_path: Path) -> None:
    process = start(tmp_path, "hang")
    wait_for(tmp_path / "hanging")
    process.kill()
    process.communicate()
    assert leftovers(tmp_path) and not (tmp_path / "data" / "wash").exists()
    assert brewed(tmp_path)[0] == 0
    receipts.verify(tmp_path / "data" / "wash")
    assert not leftovers(tmp_path)


def test_sigterm_ends_a_step_with_143_and_the_next_goes_on_where_it_stopped(tmp_path: Path) -> None:
    process = start(tmp_path, "resume")
    assert wait_for(tmp_path / "began") == "0"
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 143 and "terminated" in errors and not leftovers(tmp_path)
    kept = list((tmp_path / ".stillhouse" / "work").iterdir())
    assert len(kept) == 1 and 0 < (count := int((kept[0] / "count").read_text())) < 200
    assert brewed(tmp_path, "resume")[0] == 0
    assert (tmp_path / "began").read_text() == str(count)
    assert not list((tmp_path / ".stillhouse" / "work").iterdir())


def test_other_settings_do_not_find_the_work_of_an_interrupted_step(tmp_path: Path) -> None:
    strengths = {"a": 1, "b": 2, "c": 2}
    keys = [run_brew(tmp_path / name, Brew(strength=strength))["key"] for name, strength in strengths.items()]
    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("form", ["{}", "{}; true", "true && {} | cat"])
def test_a_step_dies_with_the_dvc_that_started_it(tmp_path: Path, shell: str, form: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    paths(tmp_path)
    command = form.format(" ".join(PROGRAM))
    starter = ("import subprocess, sys, os; subprocess.run(sys.argv[1], shell=True, executable=sys.argv[2], "
               "env=os.environ | {'DVC_STAGE': 'brew'})")
    dvc = subprocess.Popen([sys.executable, "-c", starter, command, shutil.which(shell) or shell], cwd=tmp_path,
                           env=environment("hang"))
    step = int(wait_for(tmp_path / "hanging"))
    assert alive(step)
    dvc.kill()
    dvc.wait()
    deadline = time.monotonic() + 2
    while alive(step) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(step)


def test_a_full_disk_fails_the_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False, capture_output=True).returncode == 0
    try:
        if mounted:
            code, errors = brewed(disk, "grow")
        else:
            paths(disk)
            run = ["bash", "-c", f"trap '' XFSZ; ulimit -f 1024; {' '.join(PROGRAM)}"]
            done = subprocess.run(run, cwd=disk, env=environment("grow"), capture_output=True, text=True, check=False)
            code, errors = done.returncode, done.stderr
        assert code == 1 and ("No space left" in errors or "too large" in errors) and "remedy: " in errors
        assert not leftovers(disk) and not (disk / "data" / "wash").exists()
        assert brewed(disk)[0] == 0
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=False)


def test_a_crash_at_any_call_leaves_the_old_artifact_or_the_new_one(tmp_path: Path) -> None:
    root, start, new = tmp_path / "root", tmp_path / "start", run_brew(tmp_path / "new", Brew(strength=2))
    old = run_brew(start)
    seen: list[str] = []
    for at in range(1, 400):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(start, root)
        code = crash_at(at, lambda: run_brew(root, Brew(strength=2)), (*CHANGES, "open", "scandir"))
        seen.append(receipts.verify(root / "data" / "wash"))
        assert code in (0, 137) and seen[-1] in (old["outputs"]["wash"], new["outputs"]["wash"])
        assert run_brew(root, Brew(strength=2))["outputs"] == new["outputs"] and not leftovers(root)
        if code == 0:
            break
    assert code == 0 and seen[0] != seen[-1] and len(seen) > 20
