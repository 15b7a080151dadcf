"""`stillhouse init`: what it writes, what it leaves alone, and what it says."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from imports import ROOT
from PIL import Image

from components import cli, pin
from components.commands import looking
from components.commands.repository import unwritten
from components.errors import UserError
from components.settings import Params
from components.strict_yaml import parse_yaml


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eight images in two classes, and a file that is none."""
    for number in range(8):
        file = tmp_path / "my images" / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 30), (number * 30, 90, 10)).save(file)
    (tmp_path / "my images/dog/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    return tmp_path / "my images"


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are decoded in a process of their own, which takes seconds; one test looks at what that tells."""
    if "tells_what_it_finds" not in request.node.name:
        monkeypatch.setattr(looking, "sampled", lambda *_: iter(()))


def init(*arguments: str | Path) -> int:
    return cli.main(["init", *map(str, arguments)])


def stages(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = parse_yaml((folder / "dvc.yaml").read_bytes(), "dvc.yaml")["stages"]
    return {name: fields.get("do", fields) for name, fields in found.items()}


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and not {".git", ".stillhouse"} & set(path.relative_to(folder).parts)}


def test_it_tells_what_it_finds_in_the_images(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path / "own", "--from", images) == 0
    said = capsys.readouterr().out
    assert "layout class_folders" in said and "9 images" in said and "2 classes: dog 5, cat 4" in said
    assert "8 decode" in said and "1 cannot be used: dog/broken.png" in said
    assert f"cd {tmp_path / 'own'}" in said and "dvc repro" in said


def test_its_settings_are_ours_but_for_the_images(images: Path, tmp_path: Path) -> None:
    init(tmp_path / "own", "--from", images)
    theirs, ours = Params.load(tmp_path / "own/params.yaml").values, Params.load(ROOT / "params.yaml").values
    assert theirs["data"].pop("path") == str(images)
    assert ours["data"].pop("path") == "data/raw" and ours.pop("sample")
    assert theirs == ours
    comments = [line.partition("#")[2] for line in (tmp_path / "own/params.yaml").read_text().splitlines()]
    assert set(comments) == {line.partition("#")[2] for line in (ROOT / "params.yaml").read_text().splitlines()}


def test_images_within_are_named_from_there_and_kept_out_of_git(images: Path, tmp_path: Path) -> None:
    shutil.move(images, tmp_path / "own" / "photos")
    assert init(tmp_path / "own", "--from", tmp_path / "own/photos") == 0
    assert Params.load(tmp_path / "own/params.yaml").setting("data.path") == "photos"
    assert "/photos/" in (tmp_path / "own/.gitignore").read_text().splitlines()


def test_a_manifest_is_taken_with_the_folder_that_its_paths_begin_in(images: Path, tmp_path: Path) -> None:
    lines = [f"{path.relative_to(images)},{path.parent.name}\n" for path in sorted(images.glob("*/[0-9].png"))]
    manifest = tmp_path / "own" / "images.csv"
    manifest.parent.mkdir()
    manifest.write_text("path,animal\n" + "".join(lines))
    assert init(tmp_path / "own", "--from", manifest, "--root", images) == 0
    params = Params.load(tmp_path / "own/params.yaml")
    assert (params.setting("data.path"), params.setting("data.root")) == ("images.csv", str(images))
    assert "/images.csv/" not in (tmp_path / "own/.gitignore").read_text()


def test_its_stages_are_ours_with_digests_in_the_place_of_code(images: Path, tmp_path: Path) -> None:
    init(tmp_path / "own", "--from", images)
    lock = json.loads((tmp_path / "own/stillhouse.lock").read_text())
    ours, theirs = stages(ROOT), stages(tmp_path / "own")
    assert [name for name in ours if name != "sample"] == list(theirs)
    for name, fields in theirs.items():
        *params, digest = fields["params"]
        assert digest == {"stillhouse.lock": [f"code.{name}"]} and name in lock["code"]
        expected = ours[name] | {"params": params, "deps": [one for one in ours[name]["deps"] if not pin.is_code(one)]}
        assert {key: one for key, one in fields.items() if key != "params"} == {
            key: one for key, one in expected.items() if key != "params" and one}
        assert params == ours[name]["params"]
    assert parse_yaml((tmp_path / "own/dvc.yaml").read_bytes(), "")["plots"] == parse_yaml(
        (ROOT / "dvc.yaml").read_bytes(), "")["plots"]


def test_without_images_there_are_drawn_ones(tmp_path: Path) -> None:
    assert init(tmp_path / "own") == 0
    assert list(stages(tmp_path / "own")) == list(stages(ROOT))
    assert Params.load(tmp_path / "own/params.yaml").values == Params.load(ROOT / "params.yaml").values
    assert not list(unwritten((tmp_path / "own/dvc.yaml").read_text(), (tmp_path / "own/params.yaml").read_text()))


def test_the_files_do_not_depend_on_where_and_when(tmp_path: Path) -> None:
    init(tmp_path / "a/own")
    init(tmp_path / "b/own")
    assert everything(tmp_path / "a/own") == everything(tmp_path / "b/own")
    assert not [name for name, content in everything(tmp_path / "a/own").items() if str(ROOT).encode() in content]


@pytest.mark.parametrize("change", ["content", "name", "new file"])
def test_a_digest_changes_with_what_a_stage_runs_and_with_nothing_else(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    shutil.copytree(ROOT / "components", tmp_path / "components", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.setattr(pin, "HOME", tmp_path)
    before = pin.code_digests()
    (tmp_path / "components/cli.py").write_text("no stage depends on this\n")
    (tmp_path / "components/losses/__pycache__").mkdir()
    (tmp_path / "components/losses/__pycache__/new.pyc").write_bytes(b"bytecode")
    assert pin.code_digests() == before
    losses = tmp_path / "components/losses"
    if change == "content":
        (losses / "terms.py").write_text((losses / "terms.py").read_text() + "\n")
    else:
        shutil.copy(losses / "terms.py", losses / "words.py") if change == "new file" else (losses / "terms.py").rename(
            losses / "words.py")
    changed = {name for name, digest in pin.code_digests().items() if before[name] != digest}
    users = {name for name, fields in pin.own_stages().items() if "components/losses" in fields["deps"]}
    assert changed == users and "train" in users and "validate" not in users


@pytest.mark.parametrize(("before", "arguments", "said"), [
    ({"own/dvc.yaml": "stages: {}\n"}, ["own"], "own/dvc.yaml is there already; nothing was written"),
    ({"own/dvc.yaml": "a", "own/params.yaml": "b"}, ["own"], "is there already, and 1 more"),
    ({"own": "a file"}, ["own"], "own is a file"),
    ({}, ["own", "--from", "nowhere"], "nowhere does not exist"),
    ({"images/a.txt": "text"}, ["own", "--from", "images"], "is of no known layout"),
    ({"own/x/a.csv": "path,t\n"}, ["own", "--from", "own/x"], "is of no known layout"),
    ({}, ["own", "--upgrade"], "own/stillhouse.lock cannot be read"),
    ({"own/stillhouse.lock": "[]"}, ["own", "--check"], "is not what stillhouse init writes"),
])
def test_what_is_in_the_way_is_named_and_nothing_is_written(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        before: dict[str, str], arguments: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in before.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert init(*arguments) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert said in first and second.startswith("  remedy: ")
    assert everything(tmp_path) == {name: text.encode() for name, text in before.items()}


def test_images_may_not_lie_where_drawn_ones_go(images: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own/data").mkdir(parents=True)
    shutil.move(images, tmp_path / "own/data/raw")
    assert init(tmp_path / "own", "--from", tmp_path / "own/data/raw") == 1
    assert "is where drawn images go" in capsys.readouterr().err
    assert init(tmp_path / "own", "--from", tmp_path / "own") == 1


@pytest.mark.parametrize("arguments", [["--upgrade", "--from", "x"], ["--upgrade", "--check"],
                                       ["--show", "a", "--force"]])
def test_options_that_contradict_each_other_are_a_matter_of_usage(tmp_path: Path, arguments: list[str]) -> None:
    assert init(tmp_path, *arguments) == 2


def test_an_existing_repository_keeps_what_it_has(images: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    subprocess.run(["git", "init", "-q", own], check=True)
    (own / "README.md").write_text("mine\n")
    (own / ".gitignore").write_text("*.secret")
    (own / "requirements.txt").write_text("numpy\nstillhouse==0.0.1\n")
    (own / ".dvc").mkdir()
    (own / ".dvc/config").write_text("[core]\n    remote = mine\n")
    assert init(own, "--from", images) == 0
    said = capsys.readouterr().err
    assert "README.md was there and is left alone" in said and ".dvc/config was there" in said
    assert (own / "README.md").read_text() == "mine\n" and "remote = mine" in (own / ".dvc/config").read_text()
    lines = (own / ".gitignore").read_text().splitlines()
    assert lines[0] == "*.secret" and "/models/" in lines
    assert (own / "requirements.txt").read_text() == f"numpy\nstillhouse=={pin.version()}\n"


def test_a_second_init_is_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path / "own") == 0
    first = everything(tmp_path / "own")
    assert init(tmp_path / "own") == 1
    assert "a repository of Stillhouse already" in capsys.readouterr().err
    (tmp_path / "own/dvc.yaml").write_text("broken")
    assert init(tmp_path / "own", "--force") == 0
    assert everything(tmp_path / "own") == first


def test_an_init_that_was_cut_short_is_finished_by_the_same_command(tmp_path: Path) -> None:
    init(tmp_path / "whole/own")
    init(tmp_path / "part/own")
    for name in ("stillhouse.lock", "params.yaml", ".github/workflows/retrain.yaml"):
        (tmp_path / "part/own" / name).unlink()
    assert init(tmp_path / "part/own") == 0
    assert everything(tmp_path / "part/own") == everything(tmp_path / "whole/own")


def test_a_folder_of_a_larger_repository_is_told_where_its_workflow_belongs(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert init(tmp_path / "own") == 0
    assert not (tmp_path / "own/.git").exists()
    assert "move .github/workflows/retrain.yaml there" in capsys.readouterr().err


def test_without_git_dvc_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path / "own", "--no-git") == 0
    assert not (tmp_path / "own/.git").exists()
    assert "no_scm = true" in (tmp_path / "own/.dvc/config").read_text()
    assert "git add" not in capsys.readouterr().out


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of an older version; the installed one has another loss, another dvc.yaml and a new setting."""
    assert init(tmp_path / "own") == 0
    home = tmp_path / "home"
    for name in ("components", "infra", "docs", ".dvc"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, home)
    monkeypatch.setattr(pin, "HOME", home)
    monkeypatch.setattr(pin, "version", lambda: "9.9.9")
    (home / "components/losses/terms.py").write_text("other\n")
    wiring = (home / "dvc.yaml").read_text()
    (home / "dvc.yaml").write_text(wiring.replace("params: [index]", "params: [index, validate.seconds]"))
    params = (home / "params.yaml").read_text()
    (home / "params.yaml").write_text(params.replace("  policy: quarantine", "  policy: quarantine\n  seconds: 5.0"))
    return tmp_path / "own"


def test_an_upgrade_writes_anew_what_nobody_changed(newer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (newer / ".github/workflows/retrain.yaml").unlink()
    before = json.loads((newer / "stillhouse.lock").read_text())
    assert init(newer, "--check") == 1
    assert "stillhouse init --upgrade" in capsys.readouterr().err
    assert init(newer, "--upgrade") == 0
    said = capsys.readouterr()
    assert "from Stillhouse" in said.out and "train, student" in said.out and not said.err
    assert "validate.seconds" in (newer / "dvc.yaml").read_text()
    assert "seconds: 5.0" in (newer / "params.yaml").read_text()
    assert (newer / "requirements.txt").read_text() == "stillhouse==9.9.9\n"
    assert not (newer / ".github/workflows/retrain.yaml").exists(), "whoever removed it does not want it"
    after = json.loads((newer / "stillhouse.lock").read_text())
    assert after["version"] == "9.9.9" and after["code"]["validate"] == before["code"]["validate"]
    assert after["code"]["train"] != before["code"]["train"]
    assert init(newer, "--check") == 0


def test_an_upgrade_keeps_lines_of_ones_own_beside_ours(newer: Path) -> None:
    (newer / "requirements.txt").write_text((newer / "requirements.txt").read_text() + "pandas-extra\n")
    assert init(newer, "--upgrade") == 0
    assert set((newer / "requirements.txt").read_text().split()) == {"pandas-extra", "stillhouse==9.9.9"}


def test_an_upgrade_leaves_alone_what_was_changed_and_says_what_is_missing(
        newer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = (newer / "params.yaml").read_text().replace("epochs: 45", "epochs: 2")
    (newer / "params.yaml").write_text(mine)
    assert init(newer, "--upgrade") == 0
    said = capsys.readouterr().err
    assert "params.yaml was changed here and is left alone" in said and "does not write validate.seconds" in said
    assert (newer / "params.yaml").read_text() == mine
    assert init(newer, "--show", "params.yaml") == 0
    assert "seconds: 5.0" in capsys.readouterr().out
    assert init(newer, "--show", "param.yaml") == 2
    assert init(newer, "--upgrade") == 0, "again is no error"
    assert (newer / "params.yaml").read_text() == mine


def test_a_step_refuses_to_run_with_other_code_than_the_repository_names(newer: Path) -> None:
    with pytest.raises(UserError, match=r"whose train is not that of the 9\.9\.9 installed here") as caught:
        pin.refuse_other_code(newer, "teachers.deep")
    assert "stillhouse init --upgrade" in caught.value.remedy
    with pytest.raises(UserError, match="whose student"):
        pin.refuse_other_code(newer, "student")
    pin.refuse_other_code(newer, "validate")
    pin.refuse_other_code(newer.parent, "student")
