"""How each data set that torchvision knows says which image is of which split and class.

Every reader takes the folder of its data set and returns paths relative to it. The order of classes is torchvision's.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.dataset import SPLITS
from components.data.files import walk
from components.data.layouts import folders
from components.data.layouts.found import SEPARATOR, Found
from components.data.settings import Data
from components.errors import UserError
from components.settings import shown

Reader = Callable[[Path, Data], Found]
Rows = list[tuple[str, ...]]


def frame(rows: Rows, *tasks: str) -> pd.DataFrame:
    """Rows of path, split and labels as a table."""
    return pd.DataFrame(rows, columns=["path", "split", *tasks], dtype=object)


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty; UserError where it cannot be read."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "unpack the data set again, whole") from None


def matlab(path: Path) -> dict[str, Any]:
    """The arrays of a MATLAB file (of a version before 7.3); UserError where it is none."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    try:
        found: dict[str, Any] = loadmat(path, squeeze_me=True)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be read: {error}", "unpack the data set again, whole") from None
    return found


def food101(base: Path, data: Data) -> Found:
    """Food-101: meta/train.json and meta/test.json hold the names of images by class."""
    rows: Rows = []
    for split in ("train", "test"):
        named: dict[str, list[str]] = json.loads((base / "meta" / f"{split}.json").read_text(encoding="utf-8"))
        rows += [(f"images/{name}.jpg", split, label) for label, names in named.items() for name in names]
    return Found(frame(rows, data.default_task), [])


def flowers102(base: Path, data: Data) -> Found:
    """Flowers-102: imagelabels.mat numbers the class of every image, setid.mat the images of every split."""
    labels, sets = np.atleast_1d(matlab(base / "imagelabels.mat")["labels"]), matlab(base / "setid.mat")
    notes: list[str] = []
    names = flower_names(notes)
    rows: Rows = [(f"jpg/image_{number:05d}.jpg", split, names[labels[number - 1] - 1])
                  for split, key in zip(SPLITS, ("trnid", "valid", "tstid"), strict=True)
                  for number in np.atleast_1d(sets[key]).tolist()]
    return Found(frame(rows, data.default_task), notes, {data.default_task: tuple(names)})


def flower_names(notes: list[str]) -> Sequence[str]:
    """The names of the 102 flowers, or their numbers where this torchvision does not know the names."""
    from torchvision.datasets import Flowers102

    names: Sequence[str] = getattr(Flowers102, "classes", ())
    if not names:
        notes.append("classes are numbers: this version of torchvision does not know the names of the flowers")
    return names or [str(number) for number in range(1, 103)]


def dtd(base: Path, data: Data) -> Found:
    """Describable Textures: labels/SPLIT + partition .txt with CLASS/NAME; data.variant says which partition."""
    partition = data.variant or "1"
    if partition not in {str(number) for number in range(1, 11)}:
        raise UserError(f"params.yaml: data.variant is {shown(partition)}; expected a partition of DTD, 1 to 10",
                        "correct it, or leave it out for 1")
    rows: Rows = [(f"images/{name}", split, name.partition("/")[0]) for split in SPLITS
                  for name in lines(base / "labels" / f"{split}{partition}.txt")]
    return Found(frame(rows, data.default_task), [f"the splits are those of partition {partition}: data.variant"])


def aircraft(base: Path, data: Data) -> Found:
    """FGVC-Aircraft: three tasks, variant, family and manufacturer; data/images_TASK_SPLIT.txt with NAME and class."""
    files = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
    labels: dict[tuple[str, str], dict[str, str]] = {}
    for task in files:
        for split in SPLITS:
            for line in lines(base / "data" / f"images_{task}_{split}.txt"):
                name, _, label = line.partition(" ")
                labels.setdefault((f"data/images/{name}.jpg", split), {})[task] = label
    rows: Rows = [(*key, *(said.get(task, "") for task in files)) for key, said in labels.items()]
    orders = {task: tuple(lines(base / "data" / f"{file}.txt")) for task, file in files.items()}
    return Found(frame(rows, *files), [], orders)


def pets(base: Path, data: Data) -> Found:
    """Oxford-IIIT Pet: two tasks, breed and species; annotations/SPLIT.txt with NAME, breed and species from 1."""
    rows: Rows = []
    breeds: dict[int, str] = {}
    for split, file in (("train", "trainval"), ("test", "test")):
        for line in lines(base / "annotations" / f"{file}.txt"):
            name, breed, species, *_ = line.split()
            label = " ".join(part.title() for part in name.rpartition("_")[0].split("_"))
            breeds[int(breed)] = label
            rows.append((f"images/{name}.jpg", split, label, ("Cat", "Dog")[int(species) - 1]))
    order = tuple(dict.fromkeys(breeds[number] for number in sorted(breeds)))
    return Found(frame(rows, "breed", "species"), [], {"breed": order, "species": ("Cat", "Dog")})


