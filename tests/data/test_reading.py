"""Folders of labelled images, well and badly arranged; each fault is said once, with its place and its cure."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from garments import indexed, validated
from PIL import Image

from components.data.dataset import Dataset
from components.data.reading import LAYOUTS, Listing, read_listing
from components.data.settings import Data, Layout
from components.errors import UserError
from components.ports import existing

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


def complaint(root: Path, /, **data: object) -> str:
    with pytest.raises(UserError) as caught:
        read_listing(root, Data.model_validate(data, strict=False))
    assert caught.value.remedy
    assert "\n" not in caught.value.cause
    return caught.value.cause


def remedy(root: Path, /, **data: object) -> str:
    with pytest.raises(UserError) as caught:
        read_listing(root, Data.model_validate(data, strict=False))
    return caught.value.remedy


def read(root: Path, /, **data: object) -> Listing:
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
    (lambda root: os.remove(root / "val" / "dog" / "1.jpg"), "class folders without images: val/dog"),
    (lambda root: os.removedirs(one_empty(root / "val" / "dog")), "class dog of task label has no image in val"),
    (lambda root: image(root / "val" / "cow" / "1.jpg"), "class cow of task label has no image in train"),
    (lambda root: image(root / "val" / "dogs" / "1.jpg"), "no image in train Did you mean 'dog'?"),
    (lambda root: (root / "test").rename(root / "tests"), "no image belongs to split test yet"),
    (lambda root: (root / "test").rename(root / "tests"), "folders that are no split are left out: tests/"),
    (lambda root: (root / "val").rename(root / "Validation"), "Validation is read as split val"),
])
def test_oddly_arranged_folders_are_read_and_told_of(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folders(tmp_path)
    spoil(tmp_path)
    assert words in " ".join(read(tmp_path).notes)


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda root: image(root / "train" / "stray.jpg"), "train/stray.jpg"),
    (lambda root: image(root / "validation" / "dog" / "1.jpg"), "val and validation both stand for split val"),
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
    assert "file is of no known layout; it is a file" in complaint(image(tmp_path / "file"))
    (tmp_path / "void").mkdir()
    assert "there is nothing" in complaint(tmp_path / "void")
    image(tmp_path / "loose" / "photos" / "1.jpg")
    assert "there are photos/ (1 files)" in complaint(tmp_path / "loose")
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
    assert listing.notes == ("class cow of task kind has no image in train",
                             "class cow of task kind has no image in val")


@pytest.mark.parametrize(("rows", "words"), [
    ([["gone.jpg", "train", "cat"]], "1 of 7 files are not there: gone.jpg"),
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
    ("path,split,kind", {"columns": {"group": "knd"}}, "data.columns has knd for group"),
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
def test_a_split_without_rows_is_left_to_index(tmp_path: Path, split: str) -> None:
    table(tmp_path, [row for row in ROWS if row[1] != split])
    assert f"no image belongs to split {split} yet: index makes it" in read(tmp_path).notes


def test_rows_without_a_split_come_last_and_other_spellings_of_splits_are_told(tmp_path: Path) -> None:
    rows = [["b.jpg", "", "cat"], ["a.jpg", " ", "dog"], ["v.jpg", "Valid", "dog"], ["t.jpg", "train", "cat"]]
    listing = read(table(tmp_path, rows))
    assert listing.rows[["path", "split"]].values.tolist() == [["t.jpg", "train"], ["v.jpg", "val"], ["a.jpg", ""],
                                                               ["b.jpg", ""]]
    assert "split 'Valid' of labels.csv is read as val" in listing.notes
    assert "2 images belong to no split yet: index assigns them" in listing.notes


def test_a_table_without_a_column_of_splits_is_all_unassigned(tmp_path: Path) -> None:
    listing = read(table(tmp_path, [[row[0], row[2]] for row in ROWS], "path,kind"))
    assert set(listing.rows["split"]) == {""}


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
    assert "data.layout: labels_csv" in remedy(tmp_path, tasks={"label": {}, "colour": {}})


@pytest.mark.skipif(not CLOTHING.is_dir(), reason="the photographs, ../shared/data/clothing, are not here")
def test_the_photographs_of_clothes_are_read_both_ways() -> None:
    by_folder = read(CLOTHING)
    by_table = read(CLOTHING, layout="labels_csv", columns={"group": "sender_id"}, tasks={"type": {}})
    assert by_folder.rows["split"].value_counts().to_dict() == {"train": 3068, "val": 341, "test": 372}
    assert by_folder.rows["path"].tolist() == by_table.rows["path"].tolist()
    assert by_folder.rows["label"].tolist() == by_table.rows["type"].tolist()
    assert by_table.rows["group"].notna().all()


def pixels(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (shade, 0, 0)).save(path, "PNG")
    return path


def test_class_folders_without_splits_belong_to_none(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "deep" / "1.jpg")
    image(tmp_path / "dog" / "1.jpg")
    listing = read(tmp_path)
    assert listing.layout == "class_folders"
    assert listing.rows[["path", "split", "label"]].values.tolist() == [["cat/deep/1.jpg", "", "cat"],
                                                                        ["dog/1.jpg", "", "dog"]]
    image(tmp_path / "stray.jpg")
    assert "stray.jpg: they have no label" in complaint(tmp_path)


def test_one_image_in_several_class_folders_is_one_sample_of_several_labels(tmp_path: Path) -> None:
    for place, shade in [("train/red/a", 1), ("train/round/b", 1), ("train/red/c", 2), ("val/red/d", 3),
                         ("test/round/e", 3), ("val/round/f", 4), ("train/red/g", 2)]:
        pixels(tmp_path / f"{place}.png", shade)
    listing = read(tmp_path, tasks={"label": {"kind": "multi"}})
    assert listing.rows[["path", "split", "label"]].values.tolist() == [
        ["train/red/a.png", "train", "red|round"], ["train/red/c.png", "train", "red"],
        ["val/round/f.png", "val", "round"], ["val/red/d.png", "test", "red|round"]]
    assert any("1 images lie in several splits" in note and "val/red/d.png" in note for note in listing.notes)
    assert any("1 files are copies" in note and "train/red/g.png" in note for note in listing.notes)
    assert len(read(tmp_path).rows) == 7
    (tmp_path / "train" / "red").rename(tmp_path / "train" / "red|dark")
    assert "stands between labels" in complaint(tmp_path, tasks={"label": {"kind": "multi"}})


def test_classes_that_are_numbers_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    for number in range(12):
        image(tmp_path / str(number) / "1.jpg")
    assert read(tmp_path).tasks[0].classes == tuple(str(number) for number in range(12))


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere" / "1.jpg")
    folders(tmp_path / "raw")
    (tmp_path / "raw" / "train" / "cow").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw" / "train" / "cat" / "loop").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "val" / "dog" / "self.jpg").symlink_to("self.jpg")
    listing = read(tmp_path / "raw")
    assert "train/cow/1.jpg" in set(listing.rows["path"])
    assert "val/dog/self.jpg" in set(listing.rows["path"])  # for validate to name
    assert len(listing.rows) == 8
    assert any("links lead back" in note and "train/cat/loop" in note for note in listing.notes)


def test_a_knot_of_links_comes_to_an_end(tmp_path: Path) -> None:
    folders(tmp_path)
    for number in range(6):
        place = image(tmp_path / "train" / "cat" / str(number) / "1.jpg").parent
        for other in range(6):
            (place / f"to{other}").symlink_to(tmp_path / "train" / "cat" / str(other))
    listing = read(tmp_path)
    assert any("links deep and are not followed" in note for note in listing.notes)
    assert len(listing.rows) == 6 + 6 * (1 + 5 + 5 * 4 + 5 * 4 * 3)


def test_pipes_and_sockets_are_listed_and_never_opened(tmp_path: Path) -> None:
    folders(tmp_path)
    os.mkfifo(tmp_path / "train" / "cat" / "pipe")
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.jpg")
    assert {"train/cat/pipe", "train/cat/pipe.jpg"} <= set(read(tmp_path).rows["path"])


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "dog" and Path(path).parent.name == "val":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    folders(tmp_path)
    monkeypatch.setattr(os, "scandir", closed)
    notes = read(tmp_path).notes
    assert "1 folders cannot be opened and are left out: val/dog/ (Permission denied)" in notes


def test_names_with_known_suffixes_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opened"))
    assert len(read(tmp_path).rows) == 6


def test_what_lies_in_s3_is_told_to_be_elsewhere() -> None:
    assert "data.path is s3://bucket/prefix, which is not on this machine" in complaint(Path("s3://bucket/prefix"))
    with pytest.raises(UserError, match="source is s3://bucket/prefix, which is not on this machine"):
        existing(Path("s3://bucket/prefix"), "source")


def test_the_layouts_of_the_settings_are_those_that_are_read() -> None:
    assert set(get_args(Layout)) == {"auto", *LAYOUTS}


def test_root_is_refused_where_paths_cannot_begin_elsewhere(tmp_path: Path) -> None:
    assert "data.root is elsewhere" in complaint(folders(tmp_path), root="elsewhere")


def test_a_table_may_lie_apart_from_its_images(tmp_path: Path) -> None:
    table(tmp_path / "raw", ROWS)
    (tmp_path / "raw" / "labels.csv").rename(tmp_path / "labels.csv")
    assert len(read(tmp_path, root=str(tmp_path / "raw")).rows) == 6


@pytest.mark.parametrize("layout", ["folders", "labels_csv"])
def test_regression_15_every_file_is_read_once_in_one_order_whatever_the_file_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    names = [*ODD, *(f"{number}.jpg" for number in range(20))]
    if layout == "folders":
        folders(tmp_path, ["b c", "a,d"])
        expected = {f"{split}/{kind}/1.jpg" for split in SPLITS for kind in ("b c", "a,d")}
        expected |= {f"train/b c/{name}" for name in names}
        for name in names:
            image(tmp_path / "train" / "b c" / name)
    else:
        table(tmp_path, [*ROWS, *([f"x y/{name}", "train", "cat"] for name in names)])
        expected = {row[0] for row in ROWS} | {f"x y/{name}" for name in names}
    first = read(tmp_path).rows
    assert sorted(first["path"]) == sorted(expected)  # nothing is lost, nothing stands there twice
    order = [(SPLITS.index(split), path.encode()) for split, path in zip(first["split"], first["path"], strict=True)]
    assert order == sorted(order)
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: Backwards(list(real(path))[::-1]))
    assert read(tmp_path).rows.equals(first)


class Backwards:
    """A folder as another file system would list it."""

    def __init__(self, entries: list["os.DirEntry[str]"]) -> None:
        self.entries = entries

    def __enter__(self) -> Iterator["os.DirEntry[str]"]:
        return iter(self.entries)

    def __exit__(self, *_: object) -> None:
        pass


def test_files_of_other_formats_and_without_a_suffix_are_listed_for_validate_to_name(tmp_path: Path) -> None:
    folders(tmp_path)
    for name in ("a.tga", "B.HEIC", "0f372e54a8d50ca1"):
        (tmp_path / "train" / "cat" / name).write_bytes(b"")
    (tmp_path / "train" / "README").write_text("beside the classes")
    assert {Path(path).name for path in read(tmp_path).rows["path"]} == {"1.jpg", "a.tga", "B.HEIC", "0f372e54a8d50ca1"}


def test_a_hostile_corpus_is_listed_whole() -> None:
    corpus = CLOTHING.parent / "bad-images"
    if not corpus.is_dir():
        pytest.skip("the corpus, ../shared/data/bad-images, is not here")
    with (corpus / "manifest.csv").open(newline="") as stream:
        expected = {row["path"] for row in csv.DictReader(stream)}
    listing = read(corpus)
    left = expected.difference(listing.rows["path"])
    assert len(expected) == 3917 and len(left) < 40, sorted({Path(path).suffix for path in left})


def test_regression_15_the_dataset_holds_every_file_once_and_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    names = ["a b.png", "comma,.png", "ü ß 猫.png", "=1.png", "#.png", "u\u0308.png", "ü.png", 'quo"te.png']
    for place, split in enumerate(SPLITS):
        for number, name in enumerate(names):
            target = tmp_path / "raw" / split / ("the cat", "dog,s")[number % 2] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(place * 100 + number)
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
            coarse.resize((48, 48), Image.Resampling.BICUBIC).save(target)
    expected = {path.relative_to(tmp_path / "raw").as_posix() for path in (tmp_path / "raw").rglob("*.png")}
    outputs = []
    for _ in range(2):
        validated(tmp_path, tmp_path / "raw")
        outputs.append(indexed(tmp_path, tmp_path / "raw")["outputs"])
        samples = Dataset.open(tmp_path / "dataset").samples
        assert sorted(samples["path"]) == sorted(expected) and len(expected) == 24
        assert samples["id"].is_unique
    assert outputs[0] == outputs[1]
