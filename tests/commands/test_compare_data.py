"""`compare-data` says what changed, writes it down, and fails where it is told to."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from garments import drawn, indexed, validated

from components.cli import main
from components.errors import Exit


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A drawn set, and the same with every red garment called purple."""
    root = tmp_path_factory.mktemp("compared")
    for name in ("old", "new"):
        (root / name).mkdir()
    shutil.copytree(drawn(), root / "raw", ignore=shutil.ignore_patterns("receipt.json"))
    with (root / "raw" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (root / "raw" / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(row | {"colour": "purple" if row["colour"] == "red" else row["colour"]} for row in rows)
    for name, source in (("old", drawn()), ("new", root / "raw")):
        validated(root / name, source)
        indexed(root / name, source)
    return root / "old" / "dataset", root / "new" / "dataset"


def test_a_set_against_itself_says_that_nothing_matters(
        pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare-data", str(pair[0]), str(pair[0]), "--fail-on", "minor"]) == Exit.OK
    said = capsys.readouterr().out
    assert ": none\n" in said
    assert "144 stayed, 0 came, 0 went" in said


def test_what_changed_is_printed_and_written(
        pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--json", str(tmp_path / "found.json"), "--page", str(tmp_path / "found.html")]
    assert main(["compare-data", *map(str, pair), *wanted]) == Exit.OK
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["verdict"] == "major"
    assert "1 class vanished (red)" in said
    (change,) = found["changes"]
    assert (change["task"], change["vanished"]) == ("colour", ["red"])
    with (drawn() / "labels.csv").open(newline="") as stream:
        red = sum(row["colour"] == "red" for row in csv.DictReader(stream))
    assert 0 < found["samples"]["relabelled"]["colour"] <= red
    assert f"relabelled: {found['samples']['relabelled']['colour']} of colour" in said
    assert "<!doctype html>" in (tmp_path / "found.html").read_text()
    assert main(["compare-data", *map(str, pair), "--json", "-"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == found


def test_the_exit_code_follows_the_rule(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare-data", *map(str, pair), "--fail-on", "major"]) == Exit.USER
    assert "differs from" in capsys.readouterr().err
    assert main(["compare-data", *map(str, pair), "--fail-on", "anything"]) == Exit.USAGE
    assert main(["compare-data", str(pair[0]), str(pair[0].parent / "nothing")]) == Exit.USER
    assert "cannot be read" in capsys.readouterr().err


def test_heads_alone_are_enough_for_shares_and_pictures(
        pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, folder in zip(("old.json", "new.json"), pair, strict=True):
        shutil.copy(folder / "dataset.json", tmp_path / name)
    assert main(["compare-data", str(tmp_path / "old.json"), str(tmp_path / "new.json"), "--json", "-"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] is None
    assert {"pictures", "measures", "class shares"} <= {one["kind"] for one in found["findings"]}
