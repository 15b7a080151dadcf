"""Wheels of this tree, and fresh environments that hold one and see the libraries of this one, but not this tree."""

import os
import shutil
import site
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from imports import ROOT

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
EPOCH = "1700000000"


def source_files() -> list[str]:
    """The files of this working copy that git does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git working copy: which files belong to it is not known")
    asked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                           check=True)
    return [name for name in asked.stdout.splitlines() if (ROOT / name).is_file()]


def copy_source(target: Path) -> Path:
    """The working copy as git sees it, elsewhere."""
    for name in source_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)
    return target


def build(source: Path, output: Path, kind: str = "wheel") -> Path:
    """A distribution built by the project's own build system, without a network; kind: wheel, sdist or editable."""
    output.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, f"build_{kind}", str(output)], cwd=source, text=True,
                          env=clean() | {"SOURCE_DATE_EPOCH": EPOCH}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return output / done.stdout.splitlines()[-1]


def clean() -> dict[str, str]:
    """The surroundings of a process that is to know nothing of this working copy."""
    ours = ("DVC_", "GIT_", "STILLHOUSE_", "MLFLOW_", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {"DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Installed:
    """An environment of its own with Stillhouse from a wheel."""

    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def install(self, wheel: Path) -> None:
        """Put a wheel in the place of what is there."""
        shared = self.packages / "shared.pth"
        shared.unlink(missing_ok=True)  # pip is not to see what lies there
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--no-index", "--no-deps"]
        subprocess.run([*pip, "--force-reinstall", wheel], check=True, env=clean(), capture_output=True)
        shared.write_text("".join(f"{folder}\n" for folder in dict.fromkeys(site.getsitepackages())))

    @property
    def packages(self) -> Path:
        scheme = {"base": str(self.path), "platbase": str(self.path)}
        return Path(sysconfig.get_path("purelib", vars=scheme))

    def environment(self) -> dict[str, str]:
        """Its programs first, then those of this one (dvc)."""
        programs = [str(self.path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return clean() | {"PATH": os.pathsep.join(programs)}

    def run(self, *command: str | Path, cwd: Path, code: int = 0) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(list(map(str, command)), cwd=cwd, env=self.environment(), text=True, timeout=900,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == code, done.stdout[-4000:]
        return done.stdout


def install(wheel: Path, folder: Path) -> Installed:
    """A fresh environment with a wheel in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    made = Installed(folder)
    made.install(wheel)
    return made
