"""Small repositories with data that DVC keeps."""

import os
import subprocess
import sys
from pathlib import Path

QUIET = {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
WHO = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
       for what, value in (("NAME", "nobody"), ("EMAIL", "nobody@example.com"))}


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                          env=os.environ | QUIET | WHO)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def git(folder: Path, *arguments: str) -> str:
    return run(folder, "git", *arguments).strip()


def dvc(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


def begin(folder: Path) -> Path:
    """An empty repository of git and DVC, with cache links as ours has them."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    dvc(folder, "init", "-q")
    dvc(folder, "config", "cache.type", "reflink,hardlink,copy")
    return folder


def write(folder: Path, *names: str, word: str = "") -> Path:
    """Files below a folder, each holding its name and a word."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {word}\n")
    return folder
