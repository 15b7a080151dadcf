"""The program itself, as a person or a scheduler meets it."""

import errno
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from small_steps import BREW

from components import cli, contract
from components.contract import STEPS, load_step
from components.errors import Exit, Terminated, TryAgain, UsageError, UserError

PROGRAM = [sys.executable, "-m", "components"]
HEAVY = ("torch", "mlflow", "kfp", "timm", "pandas", "numpy", "matplotlib", "sklearn", "boto3", "dvc")


def run(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=60)


def test_help_names_every_step_and_command() -> None:
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    assert all(f"\n  {name} " in done.stdout for name in [*STEPS, *cli.COMMANDS])


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = ("import sys; from components.cli import main; main(['--help']); "
            f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == "[]\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # of the CPU; 0.2 s is usual


@pytest.mark.parametrize("name", STEPS)
def test_options_of_a_step_come_from_its_signature(name: str) -> None:
    step = load_step(name)
    text = cli.step_parser(step).format_help()
    assert all(f"--{port} PATH" in text for port in step.ports) and (step.function.__doc__ or "").split()[0] in text


def test_no_step_loads_torch_before_it_runs() -> None:
    code = ("import sys; from components.contract import STEPS, load_step; [load_step(name) for name in STEPS]; "
            "print([name for name in ('torch', 'mlflow', 'kfp', 'timm') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["tarin"], 2, "tarin is not a step. Did you mean 'train'?"),
    (["index"], 2, "the following arguments are required: --manifest, --dataset, --metrics"),
    (["train", "teachers.a", "--dataset"], 2, "expected one argument"),
    (["trace", "nowhere"], 1, "nowhere"),
    (["export", "--params", "nowhere.yaml", "--dataset", "a", "--model", "b", "--evaluation", "c", "--exported", "d",
      "--metrics", "e"], 1, "nowhere.yaml cannot be read"),
    (["index", "--manifest", "a", "--dataset", "b", "--metrics", "c"], 1, "does not exist; expected the"),
    (["train", "studnet", "--dataset", "a", "--model", "b", "--metrics", "c", "--curves", "d"], 1,
     "studnet is not a section; expected one of compare, data, "),
    (["train", "index", "--dataset", "a", "--model", "b", "--metrics", "c", "--curves", "d"], 2,
     "train cannot read section index"),
])
def test_mistakes_get_one_line_of_cause_and_one_of_remedy(
        tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    done = run(*arguments, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == code and said in lines[0] and lines[0].startswith("stillhouse: ")
    assert len(lines) == 2 and lines[1].startswith("  remedy: ") and not done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(("error", "code"), [
    (UserError("cause", "remedy"), 1),
    (UsageError("cause", "remedy"), 2),
    (TryAgain("cause", "remedy"), 75),
    (Terminated(), 143),
    (KeyboardInterrupt(), 130),
    (OSError(errno.ENOSPC, "No space left on device", "data/x"), 1),
    (PermissionError(errno.EACCES, "Permission denied", "data/x"), 1),
    (OSError(errno.EIO, "Input/output error"), 70),
    (ZeroDivisionError("division by zero"), 70),
])
def test_every_kind_of_failure_has_its_exit_code(
        error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise error

    assert cli.guarded(work) == code
    assert capsys.readouterr().err.count("\n") == 2


def test_exit_codes_are_those_that_schedulers_are_told() -> None:
    assert {member.name: member.value for member in Exit} == {
        "OK": 0, "USER": 1, "USAGE": 2, "INTERNAL": 70, "TRY_AGAIN": 75, "INTERRUPTED": 130, "TERMINATED": 143}


def test_facts_are_printed_as_json_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.setattr(contract, "load_step", lambda name: load_step("sample"))
    monkeypatch.setattr(contract, "run_step", lambda step, settings, section, paths: {"section": section})
    assert cli.main(["sample", "--data", "raw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"section": "sample"}
    assert BREW.sections() == "brew"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {' '.join(PROGRAM)} --help | head -n 1"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr
