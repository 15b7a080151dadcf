"""Data comes at the revision that was asked for, with every byte that the revision tells of, or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import object_store
import pytest
from object_store import Proxy
from repositories import begin, commit, dvc, git, run, write
from small_steps import run_brew

from components.contract import load_step, run_step
from components.errors import TryAgain, UserError
from components.fetch import Fetch, digest_at
from components.ports import digest_inputs
from components.runtime import Runtime
from components.storage import receipts
from components.storage.bucket import Bucket
from components.storage.digests import tree_digests

FILES = ("red/a.png", "red/b.png", "blue/c d é.png")


class Repository:
    """A repository with a remote, two commits of a folder, and a file beside it that git has."""

    def __init__(self, root: Path) -> None:
        self.folder, self.remote = begin(root / "garments"), root / "remote"
        dvc(self.folder, "remote", "add", "-d", "store", str(self.remote))
        write(self.folder / "images/raw", *FILES, word="old")
        write(self.folder, "lists/train.csv")
        dvc(self.folder, "add", "-q", "images/raw")
        self.first = commit(self.folder, "first")
        git(self.folder, "tag", "v1")
        self.old = tree_digests(self.folder / "images/raw")
        dvc(self.folder, "push", "-q")
        shutil.rmtree(self.folder / "images/raw")
        write(self.folder / "images/raw", *FILES[:2], "green/new.png", word="new")
        dvc(self.folder, "add", "-q", "images/raw")
        self.second = commit(self.folder, "second")
        self.new = tree_digests(self.folder / "images/raw")
        dvc(self.folder, "push", "-q")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def repository(made: Repository, tmp_path: Path) -> Repository:
    """A copy that a test may damage."""
    shutil.copytree(made.folder.parent, tmp_path / "copy", symlinks=True)
    copied = Repository.__new__(Repository)
    copied.__dict__ |= made.__dict__ | {"folder": tmp_path / "copy/garments", "remote": tmp_path / "copy/remote"}
    dvc(copied.folder, "remote", "modify", "store", "url", str(copied.remote))
    git(copied.folder, "commit", "-qam", "moved")
    return copied


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fetched(repository: object, **settings: Any) -> Path:
    values = {"repository": str(repository), "path": "images/raw", "runtime": Runtime(tracking=False)} | settings
    run_step(load_step("fetch"), Fetch(**values), "fetch", {"data": Path("data/raw")})
    return Path("data/raw")


def bytes_of(data: Path) -> dict[str, str]:
    return {name: digest for name, digest in tree_digests(data).items() if name != receipts.NAME}


@pytest.mark.slow
def test_a_commit_a_tag_and_a_branch_give_the_data_that_they_had(made: Repository) -> None:
    for rev, expected in (("v1", made.old), (made.first, made.old), ("main", made.new), ("", made.new)):
        data = fetched(made.folder, rev=rev)
        assert bytes_of(data) == expected and receipts.verify(data)
    assert all(path.stat().st_nlink == 1 and os.access(path, os.W_OK) for path in data.rglob("*") if path.is_file())


def test_the_artifact_tells_the_digest_and_neither_place_nor_revision(made: Repository, tmp_path: Path) -> None:
    data = fetched(made.folder, rev="v1")
    receipt = receipts.read(data)
    told = made.folder.joinpath("images/raw.dvc").read_text()
    assert receipt.settings == {"digest": digest_at(str(made.folder), made.first, "images/raw")}
    assert digest_at(str(made.folder), "", "images/raw").removeprefix("md5:") in told
    assert str(tmp_path.parent) not in (data / receipts.NAME).read_text()
    assert digest_inputs({"source": data})[1] == {"source": receipt.settings["digest"]}, "where its readers come from"
    before = receipts.digest(data)
    assert receipts.digest(fetched(made.folder, rev=made.first)) == before


@pytest.mark.slow
def test_an_address_is_cloned_and_a_remote_can_be_named(made: Repository, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(made.folder), str(bare))
    assert bytes_of(fetched(f"file://{bare}", rev="v1", remote="store")) == made.old
    with pytest.raises(UserError, match="nowhere"):
        fetched(f"file://{bare}", remote="nowhere")


@pytest.mark.slow
def test_a_damaged_object_of_the_cache_is_found_whatever_dvc_thinks(repository: Repository) -> None:
    """DVC believes read-only objects of a cache without a look (dvc_data, LocalHashFileDB.check)."""
    (cached,) = [path for path in (repository.folder / ".dvc/cache/files").rglob("*")
                 if path.is_file() and path.read_bytes() == b"green/new.png new\n"]
    cached.chmod(0o644)
    cached.write_bytes(b"green/new.png neW\n")
    cached.chmod(0o444)
    with pytest.raises(UserError, match="digest") as caught:
        fetched(repository.folder)
    assert "dvc push" in caught.value.remedy and not Path("data/raw").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_remote_without_whole_objects_gives_nothing(damage: str, repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".dvc/cache")
    (kept,) = [path for path in repository.remote.rglob("*")
               if path.is_file() and path.read_bytes() == b"green/new.png new\n"]
    kept.chmod(0o644)
    kept.unlink() if damage == "missing" else kept.write_bytes(b"green/new.png neW\n")
    with pytest.raises(UserError) as caught:
        fetched(repository.folder)
    assert "dvc push" in caught.value.remedy and not Path("data/raw").exists()
    assert bytes_of(fetched(repository.folder, rev="v1")) == repository.old


@pytest.mark.slow
def test_other_data_than_was_submitted_is_refused(made: Repository) -> None:
    expected = digest_at(str(made.folder), "v1", "images/raw")
    assert bytes_of(fetched(made.folder, rev="v1", digest=expected)) == made.old
    with pytest.raises(UserError, match=f"expected {expected}") as caught:
        fetched(made.folder, rev="main", digest=expected)
    assert "fetch.rev" in caught.value.remedy


def test_what_git_itself_has_comes_too(made: Repository) -> None:
    assert fetched(made.folder, path="lists/train.csv").read_text() == "lists/train.csv \n"
    shutil.rmtree("data")
    data = fetched(made.folder, path="lists")
    assert list(bytes_of(data)) == ["train.csv"]
    assert digest_at(str(made.folder), "v1", "lists") == f"git:{git(made.folder, 'rev-parse', 'v1:lists')}"


@pytest.mark.parametrize(("settings", "said", "remedy"), [
    ({"path": "images"}, "keeps no images at", "images/raw"),
    ({"path": "images/raw/red"}, "keeps no images/raw/red at", "images/raw"),
    ({"path": "absent"}, "keeps no absent at", "images/raw"),
    ({"rev": "v9"}, "has no revision v9", "fetch.rev"),
])
def test_what_is_not_there_is_told_with_what_is(settings: dict[str, str], said: str, remedy: str,
                                                made: Repository) -> None:
    with pytest.raises(UserError) as caught:
        fetched(made.folder, **settings)
    assert said in caught.value.cause and remedy in caught.value.remedy and not Path("data").exists()


@pytest.mark.parametrize("address", ["https://me:canary-3@127.0.0.1:1/x.git", "/nowhere/at/all", "ext::touch canary"])
def test_a_repository_that_cannot_be_read_is_told_without_its_password(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetched(address)
    assert "canary-3" not in caught.value.cause + caught.value.remedy and not (tmp_path / "canary").exists()
    assert isinstance(caught.value, TryAgain) == address.startswith("https")


@pytest.mark.parametrize("name", ["repository", "rev", "path", "remote"])
def test_no_setting_becomes_an_option_of_a_program(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Fetch(**{name: "--upload-pack=touch canary"})


def test_no_repository_at_all_is_a_question_for_the_user() -> None:
    with pytest.raises(UserError, match=r"fetch.repository is not set"):
        fetched("")


def test_a_folder_without_git_is_copied_and_known_by_its_bytes(tmp_path: Path) -> None:
    write(tmp_path / "plain/images/raw", *FILES)
    data = fetched(tmp_path / "plain")
    assert bytes_of(data) == tree_digests(tmp_path / "plain/images/raw")
    assert receipts.read(data).settings["digest"] == f"sha256:{receipts.folder_digest(tmp_path / 'plain/images/raw')}"
    with pytest.raises(UserError, match="does not exist"):
        fetched(tmp_path / "plain", path="elsewhere")


def test_an_artifact_of_ours_is_verified_and_sealed_anew(tmp_path: Path) -> None:
    run_brew(tmp_path / "made")
    data = fetched(tmp_path / "made", path="data/wash")
    assert receipts.read(data).step == "fetch" and receipts.verify(data)
    (tmp_path / "made/data/wash/part.bin").write_bytes(b"other")
    with pytest.raises(UserError, match=r"part.bin was changed"):
        fetched(tmp_path / "made", path="data/wash")


def test_objects_of_a_bucket_come_through_failing_requests(s3_server: str, bucket_url: str, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 0.05)
    object_store.send_folder(bucket_url, write(tmp_path / "ours", *FILES), "some/raw")
    before = digest_at(f"{bucket_url}/some", "", "raw")
    with Proxy(s3_server, seed=4).address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        assert bytes_of(fetched(bucket_url, path="some/raw", digest="")) == tree_digests(tmp_path / "ours")
        assert bytes_of(fetched(f"{bucket_url}/some/raw", path="")) == tree_digests(tmp_path / "ours")
    object_store.use(monkeypatch, s3_server)
    Bucket(f"{bucket_url}/some").write("raw/red/a.png", b"changed")
    assert digest_at(f"{bucket_url}/some", "", "raw") != before
    with pytest.raises(UserError, match=f"expected {before}"):
        fetched(f"{bucket_url}/some", path="raw", digest=before)
    with pytest.raises(UserError, match="holds nothing"):
        fetched(bucket_url, path="empty")


@pytest.mark.slow
def test_a_bucket_is_the_remote_and_a_fresh_clone_has_nothing_to_do(bucket_url: str, tmp_path: Path) -> None:
    """Push, clone, pull, fetch at a revision; `dvc repro` finds everything in its place."""
    ours = begin(tmp_path / "ours")
    dvc(ours, "remote", "add", "-d", "store", f"{bucket_url}/dvc")
    write(ours / "images/raw", *FILES)
    (ours / "dvc.yaml").write_text(
        "stages: {count: {cmd: ls -R images/raw | wc -l > count.txt, deps: [images/raw], outs: [count.txt]}}\n")
    dvc(ours, "add", "-q", "images/raw")
    dvc(ours, "repro", "-q")
    first = commit(ours, "first")
    dvc(ours, "push", "-q")
    git(tmp_path, "clone", "-q", str(ours), "theirs")
    theirs = tmp_path / "theirs"
    dvc(theirs, "pull", "-q")
    assert "up to date" in dvc(theirs, "repro") and json.loads(dvc(theirs, "status", "--json")) == {}
    assert tree_digests(theirs / "images/raw") == tree_digests(ours / "images/raw")
    shutil.rmtree(ours / ".dvc/cache")
    assert bytes_of(fetched(f"file://{ours}", rev=first)) == tree_digests(theirs / "images/raw")
    assert run(theirs, "git", "status", "--porcelain") == ""
