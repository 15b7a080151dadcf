"""Files and folders are whole or absent."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import UserError
from components.storage import atomic


def filled(path: Path, word: str) -> Path:
    path.mkdir(parents=True)
    (path / "a").write_text(word)
    (path / "below").mkdir()
    (path / "below" / "b").write_text(word)
    return path


def test_a_folder_replaces_a_folder_a_file_or_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "file").write_text("old")
    filled(tmp_path / "folder", "old")
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("file", "folder", "link", "fresh"):
        atomic.move_into_place(filled(tmp_path / "new", name), tmp_path / name)
        assert (tmp_path / name / "below" / "b").read_text() == name and not (tmp_path / name).is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "file", "folder", "fresh", "link"]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_replaces_a_folder_or_a_file(tmp_path: Path) -> None:
    filled(tmp_path / "folder", "old")
    for name in ("folder", "fresh", "fresh"):
        (tmp_path / "new").write_text(name)
        atomic.move_into_place(tmp_path / "new", tmp_path / name)
        assert (tmp_path / name).read_text() == name
    assert len(list(tmp_path.iterdir())) == 2


def test_file_systems_that_cannot_swap_get_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "RENAME_EXCHANGE", 1 << 30)  # a flag that no kernel knows
    filled(tmp_path / "folder", "old")
    atomic.move_into_place(filled(tmp_path / "new", "new"), tmp_path / "folder")
    assert (tmp_path / "folder" / "a").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_private_places_are_fresh_and_go_with_an_exception(tmp_path: Path) -> None:
    outputs = [tmp_path / "deep" / "one", tmp_path / "two.json"]
    filled(atomic.private_folder(outputs[0]), "left by a killed holder")
    with pytest.raises(ZeroDivisionError), atomic.private(outputs) as places:
        assert not places[0].exists() and all(place.parent.is_dir() for place in places)
        places[0].write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["deep"]


@given(st.binary(max_size=100))
def test_a_small_file_is_what_was_written(content: bytes) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"stillhouse-test-{os.getpid()}" / "x"
    atomic.write_file(path, content)
    assert path.read_bytes() == content and len(list(path.parent.iterdir())) == 1
    atomic.remove(path.parent)


def test_a_small_file_takes_no_folder_s_place(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "kept").touch()
    with pytest.raises(UserError, match="is a folder; a file would replace it"):
        atomic.write_file(tmp_path / "x", "new")
    assert (tmp_path / "x" / "kept").is_file()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic.write_file(tmp_path / "x", "old")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "flush", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_file(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
