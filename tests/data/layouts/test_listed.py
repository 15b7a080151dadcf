"""List files as they are found in the wild: separators, quotes, spaces in names, line ends, numbers for labels."""

from pathlib import Path

import pytest

from components.data.reading import Listing, read_listing
from components.data.settings import Data
from components.errors import UserError

NAMES = ["a.jpg", "b c.jpg", "d,e.jpg", "deep/f g, h.jpg", "ü 猫.jpg", "i.jpg"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    return tmp_path


def read(source: Path, /, **data: object) -> Listing:
    return read_listing(source, Data.model_validate(data, strict=False))


def pairs(listing: Listing) -> dict[str, str]:
    return dict(zip(listing.rows["path"], listing.rows["label"], strict=True))


KINDS = dict(zip(sorted(NAMES), ["cat", "dog", "cat", "dog", "cow", "cat"], strict=True))


@pytest.mark.parametrize("separator", [" ", "\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_last_separator_parts_path_and_label(root: Path, separator: str, end: str, prefix: str, mark: str) -> None:
    text = mark + end.join(f"{prefix}{name}{separator}{kind}" for name, kind in KINDS.items()) + end + end
    (root / "train.txt").write_bytes(text.encode())
    listing = read(root)
    assert pairs(listing) == KINDS
    assert listing.layout == "lists" and set(listing.rows["split"]) == {"train"}


def test_quoted_csv_with_a_head_is_read(root: Path) -> None:
    lines = ["path,label", *(f'"{name}",{kind}' for name, kind in KINDS.items())]
    (root / "val.csv").write_text("\n".join(lines))
    assert pairs(read(root)) == KINDS


def test_absolute_paths_below_the_folder_are_paths_too(root: Path) -> None:
    (root / "train.txt").write_text("".join(f"{root}/{name}\t{kind}\n" for name, kind in KINDS.items()))
    assert pairs(read(root)) == KINDS


@pytest.mark.parametrize("end", ["", " "])
def test_a_list_of_paths_alone_has_no_labels(root: Path, end: str) -> None:
    (root / "train.txt").write_text("a.jpg cat\nb c.jpg dog\n")
    (root / "test.txt").write_text(f"deep/f g, h.jpg{end}\nd,e.jpg{end}\n")
    assert pairs(read(root)) == {"a.jpg": "cat", "b c.jpg": "dog", "d,e.jpg": "", "deep/f g, h.jpg": ""}


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_numbers_stand_for_the_lines_of_classes_txt_and_keep_their_order(root: Path, name: str) -> None:
    (root / name).write_text("zebra\nyellow cat\nx-ray\n")
    (root / "train.txt").write_text("a.jpg 1\nb c.jpg 0\ni.jpg 1\n")
    listing = read(root)
    assert pairs(listing) == {"a.jpg": "yellow cat", "b c.jpg": "zebra", "i.jpg": "yellow cat"}
    assert listing.tasks[0].classes == ("zebra", "yellow cat")
    assert "classes of task label that no image has are left out: x-ray" in listing.notes


def test_numbers_without_names_are_classes_in_the_order_of_their_values(root: Path) -> None:
    (root / "train.txt").write_text("a.jpg 10\nb c.jpg 9\ni.jpg 1\n")
    assert read(root).tasks[0].classes == ("1", "9", "10")


def test_a_number_sign_begins_no_comment(root: Path) -> None:
    (root / "#1.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "train.txt").write_text("#1.jpg cat\na.jpg dog\n")
    assert pairs(read(root)) == {"#1.jpg": "cat", "a.jpg": "dog"}


def test_images_in_no_list_are_counted(root: Path) -> None:
    (root / "train.txt").write_text("a.jpg cat\nb c.jpg dog\n")
    (root / "validation.txt").write_text("i.jpg dog\n")
    notes = read(root).notes
    assert any(note.startswith("3 images stand in no list and are left out") for note in notes)
    assert "validation.txt is read as split val" in notes


def test_labels_of_a_list_may_be_several(root: Path) -> None:
    (root / "train.txt").write_text("a.jpg red|round\nb c.jpg red\n")
    listing = read(root, tasks={"label": {"kind": "multi"}})
    assert listing.tasks[0].classes == ("red", "round")


@pytest.mark.parametrize(("text", "words"), [
    ("data/raw/a.jpg cat\ndata/raw/i.jpg dog\n", "0 of 2 paths are files below"),
    ("data/raw/a.jpg cat\ndata/raw/i.jpg dog\n", "'data/raw/a.jpg' is not: without data/raw/ it would be"),
    ("a.jpg cat\ngone.jpg dog\ni.jpg dog\n", "2 of 3 paths are files below"),
    ("a.jpg cat\n../secret.jpg dog\n", "'../secret.jpg' is not"),
    ("a.jpg cat\n/etc/passwd dog\n", "'/etc/passwd' is not"),
    ("a.jpg cat\ndeep\\f g, h.jpg dog\n", "with / for \\ it would be"),
    ("a.jpg cat\n\u0075\u0308 猫.jpg dog\n", "in the Unicode form NFC it would be"),
    ("a.jpg cat\n./a.jpg dog\n", "1 entries stand there more than once: a.jpg"),
    ("a.jpg\ni.jpg\n", "task label has no label"),
])
def test_paths_that_are_no_files_fail_loudly(root: Path, text: str, words: str) -> None:
    (root / "train.txt").write_text(text)
    with pytest.raises(UserError) as caught:
        read(root)
    assert words in caught.value.cause and caught.value.remedy


def test_a_path_in_two_lists_or_two_lists_of_a_split_are_refused(root: Path) -> None:
    (root / "train.txt").write_text("a.jpg cat\n")
    (root / "val.txt").write_text("a.jpg cat\n")
    with pytest.raises(UserError, match=r"more than once: a\.jpg"):
        read(root)
    (root / "val.txt").rename(root / "train.csv")
    with pytest.raises(UserError, match="all lists of split train"):
        read(root)


def test_a_label_that_classes_txt_does_not_know_is_refused(root: Path) -> None:
    (root / "classes.txt").write_text("cat\ndog\n")
    for label, words in (("dgo", "Did you mean 'dog'"), ("2", "a number below 2")):
        (root / "train.txt").write_text(f"a.jpg cat\ni.jpg {label}\n")
        with pytest.raises(UserError, match=words):
            read(root)


def test_lists_may_lie_apart_from_their_images(root: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.tsv").write_text("a.jpg\tcat\nb c.jpg\tdog\n")
    listing = read(tmp_path / "lists", root=str(root))
    assert pairs(listing) == {"a.jpg": "cat", "b c.jpg": "dog"}
