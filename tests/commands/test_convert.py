"""Arrays become images that are read back equal to what torchvision's own classes, or the arrays themselves, hold."""

import bz2
import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from components import cli
from components.data.reading import read_listing
from components.data.settings import Data
from components.errors import UserError

Pairs = list[tuple[bytes, str]]


@pytest.fixture(autouse=True)
def any_bytes_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mnist", "stl10", "svhn"):
        monkeypatch.setattr(f"torchvision.datasets.{name}.check_integrity", lambda *_, **__: True)


def noise(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def converted(folder: Path, *options: str) -> dict[str, Pairs]:
    """Pixels and labels by split, as convert wrote them."""
    target = folder.parent / "images"
    assert cli.main(["convert", str(folder), "--to", str(target), *options]) == 0
    with (target / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    tasks = [name for name in rows[0] if name not in ("path", "split", "group")]
    found: dict[str, Pairs] = {}
    for row in rows:
        pixels = np.asarray(Image.open(target / row["path"])).tobytes()
        found.setdefault(row["split"], []).append((pixels, " ".join(row[task] for task in tasks)))
    assert len(read_listing(target, Data()).rows) == sum(row["split"] in ("train", "val", "test") for row in rows)
    return found


def theirs(dataset: Any, name: Callable[[int], str] = str) -> Pairs:
    return [(np.asarray(image).tobytes(), name(label)) for image, label in dataset]


def idx(path: Path, array: Any, packed: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"uint8": 8, "int32": 12}
    head = bytes([0, 0, kinds[str(array.dtype)], array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = head + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


def mnist(folder: Path, prefix: str = "", packed: bool = False) -> None:
    for split, count in (("train", 5), ("t10k" if not prefix else "test", 3)):
        stem, end = f"{prefix}{split}", ".gz" if packed else ""
        idx(folder / f"{stem}-images-idx3-ubyte{end}", noise(count, 28, 28), packed)
        idx(folder / f"{stem}-labels-idx1-ubyte{end}", np.arange(count, dtype=np.uint8) + (1 if prefix else 0), packed)


@pytest.mark.parametrize("name", ["MNIST", "KMNIST", "FashionMNIST"])
def test_mnist_and_its_kin(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    mnist(root / name / "raw")
    found = converted(root)
    kind = getattr(datasets, name)
    fashion = [one.replace("/", " or ") for one in kind.classes]
    names = fashion if name == "FashionMNIST" else [str(number) for number in range(10)]
    assert found["train"] == theirs(kind(root), names.__getitem__)
    assert found["test"] == theirs(kind(root, False), names.__getitem__)


def test_packed_files_are_read_and_unpacked_ones_come_first(tmp_path: Path) -> None:
    mnist(tmp_path / "raw", packed=True)
    packed = converted(tmp_path / "raw")
    mnist(tmp_path / "raw")
    (tmp_path / "images").rename(tmp_path / "before")
    assert converted(tmp_path / "raw") == packed


def test_emnist_stands_upright_with_letters_for_labels(tmp_path: Path) -> None:
    root = tmp_path / "root"
    raw = root / "EMNIST" / "raw"
    mnist(raw, "emnist-letters-")
    mnist(raw, "emnist-digits-")
    (raw / "emnist-letters-mapping.txt").write_text("".join(f"{n} {64 + n} {96 + n}\n" for n in range(1, 27)))
    assert cli.main(["convert", str(root), "--to", str(tmp_path / "none")]) == 1
    found = converted(root, "--variant", "letters")
    for split in ("train", "test"):
        dataset = datasets.EMNIST(root, "letters", train=split == "train")
        assert found[split] == [(np.asarray(image).T.tobytes(), chr(64 + label)) for image, label in dataset]


def test_qmnist_has_its_labels_in_the_first_of_several_columns(tmp_path: Path) -> None:
    root = tmp_path / "root"
    raw = root / "QMNIST" / "raw"
    for split, count in (("train", 4), ("test", 3)):
        idx(raw / f"qmnist-{split}-images-idx3-ubyte", noise(count, 28, 28))
        idx(raw / f"qmnist-{split}-labels-idx2-int", np.arange(count * 8, dtype=np.int32).reshape(count, 8) % 10)
    assert converted(root) == {split: theirs(datasets.QMNIST(root, split)) for split in ("train", "test")}


def test_stl10(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "stl10_binary"
    folder.mkdir(parents=True)
    names = ["airplane", "bird", "car"]
    (folder / "class_names.txt").write_text("\n".join(names))
    for split, count in (("train", 3), ("test", 2), ("unlabeled", 2)):
        noise(count, 3, 96, 96).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            np.arange(1, count + 1, dtype=np.uint8).tofile(folder / f"{split}_y.bin")
    root = tmp_path / "root"
    found = converted(root)
    for split in ("train", "test", "unlabeled"):
        assert found[split] == theirs(datasets.STL10(root, split), lambda label: names[label] if label >= 0 else "")


def test_svhn(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for split, count in (("train", 4), ("test", 2), ("extra", 3)):
        labels = np.array([[10], [1], [9], [5]])[:count]
        savemat(root / f"{split}_32x32.mat", {"X": noise(32, 32, 3, count), "y": labels})
    assert converted(root) == {split: theirs(datasets.SVHN(root, split)) for split in ("train", "test", "extra")}


def test_usps(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for file, count in (("usps.bz2", 4), ("usps.t.bz2", 2)):
        values = np.random.default_rng(count).uniform(-1, 1, (count, 256))
        lines = [f"{row % 10 + 1} " + " ".join(f"{k + 1}:{value:.6f}" for k, value in enumerate(line)) + " \n"
                 for row, line in enumerate(values)]
        (root / file).write_bytes(bz2.compress("".join(lines).encode()))
    assert converted(root) == {"train": theirs(datasets.USPS(root)), "test": theirs(datasets.USPS(root, False))}


def test_cifar_10_in_its_binary_version(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\n\n")
    pixels = noise(7, 3, 32, 32)
    for place, file in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        (folder / file).write_bytes(bytes([place % 2]) + pixels[place].tobytes())
    found = converted(tmp_path / "root")
    assert [label for _, label in found["train"]] == ["airplane", "automobile", "airplane", "automobile", "airplane"]
    for place, (content, _) in enumerate(found["train"] + found["test"]):
        planes = np.frombuffer(content, np.uint8).reshape(32, 32, 3)
        assert all((planes[..., channel] == pixels[place, channel]).all() for channel in range(3))


def test_cifar_100_has_two_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "cifar-100-binary"
    folder.mkdir(parents=True)
    (folder / "fine_label_names.txt").write_text("apple\nbear\n")
    (folder / "coarse_label_names.txt").write_text("fruit\nmammals\n")
    pixels = noise(3, 3072)
    (folder / "train.bin").write_bytes(b"".join(bytes([n, n]) + pixels[n].tobytes() for n in range(2)))
    (folder / "test.bin").write_bytes(bytes([1, 0]) + pixels[2].tobytes())
    found = converted(tmp_path / "root")
    assert [label for _, label in found["train"]] == ["fruit apple", "mammals bear"]
    assert [label for _, label in found["test"]] == ["mammals apple"]


def gtsrb(root: Path) -> None:
    base = root / "gtsrb"
    places = [f"GTSRB/Training/{sign:05d}/{track:05d}_{frame:05d}.ppm"
              for sign in (0, 14) for track in (0, 1) for frame in (0, 1)]
    places += [f"GTSRB/Final_Test/Images/{number:05d}.ppm" for number in range(3)]
    for number, place in enumerate(places):
        (base / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(5, 6 + number, 3)).save(base / place)
    lines = ["Filename;Width;ClassId", *(f"{number:05d}.ppm;6;{number + 1}" for number in range(3))]
    (base / "GT-final_test.csv").write_text("\n".join(lines))


def test_gtsrb_with_the_drives_past_a_sign_as_groups(tmp_path: Path) -> None:
    root = tmp_path / "root"
    gtsrb(root)
    names = {split: ["0", "14"] if split == "train" else [str(n) for n in range(4)] for split in ("train", "test")}
    assert converted(root) == {split: theirs(datasets.GTSRB(root, split), names[split].__getitem__)
                               for split in ("train", "test")}
    rows = read_listing(tmp_path / "images", Data()).rows
    groups = rows[rows["split"] == "train"].groupby("group").size()
    assert groups.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("build", [gtsrb, lambda root: mnist(root / "MNIST" / "raw")])
def test_arrays_are_not_read_but_the_way_to_read_them_is_told(tmp_path: Path, build: Callable[[Path], None]) -> None:
    build(tmp_path / "root")
    with pytest.raises(UserError, match="not files that are read as images") as caught:
        read_listing(tmp_path / "root", Data())
    assert f"stillhouse convert {tmp_path / 'root'} --to" in caught.value.remedy


@pytest.mark.parametrize("place", ["cifar-10-batches-py/data_batch_1", "cifar-100-python/train",
                                   "MNIST/processed/training.pt"])
def test_pickles_are_refused_unread_with_the_place_of_the_same_data(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    for folder in {tmp_path, tmp_path / place.partition("/")[0]}:
        with pytest.raises(UserError, match="pickles, which are never opened") as caught:
            read_listing(folder, Data())
        assert "convert" in caught.value.remedy
    assert cli.main(["convert", str(tmp_path), "--to", str(tmp_path / "images")]) == 1
    assert not (tmp_path / "images").exists()


def test_damage_leaves_nothing_behind_and_a_folder_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    mnist(root / "raw")
    images = root / "raw" / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    assert cli.main(["convert", str(root), "--to", str(tmp_path / "images")]) == 1
    assert "t10k-images-idx3-ubyte is damaged: 2367 bytes, its head speaks of 2368" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {"root", ".images.lock"}
    (tmp_path / "images").mkdir()
    assert cli.main(["convert", str(root), "--to", str(tmp_path / "images")]) == 1
    assert "exists already" in capsys.readouterr().err
