"""Folders of labelled images, well and badly arranged; each fault is said once, with its place and its cure."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from components.data.reading import Listing, read_listing
from components.data.settings import Data
from components.errors import UserError

CLOTHING = Path(__file__).resolve().parents[3] / "shared" / "data" / "clothing"
ODD = ["a b.jpg", "comma,.png", 'quo"te.jpg', "it's.jpg", "-rf.jpg", "=1+1.jpg", "ü ß 猫.jpg", "new\nline.jpg",
       "%s{0}.jpg", "x" * 251 + ".jpg", "UPPER.JPEG", " dot.webp", "<b>&amp;.gif", "back\\slash.jpg"]
SPLITS = ("train", "val", "test")


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2)).save(path, "JPEG")
    return path


def folders(root: Path, classes: Sequence[str] = ("cat", "dog")) -> Path:
    for split in SPLITS:
        for name in classes:
            image(root / split / name / "1.jpg")
    return root


def table(root: Path, rows: Sequence[Sequence[str]], head: str = "path,split,kind") -> Path:
    for row in rows:
        image(root / row[0])
    write(root, rows, head)
    return root


def write(root: Path, rows: Sequence[Sequence[str]], head: str = "path,split,kind") -> None:
    root.mkdir(exist_ok=True)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        stream.write(head + "\n")
        csv.writer(stream).writerows(rows)


ROWS = [[f"{split}{number}.jpg", split, kind] for split in SPLITS for number, kind in enumerate(("cat", "dog"))]


def complaint(root: Path, **data: object) -> str:
    with pytest.raises(UserError) as caught:
        read_listing(root, Data.model_validate(data, strict=False))
    assert caught.value.remedy
    assert "\n" not in caught.value.cause
    return caught.value.cause


def read(root: Path, **data: object) -> Listing:
    return read_listing(root, Data.model_validate(data, strict=False))


def test_class_folders_become_one_task(tmp_path: Path) -> None:
    listing = read(folders(tmp_path), default_task="animal")
    assert [task.name for task in listing.tasks] == ["animal"]
    assert listing.tasks[0].classes == ("cat", "dog")
    assert listing.rows["path"].tolist() == [f"{split}/{name}/1.jpg" for split in SPLITS for name in ("cat", "dog")]
    assert listing.rows["animal"].tolist() == ["cat", "dog"] * 3
    assert listing.notes == ()


@pytest.mark.parametrize("layout", ["folders", "labels_csv"])
def test_odd_names_simply_work(tmp_path: Path, layout: str) -> None:
    if layout == "folders":
        folders(tmp_path, ["cat, 'a' \"b\"", "- ü"])
        for name in ODD:
            image(tmp_path / "val" / "- ü" / name)
    else:
        table(tmp_path, [*ROWS, *([f"- ü/{name}", "val", "cat"] for name in ODD)])
    paths = read(tmp_path).rows["path"].tolist()
    assert {Path(path).name for path in paths} >= set(ODD)
    assert all((tmp_path / path).is_file() for path in paths)


def test_folders_win_over_a_table_and_say_so(tmp_path: Path) -> None:
    write(folders(tmp_path), [])
    image(tmp_path / "extra" / "bird" / "1.jpg")
    listing = read(tmp_path)
    assert listing.layout == "folders"
    assert any("data.layout: labels_csv" in note for note in listing.notes)
    assert any("extra/" in note for note in listing.notes)


def test_files_that_are_no_images_are_counted_and_hidden_ones_ignored(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("a cat")
    (tmp_path / "train" / "cat" / ".DS_Store").write_text("")
    image(tmp_path / "train" / "cat" / "picture without suffix")
    listing = read(tmp_path)
    assert len(listing.rows) == 7
    assert listing.notes == ("1 files that are no images are left out, for example train/cat/notes.txt",)


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda root: os.remove(root / "val" / "dog" / "1.jpg"), "val/dog has no images"),
    (lambda root: os.removedirs(one_empty(root / "val" / "dog")), "lacks dog"),
    (lambda root: image(root / "val" / "cow" / "1.jpg"), "has cow, which"),
    (lambda root: (root / "test").rename(root / "tests"), "test is not there"),
    (lambda root: image(root / "train" / "stray.jpg"), "train/stray.jpg"),
])
def test_ill_arranged_folders_are_refused(tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    folders(tmp_path)
    spoil(tmp_path)
    assert words in complaint(tmp_path)


def one_empty(folder: Path) -> Path:
    for path in folder.iterdir():
        path.unlink()
    return folder


def test_no_folder_no_layout_and_nothing_are_told_apart(tmp_path: Path) -> None:
    assert "does not exist" in complaint(tmp_path / "none")
    assert "is not a folder" in complaint(image(tmp_path / "file"))
    (tmp_path / "void").mkdir()
    assert "there is nothing" in complaint(tmp_path / "void")
    image(tmp_path / "loose" / "photos" / "1.jpg")
    assert "photos/" in complaint(tmp_path / "loose")
    assert "not of layout labels_csv" in complaint(folders(tmp_path / "arranged"), layout="labels_csv")


def test_names_that_are_not_utf8_are_shown_escaped(tmp_path: Path) -> None:
    folders(tmp_path / "a")
    name = os.fsdecode(b"caf\xe9.jpg")
    image(tmp_path / "a" / "train" / "cat" / name)
    assert "train/cat/caf\\xe9.jpg is not UTF-8" in complaint(tmp_path / "a")
    table(tmp_path / "b", ROWS)
    image(tmp_path / "b" / name)
    assert "caf\\xe9.jpg is not UTF-8" in complaint(tmp_path / "b")


def test_a_table_gives_several_tasks_and_optional_columns(tmp_path: Path) -> None:
    rows = [[*row, colours, "7", "north", weight] for row, colours, weight in
            zip(ROWS, ["red|blue", "", "blue", "red", "red", "blue"], ["", "2", "0.5", "", "0", ""], strict=True)]
    table(tmp_path, rows, "path,split,kind,colours,identity,where,weight")
    listing = read(tmp_path, columns={"camera": "where"}, tasks={"kind": {}, "colours": {"kind": "multi"}})
    assert [(task.name, task.kind, task.classes) for task in listing.tasks] == [
        ("kind", "single", ("cat", "dog")), ("colours", "multi", ("blue", "red"))]
    by_path = listing.rows.set_index("path")
    assert by_path.loc["train0.jpg", "colours"] == "red|blue"
    assert by_path.loc["train1.jpg", "colours"] == ""
    assert set(by_path["camera"]) == {"north"}
    assert by_path.loc["val0.jpg", "weight"] == 0.5
    assert by_path["weight"].isna().sum() == 3
    assert by_path["group"].isna().all()


def test_columns_and_splits_that_are_not_asked_for_are_said_to_be_left_out(tmp_path: Path) -> None:
    table(tmp_path, [*([*row, "x"] for row in ROWS), ["e1.jpg", "extra", "cow", "y"], ["e2.jpg", "extra", "cow", "y"]],
          "path,split,kind,my remark")
    listing = read(tmp_path, tasks={"kind": {}})
    assert listing.tasks[0].classes == ("cat", "dog")
    assert any("my remark" in note for note in listing.notes)
    assert any("2 of split 'extra'" in note for note in listing.notes)


def test_classes_may_be_ordered_by_hand_and_a_class_unknown_to_train_is_said(tmp_path: Path) -> None:
    rows = [*ROWS, ["late.jpg", "test", "cow"]]
    listing = read(table(tmp_path, rows), tasks={"kind": {"classes": ["dog", "cow", "cat"]}})
    assert listing.tasks[0].classes == ("dog", "cow", "cat")
    assert listing.notes == ("class cow of task kind has no image in train",)


@pytest.mark.parametrize(("rows", "words"), [
    ([["gone.jpg", "train", "cat"]], "1 labelled files are not there: gone.jpg"),
    ([["../up.jpg", "train", "cat"]], "'../up.jpg' is not below"),
    ([["/etc/passwd", "train", "cat"]], "'/etc/passwd' is not below"),
    ([["", "train", "cat"]], "row 8: path '' is not below"),
    ([["./train0.jpg", "train", "cat"]], "more than once: train0.jpg"),
    ([["odd.jpg", "train"]], "row 8: 2 cells"),
])
def test_ill_written_rows_are_refused(tmp_path: Path, rows: list[list[str]], words: str) -> None:
    table(tmp_path, ROWS)
    write(tmp_path, ROWS + rows)
    assert words in complaint(tmp_path)


def test_an_image_without_a_row_is_refused(tmp_path: Path) -> None:
    image(table(tmp_path, ROWS) / "deep" / "er.png")
    assert "1 images of the folder have no row: deep/er.png" in complaint(tmp_path)


@pytest.mark.parametrize("weight", ["heavy", "-1", "nan", "inf", "1e999"])
def test_bad_weights_are_refused(tmp_path: Path, weight: str) -> None:
    table(tmp_path, [[*row, weight] for row in ROWS], "path,split,kind,weight")
    assert f"row 2: weight is {weight!r}" in complaint(tmp_path)


@pytest.mark.parametrize(("head", "data", "words"), [
    ("file,split,kind", {}, "has no column path"),
    ("path,part,kind", {}, "has no column split"),
    ("path,split,kind", {"columns": {"group": "knd"}}, "Did you mean 'kind'?"),
    ("path,split,kind", {"tasks": {"kinds": {}}}, "Did you mean 'kind'?"),
    ("path,split,my kind", {}, "'my kind' is no usable task name"),
    ("path,split,sha256", {}, "'sha256' is a name of our own columns"),
    ("path,split,identity", {}, "has no column of labels"),
    ("path,split,split", {}, "stands there twice"),
    ("path,split,kind", {"tasks": {"kind": {"classes": ["cat", "dogs"]}}}, "Did you mean 'dogs'?"),
    ("path,split,kind", {"tasks": {"kind": {"classes": ["cat", "dog", "cow"]}}}, "class cow of data.tasks.kind"),
])
def test_unknown_and_missing_columns_and_classes_are_refused(
    tmp_path: Path, head: str, data: dict[str, object], words: str
) -> None:
    assert words in complaint(table(tmp_path, ROWS, head), **data)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_without_rows_is_refused(tmp_path: Path, split: str) -> None:
    table(tmp_path, [row for row in ROWS if row[1] != split])
    assert f"no row with split {split}" in complaint(tmp_path)


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is empty"), (b"path,split,kind\ncaf\xe9.jpg,train,cat\n", "not UTF-8"),
    (b'path,split,kind\n"a.jpg,train', "not well-formed")])
def test_tables_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    assert words in complaint(tmp_path)


def test_a_table_as_spreadsheets_save_it_is_read(tmp_path: Path) -> None:
    table(tmp_path, ROWS)
    text = "\ufeff" + "\r\n".join(",".join(row) for row in [["path", "split", "kind"], *ROWS]) + "\r\n\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode())
    assert len(read(tmp_path).rows) == 6


def test_class_folders_hold_no_other_tasks(tmp_path: Path) -> None:
    folders(tmp_path)
    assert "one task, label" in complaint(tmp_path, tasks={"colour": {}})
    assert "multi" in complaint(tmp_path, tasks={"label": {"kind": "multi"}})


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="the photographs, ../shared/data/clothing, are not here")
def test_the_photographs_of_clothes_are_read_both_ways() -> None:
    by_folder = read(CLOTHING)
    by_table = read(CLOTHING, layout="labels_csv", columns={"group": "sender_id"}, tasks={"type": {}})
    assert by_folder.rows["split"].value_counts().to_dict() == {"train": 3068, "val": 341, "test": 372}
    assert by_folder.rows["path"].tolist() == by_table.rows["path"].tolist()
    assert by_folder.rows["label"].tolist() == by_table.rows["type"].tolist()
    assert by_table.rows["group"].notna().all()
