"""Data sets as torchvision keeps them on disk, whose images are files: known by their folders and lists."""

from pathlib import Path

import pandas as pd

from components.data.files import listed
from components.data.layouts import torchvision_readers as readers
from components.data.layouts.found import FIXED, Found
from components.data.settings import Data
from components.errors import UserError, near

# name -> (folders that it may lie in below the root that torchvision is given, what must be in there, reader).
SETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], readers.Reader]] = {
    "Food101": (("food-101",), ("images", "meta/train.json", "meta/test.json"), readers.food101),
    "Flowers102": (("flowers-102",), ("jpg", "imagelabels.mat", "setid.mat"), readers.flowers102),
    "DTD": (("dtd/dtd", "dtd"), ("images", "labels/train1.txt"), readers.dtd),
    "FGVCAircraft": (("fgvc-aircraft-2013b",), ("data/images", "data/images_variant_train.txt"), readers.aircraft),
    "OxfordIIITPet": (("oxford-iiit-pet",), ("images", "annotations/trainval.txt"), readers.pets),
    "CelebA": (("celeba",), ("img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"), readers.celeba),
    "StanfordCars": (("stanford_cars",), ("cars_train", "devkit/cars_meta.mat"), readers.cars),
    "SUN397": (("SUN397",), ("ClassName.txt",), readers.sun397),
    "Places365": ((), ("categories_places365.txt",), readers.places365),
    "Caltech101": (("caltech101",), ("101_ObjectCategories",), readers.caltech101),
    "Caltech256": (("caltech256",), ("256_ObjectCategories",), readers.caltech256),
    "EuroSAT": (("eurosat",), ("2750",), readers.eurosat),
    "Country211": (("country211",), ("train", "valid", "test"), readers.split_folders),
    "RenderedSST2": (("rendered-sst2",), ("train", "valid", "test"), readers.split_folders),
    "Imagenette": (("imagenette2", "imagenette2-320", "imagenette2-160"), ("train", "val"), readers.split_folders),
}


def recognised(root: Path) -> bool:
    """Whether a known data set is there, in the folder itself or where torchvision would look below it."""
    return known(root) is not None


def known(root: Path) -> tuple[str, str] | None:
    """Name of the data set in a folder, and the folder below it where it lies; None where there is none."""
    for name, (places, signs, reader) in SETS.items():
        for place in places if reader is readers.split_folders else (*places, ""):
            if all((root / place / sign).exists() for sign in signs):
                return name, place
    return None


def read(root: Path, data: Data) -> Found:
    """Every image of the data set with its split and labels, as torchvision would yield them."""
    place = known(root)
    assert place is not None
    name, inside = place
    found = SETS[name][2](root / inside, data)
    rows = found.rows.assign(path=[f"{inside}/{path}" if inside else path for path in found.rows["path"]])
    gone = readers.missing(root, rows["path"])
    if gone:
        raise UserError(f"{root / inside}: {len(gone)} of {len(rows)} images of {name} are not there: {listed(gone)}",
                        "unpack the data set again, whole")
    notes = [f"it is the data set {name}", *found.notes]
    tasks = asked(rows, data, name, notes)
    return Found(rows[[one for one in rows if one in (*FIXED, *tasks)]], notes, found.classes, found.kinds)


def asked(rows: pd.DataFrame, data: Data, name: str, notes: list[str]) -> list[str]:
    """The tasks of a data set, or those of them that data.tasks names; UserError for one that it does not have."""
    tasks = [str(column) for column in rows if column not in FIXED]
    for task in data.tasks:
        if task not in tasks:
            raise UserError(f"params.yaml: data.tasks.{task}: {name} has no such task.{near(task, tasks)}",
                            f"expected some of {', '.join(tasks)}")
    left = [task for task in tasks if data.tasks and task not in data.tasks]
    if left:
        notes.append(f"tasks that data.tasks does not name are left out: {', '.join(left)}")
    return [task for task in tasks if task not in left]
