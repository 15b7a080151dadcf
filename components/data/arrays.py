"""Data sets that are arrays in files, read picture by picture: MNIST and its kin, STL-10, SVHN, USPS, CIFAR, GTSRB.

The formats are those that the data sets are published in. Nothing is unpickled.
"""

import bz2
import csv
import gzip
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.data.files import listed
from components.data.layouts import arrays
from components.data.layouts.torchvision_readers import lines, matlab
from components.errors import UserError

Pixels = NDArray[np.uint8]
IDX = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # http://yann.lecun.com/exdb/mnist
WHOLE = "get or unpack the data set again, whole"


class Picture(NamedTuple):
    """One image, uint8 [H, W] or [H, W, 3], its split, its label of each task, and what it may not be parted from."""

    pixels: Pixels
    split: str
    labels: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a data set: how many there are, the names of its tasks, and the pictures one after another."""

    count: int
    tasks: tuple[str, ...]
    each: Iterator[Picture]


def opened(folder: Path, variant: str = "") -> Pictures:
    """The pictures of the arrays in a folder; UserError where there are none that can be read.

    variant: which of the data sets that lie there side by side, as in EMNIST: byclass, letters, ...
    """
    kind, found = arrays.kind_of(folder)
    if not kind:
        arrays.refuse(folder)
        raise UserError(f"{folder} holds no arrays that are known; known are {', '.join(READERS)}",
                        "folders of images are read as they are: data.path")
    return READERS[kind](found, variant)


def idx(found: list[Path], variant: str) -> Pictures:
    """MNIST and its kin: files of images and of labels; EMNIST lies on its side and is turned upright."""
    plain = [path for path in found if path.suffix != ".gz"] or found
    chosen = [path for path in plain if f"-{variant}-" in f"-{path.name}"] if variant else plain
    sets = {(path.parent, path.name.partition("-images")[0].rpartition("-")[0]) for path in chosen}
    if len(sets) != 1:
        names = listed({f"{folder.name}/{name}" for folder, name in sets} or {path.name for path in plain}, 8)
        raise UserError(f"{found[0].parent} holds not one data set but: {names}",
                        "name one by its folder, or for EMNIST by --variant, for example letters")
    parts = [(split_of_idx(path), read_idx(path), idx_labels(path)) for path in chosen]
    return Pictures(sum(len(images) for _, images, _ in parts), ("label",), idx_pictures(chosen[0], parts))


def idx_pictures(path: Path, parts: list[tuple[str, NDArray[Any], NDArray[Any]]]) -> Iterator[Picture]:
    """The pictures of the files of one data set."""
    names, sideways = idx_names(path), path.name.startswith("emnist")
    for split, images, labels in parts:
        for image, label in zip(images, labels, strict=True):
            yield Picture(image.T if sideways else image, split, (names.get(int(label), str(int(label))),))


def split_of_idx(path: Path) -> str:
    """The split that the name of a file says."""
    stem = path.name.partition("-images")[0]
    return "train" if stem.endswith("train") else "test"


def idx_labels(path: Path) -> NDArray[Any]:
    """The labels of the images in a file: those beside it; the first column where there are several."""
    for ending in ("labels-idx1-ubyte", "labels-idx2-int"):
        file = path.with_name(path.name.replace("images-idx3-ubyte", ending))
        if file.exists():
            labels = read_idx(file)
            return labels if labels.ndim == 1 else labels[:, 0]
    raise UserError(f"{path} has no file of labels beside it", WHOLE)


def idx_names(path: Path) -> dict[int, str]:
    """The names of labels, where they are known: those of EMNIST from its mapping, those of FashionMNIST."""
    mapping = path.with_name(path.name.rpartition("-images")[0].rpartition("-")[0] + "-mapping.txt")
    if mapping.exists():
        return {int(label): chr(int(code)) for label, code, *_ in (line.split() for line in lines(mapping))}
    if "fashionmnist" in {part.lower() for part in path.absolute().parts}:
        from torchvision.datasets import FashionMNIST

        return dict(enumerate(name.replace("/", " or ") for name in FashionMNIST.classes))
    return {}


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, packed or not; UserError where it has another length than its head says."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}", WHOLE) from None
    kind, dimensions = content[2:4] if len(content) >= 4 else (0, 0)
    shape = [int.from_bytes(content[4 * place : 4 * place + 4], "big") for place in range(1, dimensions + 1)]
    wanted = 4 + 4 * dimensions + math.prod(shape) * np.dtype(IDX.get(kind, ">u1")).itemsize
    if content[:2] != b"\0\0" or kind not in IDX or len(content) != wanted:
        raise UserError(f"{path} is damaged: {len(content)} bytes, its head speaks of {wanted}", WHOLE)
    return np.frombuffer(content, IDX[kind], offset=4 + 4 * dimensions).reshape(shape)


def records(path: Path, length: int) -> Pixels:
    """A file of records of equal length as uint8 [N, length], mapped; UserError where the last is not whole."""
    size = path.stat().st_size
    if not size or size % length:
        raise UserError(f"{path} is damaged: {size} bytes are no whole number of {length}", WHOLE)
    return np.memmap(path, np.uint8, "r", shape=(size // length, length))


def stl10(found: list[Path], variant: str) -> Pictures:
    """STL-10: pixels column by column; those without labels are of split `unlabeled`, which `validate` leaves out."""
    folder = found[0].parent
    names = lines(folder / "class_names.txt") if (folder / "class_names.txt").exists() else []
    parts = [(split, records(folder / f"{split}_X.bin", 3 * 96 * 96), folder / f"{split}_y.bin")
             for split in ("train", "test", "unlabeled") if (folder / f"{split}_X.bin").exists()]

    def each() -> Iterator[Picture]:
        for split, images, file in parts:
            labels = records(file, 1)[:, 0] if file.exists() else np.zeros(len(images), np.uint8)
            for image, label in zip(images, labels, strict=True):
                name = names[label - 1] if names and label else str(label - 1) if label else ""
                yield Picture(image.reshape(3, 96, 96).transpose(2, 1, 0), split, (name,))

    return Pictures(sum(len(images) for _, images, _ in parts), ("label",), each())


def svhn(found: list[Path], variant: str) -> Pictures:
    """SVHN: MATLAB arrays [32, 32, 3, N]; label 10 is the digit 0; `extra` is left out by `validate`."""
    parts = [(path.name.partition("_")[0], matlab(path)) for path in found]

    def each() -> Iterator[Picture]:
        for split, part in parts:
            for place, label in enumerate(np.atleast_1d(part["y"])):
                yield Picture(part["X"].reshape(32, 32, 3, -1)[..., place], split, (str(int(label) % 10),))

    return Pictures(sum(np.size(part["y"]) for _, part in parts), ("label",), each())


def usps(found: list[Path], variant: str) -> Pictures:
    """USPS: a line an image, the label from 1 and 256 values of -1..1."""
    parts = [("test" if path.name.startswith("usps.t.") else "train", bz2.decompress(path.read_bytes()).decode())
             for path in found]
    rows = [(split, line.split()) for split, text in parts for line in text.splitlines() if line.strip()]

    def each() -> Iterator[Picture]:
        for split, (label, *cells) in rows:
            values = np.array([cell.partition(":")[2] for cell in cells], np.float32).reshape(16, 16)
            yield Picture(((values + 1) / 2 * 255).astype(np.uint8), split, (str(int(label) - 1),))

    return Pictures(len(rows), ("label",), each())


def cifar(found: list[Path], variant: str) -> Pictures:
    """CIFAR-10 and CIFAR-100, binary version: labels, then planes of 32 x 32; CIFAR-100 gives two tasks."""
    folder = found[0].parent
    hundred = found[0].name == "fine_label_names.txt"
    tasks = ("coarse", "fine") if hundred else ("label",)
    files = ["coarse_label_names.txt", "fine_label_names.txt"] if hundred else ["batches.meta.txt"]
    names = [lines(folder / file) for file in files]
    train = [folder / "train.bin"] if hundred else found
    tests = [folder / ("test.bin" if hundred else "test_batch.bin")]
    parts = [(split, records(path, len(tasks) + 3072)) for split, paths in (("train", train), ("test", tests))
             for path in paths if path.exists()]

    def each() -> Iterator[Picture]:
        for split, table in parts:
            for record in table:
                labels = tuple(known[number] for known, number in zip(names, record, strict=False))
                yield Picture(record[len(tasks) :].reshape(3, 32, 32).transpose(1, 2, 0), split, labels)

    return Pictures(sum(len(table) for _, table in parts), tasks, each())


def gtsrb(found: list[Path], variant: str) -> Pictures:
    """GTSRB: PPM files; the thirty pictures of one drive past a sign are one group, and must stay in one split."""
    training = found[0]
    base = training.parent.parent
    rows = [(path, "train", str(int(path.parent.name)), f"{path.parent.name}/{path.name.partition('_')[0]}")
            for path in sorted(training.glob("*/*.ppm"))]
    table = base / "GT-final_test.csv"
    known: dict[str, str] = {}
    if table.exists():
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=";", skipinitialspace=True)
            known = {row["Filename"]: str(int(row["ClassId"])) for row in reader}
    rows += [(path, "test", known.get(path.name, ""), f"test/{path.stem}")
             for path in sorted((training.parent / "Final_Test" / "Images").glob("*.ppm"))]
    return Pictures(len(rows), ("label",), (Picture(ppm(path), split, (label,), group)
                                            for path, split, label, group in rows))


def ppm(path: Path) -> Pixels:
    """The pixels of a PPM file, uint8 [H, W, 3]; UserError where it is none."""
    try:
        with Image.open(path, formats=("PPM",)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", WHOLE) from None


# How each kind that `layouts.arrays` tells apart is read.
READERS: dict[str, Callable[[list[Path], str], Pictures]] = {
    "idx": idx, "stl10": stl10, "svhn": svhn, "usps": usps, "cifar10": cifar, "cifar100": cifar, "gtsrb": gtsrb,
}
