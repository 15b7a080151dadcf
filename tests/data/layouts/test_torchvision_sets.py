"""Data sets as torchvision keeps them: small ones on disk are read as torchvision's own classes read them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from components.data.reading import Listing, read_listing
from components.data.settings import Data
from components.errors import UserError

Oracle = dict[str, tuple[str, str]]  # relative path -> (split, label)


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2)).save(path, "JPEG")


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(autouse=True)
def any_bytes_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flowers102", "celeba", "places365"):
        monkeypatch.setattr(f"torchvision.datasets.{name}.check_integrity", lambda *_, **__: True)


def read(root: Path, /, **data: object) -> Listing:
    return read_listing(root, Data.model_validate(data, strict=False))


def labels(listing: Listing, task: str = "label") -> Oracle:
    rows = listing.rows
    return dict(zip(rows["path"], zip(rows["split"], rows[task], strict=True), strict=True))


def oracle(root: Path, files: Sequence[Any], numbers: Sequence[int], names: Sequence[str], split: str) -> Oracle:
    return {Path(file).relative_to(root).as_posix(): (split, names[number])
            for file, number in zip(files, numbers, strict=True)}


def food101(root: Path) -> None:
    base = root / "food-101"
    for split, numbers in (("train", (1, 2)), ("test", (3,))):
        named = {kind: [f"{kind}/{number}" for number in numbers] for kind in ("waffles", "pho")}
        write(base / "meta" / f"{split}.json", json.dumps(named))
        for kind in ("waffles", "pho"):
            for number in numbers:
                image(base / "images" / kind / f"{number}.jpg")


def test_food101(tmp_path: Path) -> None:
    food101(tmp_path)
    expected: Oracle = {}
    for split in ("train", "test"):
        theirs = datasets.Food101(tmp_path, split)
        expected |= oracle(tmp_path, theirs._image_files, theirs._labels, theirs.classes, split)
    listing = read(tmp_path)
    assert labels(listing) == expected
    assert listing.layout == "torchvision" and "it is the data set Food101" in listing.notes
    assert len(read(tmp_path / "food-101").rows) == len(expected)


def flowers102(root: Path) -> None:
    base = root / "flowers-102"
    for number in range(1, 7):
        image(base / "jpg" / f"image_{number:05d}.jpg")
    savemat(base / "imagelabels.mat", {"labels": np.array([[3, 1, 3, 102, 1, 3]])})
    savemat(base / "setid.mat", {"trnid": [[6, 2]], "valid": [[5]], "tstid": [[1, 3, 4]]})


@pytest.mark.filterwarnings("ignore")
def test_flowers102(tmp_path: Path) -> None:
    flowers102(tmp_path)
    expected: Oracle = {}
    for split in ("train", "test"):  # torchvision cannot open a split of a single image
        theirs = datasets.Flowers102(tmp_path, split)
        expected |= oracle(tmp_path, theirs._image_files, theirs._labels, theirs.classes, split)
    listing = read(tmp_path)
    expected["flowers-102/jpg/image_00005.jpg"] = ("val", "pink primrose")
    assert labels(listing) == expected
    assert listing.tasks[0].classes == ("pink primrose", "canterbury bells", "blackberry lily")


def dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    for kind in ("banded", "woven"):
        for number in range(4):
            image(base / "images" / kind / f"{kind}_{number:04d}.jpg")
    for partition, shift in (("1", 0), ("7", 1)):
        for place, split in enumerate(("train", "val", "test")):
            number = (place + shift) % 4
            write(base / "labels" / f"{split}{partition}.txt",
                  *(f"{kind}/{kind}_{number:04d}.jpg" for kind in ("woven", "banded")))


@pytest.mark.parametrize("partition", [1, 7])
def test_dtd(tmp_path: Path, partition: int) -> None:
    dtd(tmp_path)
    expected: Oracle = {}
    for split in ("train", "val", "test"):
        theirs = datasets.DTD(tmp_path, split, partition)
        expected |= oracle(tmp_path, theirs._image_files, theirs._labels, theirs.classes, split)
    assert labels(read(tmp_path, variant=str(partition))) == expected
    with pytest.raises(UserError, match=r"data\.variant is '11'"):
        read(tmp_path, variant="11")


def aircraft(root: Path) -> None:
    base = root / "fgvc-aircraft-2013b" / "data"
    planes = {"1": ("747-400", "Boeing 747", "Boeing"), "2": ("A310", "A310", "Airbus"),
              "3": ("An-12", "An-12", "Antonov"), "4": ("747-400", "Boeing 747", "Boeing")}
    splits = {"train": ("1", "2"), "val": ("3",), "test": ("4",), "trainval": ("1", "2", "3")}
    for name in planes:
        image(base / "images" / f"{name}.jpg")
    for place, (task, file) in enumerate([("variant", "variants"), ("family", "families"),
                                          ("manufacturer", "manufacturers")]):
        write(base / f"{file}.txt", *sorted({plane[place] for plane in planes.values()}, reverse=True))
        for split, names in splits.items():
            write(base / f"images_{task}_{split}.txt", *(f"{name} {planes[name][place]}" for name in names))


@pytest.mark.parametrize("level", ["variant", "family", "manufacturer"])
def test_fgvc_aircraft(tmp_path: Path, level: str) -> None:
    aircraft(tmp_path)
    expected: Oracle = {}
    for split in ("train", "val", "test"):
        theirs = datasets.FGVCAircraft(tmp_path, split, level)
        expected |= oracle(tmp_path, theirs._image_files, theirs._labels, theirs.classes, split)
    listing = read(tmp_path)
    assert [task.name for task in listing.tasks] == ["variant", "family", "manufacturer"]
    assert labels(listing, level) == expected
    only = read(tmp_path, tasks={level: {}})
    assert [(task.name, task.classes) for task in only.tasks] == [(level, tuple(theirs.classes))]
    with pytest.raises(UserError, match="Did you mean 'family'"):
        read(tmp_path, tasks={"famly": {}})


def pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    lines = {"trainval": ["great_pyrenees_1 2 2 1", "Abyssinian_9 1 1 1"], "test": ["Abyssinian_10 1 1 1",
                                                                                   "great_pyrenees_2 2 2 1"]}
    for split, rows in lines.items():
        write(base / "annotations" / f"{split}.txt", *rows)
        for row in rows:
            image(base / "images" / f"{row.split()[0]}.jpg")


def test_oxford_pets(tmp_path: Path) -> None:
    pets(tmp_path)
    breeds: Oracle = {}
    species: Oracle = {}
    for split, ours in (("trainval", "train"), ("test", "test")):
        theirs = datasets.OxfordIIITPet(tmp_path, split)
        breeds |= oracle(tmp_path, theirs._images, theirs._labels, theirs.classes, ours)
        species |= oracle(tmp_path, theirs._images, theirs._bin_labels, theirs.bin_classes, ours)
    listing = read(tmp_path)
    assert labels(listing, "breed") == breeds and labels(listing, "species") == species
    assert listing.tasks[0].classes == ("Abyssinian", "Great Pyrenees")


def celeba(root: Path) -> None:
    base = root / "celeba"
    names = [f"{number:06d}.jpg" for number in range(1, 7)]
    for name in names:
        image(base / "img_align_celeba" / name)
    values = [[1, -1, 1], [-1, 1, -1], [1, 1, 1], [-1, -1, 1], [-1, -1, -1], [1, 1, -1]]
    write(base / "list_attr_celeba.txt", "6", "Bald Smiling Young ",
          *(f"{name}  {' '.join(f'{value:2d}' for value in row)}" for name, row in zip(names, values, strict=True)))
    write(base / "list_eval_partition.txt", *(f"{name} {number // 2}" for number, name in enumerate(names)))
    write(base / "identity_CelebA.txt", *(f"{name} {number % 2 + 7}" for number, name in enumerate(names)))
    for file, columns in (("list_bbox_celeba.txt", 4), ("list_landmarks_align_celeba.txt", 10)):
        write(base / file, "6", " ".join("x" * columns), *(f"{name} {' '.join('1' * columns)}" for name in names))


def test_celeba(tmp_path: Path) -> None:
    celeba(tmp_path)
    listing = read(tmp_path)
    assert [(task.name, task.kind, task.classes) for task in listing.tasks] == [
        ("attributes", "multi", ("Bald", "Smiling", "Young"))]
    rows = listing.rows.set_index("path")
    for split, ours in (("train", "train"), ("valid", "val"), ("test", "test")):
        theirs = datasets.CelebA(tmp_path, split, ["attr", "identity"])
        names = [name for name in theirs.attr_names if name]
        assert len(theirs) == (rows["split"] == ours).sum()
        for name, values, identity in zip(theirs.filename, theirs.attr, theirs.identity, strict=True):
            row = rows.loc[f"celeba/img_align_celeba/{name}"]
            true = [attribute for attribute, value in zip(names, values, strict=True) if value]
            assert (row["split"], row["attributes"], row["identity"]) == (ours, "|".join(true), str(int(identity)))
    assert "1 images have none of the attributes and count as not labelled" in listing.notes


def cars(root: Path) -> None:
    base = root / "stanford_cars"
    kinds = np.array([("a.jpg", 2), ("b.jpg", 1)], dtype=[("fname", object), ("class", object)])
    for split in ("train", "test"):
        image(base / f"cars_{split}" / "a.jpg")
        image(base / f"cars_{split}" / "b.jpg")
    (base / "devkit").mkdir()
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array([["AM Hummer", "Acura RL"]], dtype=object)})
    savemat(base / "devkit" / "cars_train_annos.mat", {"annotations": kinds})
    bare = np.array([("a.jpg",), ("b.jpg",)], dtype=[("fname", object)])
    savemat(base / "devkit" / "cars_test_annos.mat", {"annotations": bare})
    savemat(base / "cars_test_annos_withlabels.mat", {"annotations": kinds[::-1]})


def test_stanford_cars(tmp_path: Path) -> None:
    cars(tmp_path)
    expected: Oracle = {}
    for split in ("train", "test"):
        theirs = datasets.StanfordCars(tmp_path, split)
        files, numbers = zip(*theirs._samples, strict=True)
        expected |= oracle(tmp_path, files, numbers, theirs.classes, split)
    assert labels(read(tmp_path)) == expected
    (tmp_path / "stanford_cars" / "cars_test_annos_withlabels.mat").unlink()
    listing = read(tmp_path)
    assert [label for split, label in labels(listing).values() if split == "test"] == ["", ""]
    assert any("have no labels" in note for note in listing.notes)


def sun397(root: Path) -> None:
    base = root / "SUN397"
    write(base / "ClassName.txt", "/a/abbey", "/b/bar/indoor", "/b/bar/outdoor")
    for place in ("a/abbey", "b/bar/outdoor", "b/bar/indoor"):
        image(base / place / "sun_aaa.jpg")
    image(base / "a" / "abbey" / "other.jpg")


def test_sun397(tmp_path: Path) -> None:
    sun397(tmp_path)
    theirs = datasets.SUN397(tmp_path)
    listing = read(tmp_path)
    assert labels(listing) == oracle(tmp_path, theirs._image_files, theirs._labels, theirs.classes, "")
    assert listing.tasks[0].classes == tuple(theirs.classes)


def places365(root: Path) -> None:
    write(root / "categories_places365.txt", "/a/airfield 0", "/b/bar 1", "/b/bar/wine 2")
    trained = ["/b/bar/wine/1.jpg 2", "/a/airfield/1.jpg 0", "/b/bar/2.jpg 1"]
    write(root / "places365_train_standard.txt", *trained)
    write(root / "places365_val.txt", "v1.jpg 1", "v2.jpg 0")
    write(root / "places365_test.txt", "t1.jpg")
    for line in trained:
        image(root / f"data_256_standard{line.split()[0]}")
    for name in ("val_256/v1.jpg", "val_256/v2.jpg", "test_256/t1.jpg"):
        image(root / name)


def test_places365(tmp_path: Path) -> None:
    places365(tmp_path)
    expected: Oracle = {"test_256/t1.jpg": ("test", "")}
    for split, ours in (("train-standard", "train"), ("val", "val")):
        theirs = datasets.Places365(tmp_path, split, small=True)
        files, numbers = zip(*theirs.imgs, strict=True)
        names = [name.lstrip("/") for name in sorted(theirs.class_to_idx, key=theirs.class_to_idx.__getitem__)]
        expected |= oracle(tmp_path, files, numbers, names, ours)
    assert labels(read(tmp_path)) == expected


def caltech101(root: Path) -> None:
    for name in ("BACKGROUND_Google", "ant", "Faces"):
        for number in (1, 2):
            image(root / "caltech101" / "101_ObjectCategories" / name / f"image_{number:04d}.jpg")


def test_caltech101(tmp_path: Path) -> None:
    caltech101(tmp_path)
    theirs = datasets.Caltech101(tmp_path)
    named = [(theirs.categories[y], index) for y, index in zip(theirs.y, theirs.index, strict=True)]
    expected = {f"caltech101/101_ObjectCategories/{name}/image_{index:04d}.jpg": ("", name) for name, index in named}
    listing = read(tmp_path)
    assert labels(listing) == expected
    assert "2 images of BACKGROUND_Google are left out" in listing.notes


def eurosat(root: Path) -> None:
    for name in ("Forest", "River"):
        image(root / "eurosat" / "2750" / name / f"{name}_1.jpg")


def test_eurosat(tmp_path: Path) -> None:
    eurosat(tmp_path)
    theirs = datasets.EuroSAT(tmp_path)
    files, numbers = zip(*theirs.samples, strict=True)
    assert labels(read(tmp_path)) == oracle(tmp_path, files, numbers, theirs.classes, "")


def country211(root: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in ("AD", "ZW"):
            image(root / "country211" / split / name / "1.jpg")


@pytest.mark.parametrize("inside", ["", "country211"])
def test_country211(tmp_path: Path, inside: str) -> None:
    country211(tmp_path)
    expected: Oracle = {}
    for split, ours in (("train", "train"), ("valid", "val"), ("test", "test")):
        theirs = datasets.Country211(tmp_path, split)
        files, numbers = zip(*theirs.samples, strict=True)
        expected |= oracle(tmp_path / inside, files, numbers, theirs.classes, ours)
    assert labels(read(tmp_path / inside)) == expected


@pytest.mark.parametrize(("build", "spoil", "words"), [
    (food101, "food-101/images/pho/2.jpg", "1 of 6 images of Food101 are not there"),
    (dtd, "dtd/dtd/labels/val1.txt", "val1.txt cannot be read"),
    (pets, "oxford-iiit-pet/images/Abyssinian_9.jpg", "1 of 4 images of OxfordIIITPet"),
])
def test_a_data_set_that_is_not_whole_is_refused(
    tmp_path: Path, build: Callable[[Path], None], spoil: str, words: str
) -> None:
    build(tmp_path)
    (tmp_path / spoil).unlink()
    with pytest.raises(UserError, match=words):
        read(tmp_path)
