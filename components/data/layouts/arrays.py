"""Data sets that are arrays in files, not images: known by their names, and converted before they are read."""

from pathlib import Path

from components.errors import UserError

# What each is known by, relative to the folder, to the folder below it, and two below: name -> pattern.
ARRAYS = {
    "idx": "*-images-idx3-ubyte*",
    "stl10": "train_X.bin",
    "svhn": "*_32x32.mat",
    "usps": "usps*bz2",
    "cifar10": "data_batch_*.bin",
    "cifar100": "fine_label_names.txt",
    "gtsrb": "GTSRB/Training",
}
# Pickles, which can run anything that their author likes: name -> (pattern, where the same data is without one).
PICKLES = {
    "CIFAR-10, python version": ("cifar-10-batches-py", "get its binary version (cifar-10-binary.tar.gz)"),
    "CIFAR-100, python version": ("cifar-100-python", "get its binary version (cifar-100-binary.tar.gz)"),
    "MNIST as torch once kept it": ("processed/training.pt", "get the files called *-ubyte"),
}
DEPTHS = ("", "*/", "*/*/")


def kind_of(folder: Path) -> tuple[str, list[Path]]:
    """Which kind of arrays lie in a folder, and the files or folders that show it; ("", []) where none does."""
    for kind, pattern in ARRAYS.items():
        found = matching(folder, pattern)
        if found:
            return kind, found
    return "", []


def matching(folder: Path, pattern: str) -> list[Path]:
    """Paths of a pattern in a folder or up to two folders below it, sorted."""
    return sorted({path for depth in DEPTHS for path in folder.glob(depth + pattern)})


def refuse(folder: Path) -> None:
    """UserError where a folder holds a data set of arrays or a pickled one, with the way to read it."""
    if not folder.is_dir():
        return
    for name, (pattern, where) in PICKLES.items():
        if matching(folder, pattern) or folder.match(pattern):
            raise UserError(f"{folder} holds {name}: pickles, which are never opened here since they can run anything",
                            f"{where}, then: stillhouse convert THAT --to data/raw")
    kind, found = kind_of(folder)
    if kind:
        raise UserError(f"{folder} holds {kind} arrays ({found[0].name}), not files that are read as images",
                        f"write them as images once: stillhouse convert {folder} --to {folder}-images")
