"""The layout CLASS/*: class folders without splits, which `index` then assigns."""

from pathlib import Path

from components.data.files import holds_images, subfolders, walk
from components.data.layouts.folders import by_class
from components.data.layouts.found import Found, split_of
from components.data.settings import Data


def recognised(root: Path) -> bool:
    """Whether two folders with images are there, and none that is called like a split."""
    names = subfolders(root)
    return not any(map(split_of, names)) and sum(holds_images(root / name) for name in names) > 1


def read(root: Path, data: Data) -> Found:
    """Every image with the class folder that it lies in."""
    return by_class(root, data, walk(root), {"": ""}, [])
