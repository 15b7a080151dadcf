"""Folders of tasks: every image once, with the labels of all tasks that it lies under."""

from pathlib import Path

import pytest
from PIL import Image

from components.data.reading import Listing, read_listing
from components.data.settings import Data
from components.errors import UserError


def image(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (shade, 0, 0)).save(path, "PNG")


def tree(root: Path, **shades: dict[str, int]) -> Path:
    """Images by task and place below it; the shade makes the content."""
    for task, places in shades.items():
        for place, shade in places.items():
            image(root / task / f"{place}.png", shade)
    return root


def read(root: Path, /, **data: object) -> Listing:
    return read_listing(root, Data.model_validate(data, strict=False))


def test_tasks_and_classes_are_folders_and_equal_images_are_joined(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "train/blue/2": 2, "val/red/3": 3},
         shape={"train/round/x": 2, "train/flat/y": 4, "val/flat/z": 3, "val/round/deep/w": 5})
    listing = read(tmp_path)
    assert listing.layout == "task_folders"
    assert [(task.name, task.classes) for task in listing.tasks] == [("colour", ("blue", "red")),
                                                                     ("shape", ("flat", "round"))]
    assert listing.rows[["path", "split", "colour", "shape"]].values.tolist() == [
        ["colour/train/blue/2.png", "train", "blue", "round"], ["colour/train/red/1.png", "train", "red", ""],
        ["shape/train/flat/y.png", "train", "", "flat"], ["colour/val/red/3.png", "val", "red", "flat"],
        ["shape/val/round/deep/w.png", "val", "", "round"]]
    assert "no image belongs to split test yet: index makes it" in listing.notes


def test_an_image_of_train_in_one_task_and_of_val_in_another_is_scored_and_not_learnt_from(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "train/blue/2": 2, "val/red/3": 3},
         shape={"val/round/x": 1, "train/flat/y": 4, "val/flat/w": 5})
    listing = read(tmp_path)
    row = listing.rows[listing.rows["path"] == "colour/train/red/1.png"].iloc[0]
    assert (row["split"], row["colour"], row["shape"]) == ("val", "red", "round")
    assert any("1 images lie in several splits" in note and "colour/train/red/1.png" in note for note in listing.notes)


def test_contradicting_labels_of_one_image_stay_apart_for_validate_to_name(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "train/blue/2": 1, "val/red/3": 3, "val/blue/4": 4})
    assert len(read(tmp_path).rows) == 4


def test_a_task_of_several_labels_joins_them(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "train/blue/2": 1, "val/red/3": 3, "val/blue/4": 4})
    listing = read(tmp_path, tasks={"colour": {"kind": "multi"}})
    assert sorted(listing.rows["colour"]) == ["blue", "blue|red", "red"]


def test_what_differs_between_splits_and_tasks_is_told(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "Valid/red/3": 3, "Valid/green/4": 4}, shape={"val/flat/w": 5},
         other={"cat/1": 9})
    notes = " / ".join(read(tmp_path).notes)
    assert "colour/Valid is read as split val" in notes
    assert "class green of task colour has no image in train" in notes
    assert "task shape has no images of train" in notes
    assert "left out: other/" in notes


def test_tasks_may_be_chosen_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "val/red/3": 3}, shape={"train/flat/w": 5})
    listing = read(tmp_path, tasks={"colour": {}})
    assert [task.name for task in listing.tasks] == ["colour"] and len(listing.rows) == 2
    with pytest.raises(UserError, match="Did you mean 'colour'"):
        read(tmp_path, tasks={"color": {}})


def test_a_task_that_no_column_can_be_called_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, **{"the colour": {"train/red/1": 1, "val/red/3": 3}})
    with pytest.raises(UserError, match="'the colour' is no usable task name"):
        read(tmp_path)


def test_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "train/stray": 3})
    with pytest.raises(UserError, match=r"colour/train/stray\.png: they have no label"):
        read(tmp_path)


def test_links_to_one_file_count_as_one_image_without_being_read(tmp_path: Path) -> None:
    tree(tmp_path, colour={"train/red/1": 1, "val/red/3": 3}, shape={"train/flat/w": 5})
    (tmp_path / "shape" / "train" / "flat" / "link.png").symlink_to(tmp_path / "colour" / "train" / "red" / "1.png")
    listing = read(tmp_path)
    assert dict(zip(listing.rows["path"], listing.rows["shape"], strict=True))["colour/train/red/1.png"] == "flat"
