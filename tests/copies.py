"""A tiny copy of the project, in which the whole pipeline takes a minute."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imports import ROOT

COPIED = ("components", "pipeline", "stillhouse", "registry", "infra", "dvc.yaml", ".dvcignore", ".gitignore")

TINY = """\
seed: 3
data: {path: data/raw, root: "", layout: auto, variant: "", tasks: {}, columns: {}, unlabelled: "",
       default_task: label}
sample:
  count: 120
  size: 40
  pictures: 3
  faults: {truncated: 1, empty: 1, mislabelled: 1, duplicated: 1, wrong_extension: 1}
validate: {policy: quarantine}
index: {size: [32, 32]}
teachers:
  deep: {model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [8, 8, 16, 16]}}, epochs: 6, sizes: [24, 32]}
  broad: {model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [16, 16, 16, 16]}}, epochs: 2, sizes: [32]}
student:
  model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 16]}}
  epochs: 2
  sizes: [32]
  augment: {flip: 0.5}
teach: {views: 12}
distill: {temperature: 3.0, teachers: {force: true}}
evaluate: {splits: [val, test]}
compare: {metric: accuracy}
export: {opset: 20}
runtime: {threads: 1, tracking: false, checkpoint_seconds: 0.0}
"""


@dataclass(frozen=True)
class Project:
    """A copy of the project with its own git, DVC and settings."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        ours = ("DVC_", "GIT_", "STILLHOUSE_", "MLFLOW_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return inherited | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(self.path),
                            "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}

    def run(self, *command: str) -> str:
        """Run a command here to its end and return what it printed."""
        done = subprocess.run(command, cwd=self.path, env=self.environment, text=True, timeout=500,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def repro(self) -> list[str]:
        """Bring everything up to date and return the stages that ran."""
        lines = self.run("dvc", "repro").splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command here and leave it running."""
        return subprocess.Popen(command, cwd=self.path, env=self.environment, start_new_session=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def change(self, before: str, after: str) -> None:
        """Edit params.yaml."""
        file = self.path / "params.yaml"
        text = file.read_text()
        assert text.count(before) == 1
        file.write_text(text.replace(before, after))

    def receipts(self) -> dict[str, bytes]:
        """The receipt of every artifact: it holds the digests of all files, inputs and settings."""
        found = [file for top in ("data", "models", "exported") for file in (self.path / top).rglob("receipt.json")]
        return {file.relative_to(self.path).parent.as_posix(): file.read_bytes() for file in found}

    def processes(self, *words: str) -> list[int]:
        """The processes that work in this copy and have all the words in their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == self.path:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if line and all(word in line for word in words):
                        found.append(int(entry.name))
            except OSError:  # ended meanwhile
                continue
        return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Look often until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.002)


def kill(process: int) -> None:
    """End a process that these tests started, without a chance to tidy up."""
    os.kill(process, signal.SIGKILL)


def make_project(path: Path, origin: Path = ROOT) -> Project:
    """A new copy, of this project or of another copy's code, with a commit of everything that git sees."""
    for name in COPIED:
        source = origin / name
        if source.is_dir():
            shutil.copytree(source, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            path.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path / name)
    (path / ".dvc").mkdir()
    shutil.copy(origin / ".dvc/config", path / ".dvc/config")
    (path / "params.yaml").write_text(TINY)
    project = Project(path.resolve())
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    project.run("git", "init", "-q")
    project.run("git", "add", ".")
    project.run("git", *identity, "commit", "-q", "-m", "a tiny copy")
    return project
