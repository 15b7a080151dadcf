"""A class folder that stands for no label, from the folder to what a listing says of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.reading import read_listing
from components.data.settings import Data, Task
from components.errors import UserError


def fill(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(root / name)
    return root


def test_images_of_the_folder_have_no_label_and_its_name_is_no_class(tmp_path):
    root = fill(tmp_path, "train/cat/1.png", "train/dog/2.png", "train/unknown/3.png", "val/cat/4.png",
                "val/dog/5.png", "val/unknown/6.png")
    found = read_listing(root, Data(unlabelled="unknown"))
    labels = dict(zip(found.rows["path"], found.rows["label"], strict=True))
    assert found.tasks[0].classes == ("cat", "dog")
    assert labels["train/unknown/3.png"] == labels["val/unknown/6.png"] == "" and labels["train/dog/2.png"] == "dog"
    assert "2 images of unknown have no label" in found.notes
    splits = dict(zip(found.rows["path"], found.rows["split"], strict=True))
    assert splits["val/unknown/6.png"] == "val", "a split that is given is kept"


def test_where_no_split_is_given_they_are_of_train(tmp_path):
    root = fill(tmp_path, "cat/1.png", "dog/2.png", "unknown/3.png")
    found = read_listing(root, Data(unlabelled="unknown"))
    rows = found.rows.set_index("path")
    assert rows.loc["unknown/3.png", "split"] == "train" and rows.loc["cat/1.png", "split"] == ""
    assert "1 images of unknown have no label; 1 that had no split are of train" in found.notes


def test_in_a_table_a_sample_may_lack_one_label_and_have_another(tmp_path):
    root = fill(tmp_path, "1.png", "2.png", "3.png")
    (root / "labels.csv").write_text("path,split,kind,colour\n1.png,train,cat,red\n2.png,,?,blue\n3.png,,?,?\n")
    found = read_listing(root, Data(unlabelled="?", tasks={"kind": Task(), "colour": Task()}))
    rows = found.rows.set_index("path")
    assert rows.loc["2.png", ["kind", "colour", "split"]].tolist() == ["", "blue", ""]
    assert rows.loc["3.png", ["kind", "colour", "split"]].tolist() == ["", "", "train"]
    assert [task.classes for task in found.tasks] == [("cat",), ("blue", "red")]


def test_a_folder_that_is_not_there_is_refused_with_the_one_that_was_meant(tmp_path):
    root = fill(tmp_path, "train/cat/1.png", "train/unknown/2.png")
    with pytest.raises(UserError, match=r"data\.unlabelled is unknwon, but no image .*Did you mean 'unknown'"):
        read_listing(root, Data(unlabelled="unknwon"))
