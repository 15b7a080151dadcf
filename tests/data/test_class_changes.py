"""What appeared, vanished or moved among tasks and classes is told, and changes no byte of the data set."""

import csv
import json
from pathlib import Path

import pytest
from garments import indexed, validated
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.data.class_changes import change, changes, previous, since, told
from components.data.tasks import Task

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1).map(tuple)


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES)
def test_every_class_is_told_once_and_rightly(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    found = change(Task("t", "single", old), Task("t", "single", new))
    assert set(found.appeared) == set(new) - set(old)
    assert set(found.vanished) == set(old) - set(new)
    rebuilt = {name: number for number, name in enumerate(old) if name not in found.vanished}
    rebuilt |= {name: number for name, (_, number) in found.moved.items()}
    rebuilt |= {name: new.index(name) for name in found.appeared}
    assert tuple(sorted(rebuilt, key=lambda name: rebuilt[name])) == new
    assert bool(found) == (old != new)


def test_a_class_in_the_middle_moves_those_behind_it_and_the_remedy_keeps_them() -> None:
    before, now = Task("colour", "single", ("blue", "red")), Task("colour", "single", ("blue", "green", "red"))
    lines = told(changes([before], [now]), [before])
    assert "1 class appeared (green)" in lines[0]
    assert "1 changed their number (for example red: 1 is now 2)" in lines[0]
    assert lines[1].endswith("data.tasks.colour.classes: [blue, red, green]")
    kept = Task("colour", "single", ("blue", "red", "green"))
    assert len(told(changes([before], [kept]), [before])) == 1


def test_tasks_that_come_go_or_change_their_kind_are_told() -> None:
    one, other = Task("one", "single", ("a", "b")), Task("other", "single", ("a",))
    assert told(changes([one], [other]), [one]) == [
        "task one vanished since the previous data set", "task other appeared since the previous data set"]
    assert "its kind is another" in told(changes([one], [Task("one", "multi", ("a", "b"))]), [one])[0]
    assert told(changes([one], [one]), [one]) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"a": 1}', '{"a": {}}', '{"a": {"tasks": [1]}}'])
def test_where_no_run_is_known_nothing_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert previous(tmp_path / "run.json") is None
    assert since(tmp_path / "missing.json", [Task("t", "single", ("a",))]) == []


def raw(folder: Path, classes: list[str]) -> Path:
    """A data set of one image of each class in each split, five times over."""
    folder.mkdir()
    rows = [("path", "split", "kind")]
    for number, name in enumerate(classes * 5):
        for place, split in enumerate(("train", "val", "test")):
            shade = (name.encode()[0] * 7 + number * 11 + place * 3) % 200
            image = Image.radial_gradient("L").resize((40 + number, 40)).point(lambda value, s=shade: (value + s) % 256)
            image.convert("RGB").save(folder / f"{name}{number}{split}.png")
            rows.append((f"{name}{number}{split}.png", split, name))
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_index_tells_what_became_of_the_classes_and_writes_the_same_bytes(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = raw(tmp_path / "first", ["coat", "shirt"]), raw(tmp_path / "second", ["coat", "dress", "shirt"])
    allowed = {"validate": {"policy": "allow"}}
    for place, source in (("here", first), ("here", second), ("alone", second)):
        (tmp_path / place).mkdir(exist_ok=True)
        validated(tmp_path / place, source, **allowed)
        capfd.readouterr()
        facts = indexed(tmp_path / place, source)
        said = capfd.readouterr().err
        if source == second and place == "here":
            assert "warning: task kind since the previous data set: 1 class appeared (dress), 1 changed" in said
            assert "data.tasks.kind.classes: [coat, shirt, dress]" in said
            with_history = facts["outputs"]
        else:
            assert "previous data set" not in said
    assert facts["outputs"] == with_history
    runs = json.loads((tmp_path / "here" / ".facts" / "index" / "run.json").read_text())
    assert [run["tasks"][0]["classes"] for run in runs.values()] == [["coat", "shirt"], ["coat", "dress", "shirt"]]
    indexed(tmp_path / "here", second)
    assert "previous data set" not in capfd.readouterr().err
