"""The step `fetch`: data at a revision, from where it is kept, with every byte checked."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from components.contract import Output, work_folder
from components.errors import TryAgain, UserError
from components.progress import progress
from components.runtime import Runtime, SharedRuntime
from components.settings import Settings

if TYPE_CHECKING:
    from components.storage.objects import Found

PASSING = re.compile(r"timed? ?out|Connection|Could not connect|EndpointConnection|SlowDown|ServiceUnavailable|"
                     r"InternalError|reset by peer|Temporary failure|\b50[0234]\b", re.I)


class Fetch(Settings):
    """Which data a cluster works on: what DVC or git tracks at a revision, or what lies in a bucket or folder."""

    repository: str = Field("", pattern="^([^-].*)?$", exclude=True, description=(
        "address of a git repository or a folder; s3://bucket/prefix for objects that no DVC tracks"))
    rev: str = Field("", pattern=r"^([\w.@/+=][\w.@/+=-]*)?$", exclude=True, description=(
        "commit, branch or tag; empty: the default branch"))
    path: str = Field("data/raw", pattern="^([^/-].*)?$", exclude=True, description=(
        "what of it: a path that DVC or git tracks; of a bucket or a folder without git, what lies below"))
    remote: str = Field("", pattern="^([^-].*)?$", exclude=True, description="DVC remote; empty: its default")
    digest: str = Field("", description=(
        "what the data must be; `stillhouse pipeline submit` fills it in, so that Kubeflow's cache covers the bytes"))
    runtime: SharedRuntime = Runtime()

    def resolved(self) -> "Fetch":
        """With the digest of what is there now; UserError where another was expected."""
        digest = digest_at(self.repository, self.rev, self.path)
        if self.digest not in ("", digest):
            raise UserError(f"{self.path} of {shown(self)} has the digest {digest}; expected {self.digest}",
                            "name the commit that was meant in fetch.rev, or submit again")
        return self.model_copy(update={"digest": digest})


def fetch(settings: Fetch, /, *, data: Output) -> None:
    """Bring the data of a revision here; what comes must have the digest that the revision tells."""
    from components.storage import receipts, s3

    if s3.is_url(settings.repository):
        fetch_objects(settings, data)
    elif is_git(settings.repository):
        fetch_revision(settings, data)
    else:
        copy(folder_of(settings.repository, settings.path), data)
    if data.is_dir() and receipts.is_sealed(data):  # an artifact of ours; from now on this step answers for it
        receipts.verify(data)
        (data / receipts.NAME).unlink()


def digest_at(repository: str, rev: str, path: str) -> str:
    """The digest that stands for the bytes of some data, read without them.

    It begins with `md5:` (DVC's), `git:` (git's own), `listing:` (names, sizes and ETags in a bucket) or `sha256:`
    (a folder without git). Raises UserError where nothing is there, TryAgain where its place cannot be reached.
    """
    from components.sources.revisions import digest_of, revision
    from components.storage import receipts, s3
    from components.storage.digests import value_digest

    if not repository:
        raise UserError("fetch.repository is not set", "set it in params.yaml: a git repository, a folder, or "
                        "s3://bucket/prefix")
    if s3.is_url(repository):
        found = objects_at(repository, path)
        return f"listing:{value_digest([[one.name, one.size, one.etag] for one in found])}"
    if is_git(repository):
        with revision(repository, rev) as where:
            return digest_of(where, path)
    return f"sha256:{receipts.folder_digest(folder_of(repository, path))}"


def is_git(repository: str) -> bool:
    """Whether a source is a git repository: an address, or a folder that is one."""
    place = Path(repository)
    return not place.exists() or (place / ".git").exists() or (place / "HEAD").is_file()


def shown(settings: Fetch) -> str:
    """A source as messages show it, without a password."""
    from components.sources.revisions import redacted

    return f"{redacted(settings.repository)}{' at ' if settings.rev else ''}{settings.rev}"


def folder_of(repository: str, path: str) -> Path:
    """The file or folder of a source without git; UserError where there is none."""
    place = Path(repository) / path
    if not place.exists():
        raise UserError(f"{place} does not exist", "correct fetch.repository or fetch.path")
    return place


def objects_at(repository: str, path: str) -> "list[Found]":
    """What lies in a bucket below a path; UserError where nothing does."""
    from components.storage.bucket import Bucket

    found = Bucket(repository).objects("" if path in ("", ".") else path.strip("/"))
    if not found:
        raise UserError(f"{repository}/{path} holds nothing", "correct fetch.repository or fetch.path, which may be ''")
    return found


def fetch_objects(settings: Fetch, data: Path) -> None:
    """Fetch what lies in a bucket; what came before an interruption is in the work folder."""
    from components.storage.bucket import Bucket
    from components.storage.receiving import receive_folder

    come = work_folder() / "data"
    name = "" if settings.path in ("", ".") else settings.path.strip("/")
    receive_folder(Bucket(settings.repository), name, come, progress)
    if digest_at(settings.repository, settings.rev, settings.path) != settings.digest:
        raise TryAgain(f"{settings.repository}/{name} was changed while it was fetched", "run the same command again")
    shutil.move(come, data)


def fetch_revision(settings: Fetch, data: Path) -> None:
    """Fetch what a revision tracks, and hold it against the digest that stands there."""
    from components.sources.revisions import dvc_digest, revision

    with revision(settings.repository, settings.rev) as where, tempfile.TemporaryDirectory(dir=data.parent) as folder:
        come = Path(folder) / "data"
        if settings.digest.startswith("git:"):
            where.git("checkout", "--quiet", where.commit, "--", settings.path)
            copy(where.clone / settings.path, data)
            return
        run_dvc(settings, where.commit, come)
        found = dvc_digest(come)
        if found != settings.digest:
            raise UserError(f"{settings.path} came from {shown(settings)} with the digest {found}; the revision says "
                            f"{settings.digest}", "an object of the cache or the remote is missing or damaged: there, "
                            "dvc checkout the data and dvc push it again; data of DVC 2 needs dvc cache migrate")
        apart(come)
        come.rename(data)


def run_dvc(settings: Fetch, commit: str, target: Path) -> None:
    """Let DVC bring a path of a commit; TryAgain where its failure may pass, else UserError."""
    from components.sources.revisions import redacted

    command = [sys.executable, "-m", "dvc", "get", settings.repository, settings.path, "--rev", commit]
    command += ["-o", str(target), *(["--remote", settings.remote] if settings.remote else [])]
    quiet = {"DVC_NO_ANALYTICS": "1", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
                          env=os.environ | quiet)
    if done.returncode == 0 and target.exists():
        return
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
    cause = f"dvc get {settings.path} from {shown(settings)}: {redacted(' '.join(said)).removeprefix('ERROR: ')}"
    if PASSING.search(done.stderr):
        raise TryAgain(cause, "run the same command again later")
    raise UserError(cause, "push the data (dvc push), or name the remote that has it in fetch.remote")


def copy(source: Path, data: Path) -> None:
    """Copy a file or a folder, the contents of links instead of links."""
    if source.is_dir():
        shutil.copytree(source, data)
    else:
        shutil.copyfile(source, data)


def apart(path: Path) -> None:
    """Make every file one of its own that may be written: nothing done to it may reach a cache."""
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        if file.is_symlink() or file.stat().st_nlink > 1:
            own = file.with_name(f".{file.name}.partial")
            shutil.copyfile(file, own)
            own.replace(file)
        file.chmod(0o644)
