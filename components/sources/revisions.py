"""What a git repository says of data at a revision, without the data: DVC's digest of it, or git's own."""

import json
import os
import posixpath
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import TryAgain, UserError
from components.strict_yaml import parse_yaml

PASSING = re.compile(
    "Could not resolve host|Failed to connect|timed out|Connection (reset|refused)|early EOF|unexpected disconnect|"
    r"HTTP 5\d\d|The requested URL returned error: 5|kex_exchange_identification|RPC failed", re.I)
GIT = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "LC_ALL": "C"}


@dataclass(frozen=True)
class Revision:
    """A commit of a repository that was cloned, without its files, into a folder."""

    repository: str
    clone: Path
    commit: str

    def files(self) -> list[str]:
        """The paths of all files that git has at this commit."""
        text = self.git("ls-tree", "-r", "-z", "--name-only", self.commit)
        return [name for name in text.split("\0") if name]

    def content(self, file: str) -> bytes:
        """The bytes of one of them."""
        return self.git("show", f"{self.commit}:{file}").encode("utf-8", "surrogateescape")

    def object(self, path: str) -> str:
        """Git's digest of a file or folder; empty where git has none."""
        listed = self.git("ls-tree", self.commit, "--", path.rstrip("/"))
        return listed.split()[2] if listed else ""

    def git(self, *arguments: str) -> str:
        """What a git command says of the clone."""
        return run_git(["-C", str(self.clone), *arguments], self.repository)


def run_git(arguments: list[str], repository: str) -> str:
    """The output of a git command; TryAgain where its failure may pass, else UserError."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False, env=os.environ | GIT)
    except FileNotFoundError:
        raise UserError("git is not installed, and fetch reads revisions with it", "apt-get install git") from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "surrogateescape")
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith(("fatal:", "error:"))]
    cause = f"git cannot read {redacted(repository)}: {redacted((said or ['it failed'])[-1])}"
    if PASSING.search(done.stderr.decode(errors="replace")):
        raise TryAgain(cause, "run the same command again later")
    raise UserError(cause, "check fetch.repository and fetch.rev, and that this machine's key or token may read it")


def redacted(text: str) -> str:
    """A text without the passwords and tokens that addresses in it carry.

    >>> redacted("cloning https://me:secret@example.com/x")
    'cloning https://***@example.com/x'
    """
    return re.sub(r"(\w://)[^/\s@]+@", r"\1***@", text)


@contextmanager
def revision(repository: str, rev: str) -> Iterator[Revision]:
    """A revision (commit, branch or tag; empty: the default branch) of a repository, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="stillhouse-") as folder:
        clone = Path(folder) / "clone"
        run_git(["clone", "--quiet", "--no-checkout", "--filter=blob:none", "--", repository, str(clone)], repository)
        for name in (f"origin/{rev}", rev) if rev else ("HEAD",):
            if found := commit_of(clone, name):
                yield Revision(repository, clone, found)
                return
        raise UserError(f"{redacted(repository)} has no revision {rev}", "push it, or correct fetch.rev")


def commit_of(clone: Path, name: str) -> str:
    """The commit of a name; empty where it is none."""
    command = ["git", "-C", str(clone), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | GIT)
    return done.stdout.strip() if done.returncode == 0 else ""


def tracked(where: Revision, path: str) -> dict[str, Any]:
    """What DVC keeps of exactly this path: an entry of `outs`; empty where git itself has the path.

    UserError where neither has it, or it holds or lies within what DVC keeps.
    """
    path = posixpath.normpath(path)
    outs = {posixpath.normpath(posixpath.join(folder, str(out["path"]))): out for folder, out in outs_of(where, path)}
    if path in outs:
        return outs[path]
    around = [name for name in outs if path.startswith(f"{name}/")]
    below = [name for name in outs if name.startswith(f"{path}/") or path == "."]
    if not around and not below and path != "." and where.object(path):
        return {}
    every = (posixpath.normpath(posixpath.join(folder, str(out["path"]))) for folder, out in outs_of(where, "."))
    named = sorted(around + below) or sorted(every)
    raise UserError(f"{redacted(where.repository)} keeps no {path} at {where.commit[:12]}",
                    f"set fetch.path to what DVC tracks there: {', '.join(named[:5]) or 'nothing'}")


def outs_of(where: Revision, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What DVC keeps around or below a path: the folder that an entry's path begins in, and the entry."""
    for file in where.files():
        folder, name = posixpath.split(file)
        if not (name == "dvc.lock" or name.endswith(".dvc")) or file.startswith(".dvc/"):
            continue
        if not (folder == "" or path.startswith(f"{folder}/") or folder.startswith(path) or path == "."):
            continue
        content = parse_yaml(where.content(file), f"{redacted(where.repository)}: {file}")
        parts = content.get("stages", {}).values() if name == "dvc.lock" else [content]
        for part in parts:
            base = posixpath.join(folder, str(part.get("wdir", ".")))
            yield from ((base, out) for out in part.get("outs", []) if isinstance(out, dict) and "path" in out)


def digest_of(where: Revision, path: str) -> str:
    """The digest that stands for the bytes of a path: `md5:` as DVC has it, or `git:`.

    UserError where DVC keeps no digest of it, as with versioned buckets.
    """
    out = tracked(where, path)
    if not out:
        return f"git:{where.object(posixpath.normpath(path))}"
    if "md5" not in out:
        raise UserError(f"{redacted(where.repository)} has no MD5 of {path} at {where.commit[:12]}",
                        "let DVC keep its cache in the remote (not version_aware), then push again")
    return f"md5:{out['md5']}"


def dvc_digest(path: Path) -> str:
    """DVC's digest of a file or folder that lies here: MD5, of a folder that of the list of its files, and `.dir`."""
    import hashlib

    def md5(file: Path) -> str:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    if path.is_file():
        return f"md5:{md5(path)}"
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    listed = [{"md5": md5(path / name), "relpath": name} for name in names]
    text = json.dumps(listed, sort_keys=True).encode()
    return f"md5:{hashlib.md5(text, usedforsecurity=False).hexdigest()}.dir"