def celeba(base: Path, data: Data) -> Found:
    """CelebA: one task of 40 attributes, of which several are true, and the identity where the file of it is there."""
    notes: list[str] = []
    _, heads, *table = lines(base / "list_attr_celeba.txt")
    attributes = heads.split()
    splits = dict(line.split() for line in lines(base / "list_eval_partition.txt"))
    rows: Rows = []
    for line in table:
        name, *values = line.split()
        true = [attribute for attribute, value in zip(attributes, values, strict=True) if value == "1"]
        rows.append((f"img_align_celeba/{name}", SPLITS[int(splits[name])], SEPARATOR.join(true)))
    without = sum(not row[2] for row in rows)
    if without:
        notes.append(f"{without} images have none of the attributes and count as not labelled")
    whole = frame(rows, "attributes")
    known = base / "identity_CelebA.txt"
    if known.is_file():
        people = dict(line.split() for line in lines(known))
        whole["identity"] = [people.get(path.rpartition("/")[2], "") for path in whole["path"]]
    return Found(whole, notes, {"attributes": tuple(attributes)}, {"attributes": "multi"})


def cars(base: Path, data: Data) -> Found:
    """Stanford Cars: annotations of both splits in MATLAB files; those of test may lack the labels."""
    names = [str(name) for name in np.atleast_1d(matlab(base / "devkit" / "cars_meta.mat")["class_names"])]
    labelled, bare = base / "cars_test_annos_withlabels.mat", base / "devkit" / "cars_test_annos.mat"
    notes: list[str] = []
    rows = annotated(base / "devkit" / "cars_train_annos.mat", "train", names)
    if labelled.is_file():
        rows += annotated(labelled, "test", names)
    elif bare.is_file():
        rows += annotated(bare, "test", names)
        notes.append(f"{labelled.name} is not there: the images of test have no labels")
    return Found(frame(rows, data.default_task), notes, {data.default_task: tuple(names)})


def annotated(file: Path, split: str, names: Sequence[str]) -> Rows:
    """Path, split and class of every annotation of Stanford Cars; no class where the file has none."""
    table = np.atleast_1d(matlab(file)["annotations"])
    has = "class" in (table.dtype.names or ())
    return [(f"cars_{split}/{row['fname']}", split, names[int(row["class"]) - 1] if has else "") for row in table]


def sun397(base: Path, data: Data) -> Found:
    """SUN397: LETTER/CLASS/sun_*.jpg, classes may hold a slash; ClassName.txt has their order; no splits."""
    order = tuple(line[3:] for line in lines(base / "ClassName.txt"))
    tree = walk(base)
    rows: Rows = [(name, "", name[2:].rpartition("/")[0]) for name in tree.files
                  if name.rpartition("/")[2].startswith("sun_") and name.endswith(".jpg")]
    strange = sorted({row[2] for row in rows}.difference(order))
    if strange:
        raise UserError(f"{base}: ClassName.txt does not name the class {shown(strange[0])}, of which images are there",
                        "unpack the data set again, whole")
    return Found(frame(rows, data.default_task), tree.notes, {data.default_task: order})


def places365(base: Path, data: Data) -> Found:
    """Places365: lists beside folders; data.variant: standard or challenge; small images before large ones."""
    variant = data.variant or ("standard" if (base / "places365_train_standard.txt").is_file() else "challenge")
    order = [line.split()[0].lstrip("/") for line in lines(base / "categories_places365.txt")]
    notes: list[str] = []
    rows: Rows = []
    for split, stem in (("train", f"data_{{}}_{variant}"), ("val", "val_{}"), ("test", "test_{}")):
        folder = next((stem.format(size) for size in ("256", "large") if (base / stem.format(size)).is_dir()), "")
        if not folder:
            notes.append(f"{stem.format('256')}/ and {stem.format('large')}/ are not there: no images of {split}")
            continue
        file = f"places365_train_{variant}.txt" if split == "train" else f"places365_{split}.txt"
        for line in lines(base / file):
            name, _, number = line.partition(" ")
            rows.append((f"{folder}/{name.lstrip('/')}", split, order[int(number)] if number else ""))
    return Found(frame(rows, data.default_task), notes, {data.default_task: tuple(order)})


def caltech101(base: Path, data: Data) -> Found:
    """Caltech-101: class folders without splits; the background, which is no class, is left out."""
    found = class_folders(base, data, "101_ObjectCategories")
    background = found.rows[data.default_task] == "BACKGROUND_Google"
    notes = [f"{int(background.sum())} images of BACKGROUND_Google are left out"] if background.any() else []
    return Found(found.rows[~background], found.notes + notes)


def caltech256(base: Path, data: Data) -> Found:
    """Caltech-256: class folders without splits."""
    return class_folders(base, data, "256_ObjectCategories")


def eurosat(base: Path, data: Data) -> Found:
    """EuroSAT: class folders without splits."""
    return class_folders(base, data, "2750")


def class_folders(base: Path, data: Data, name: str) -> Found:
    """Class folders without splits, in one folder of the base."""
    return folders.by_class(base, data, walk(base), {f"{name}/": ""}, [])


def split_folders(base: Path, data: Data) -> Found:
    """Split and class folders."""
    return folders.read(base, data)


def missing(base: Path, paths: Iterable[str]) -> list[str]:
    """Those of some paths that are not there."""
    return [path for path in paths if not (base / path).exists()]
