"""`stillhouse convert FOLDER --to OTHER`: write a data set that is arrays as PNG files with a labels.csv."""

import argparse
import csv
from collections import Counter
from pathlib import Path

from components.errors import UserError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, help="MNIST, EMNIST, STL-10, SVHN, USPS, CIFAR (binary) or GTSRB on disk")
    parser.add_argument("--to", type=Path, required=True, metavar="OTHER", help="folder to write; it must not exist")
    parser.add_argument("--variant", default="", metavar="NAME", help="which of EMNIST: byclass, letters, digits, ...")


def command(options: argparse.Namespace) -> None:
    """Write the whole folder or nothing; UserError where there is nothing to read, or the target exists."""
    from components.storage import atomic
    from components.storage.locks import locked

    target: Path = options.to
    if target.exists():
        raise UserError(f"{target} exists already", "name a new folder with --to, or remove it")
    if not options.folder.is_dir():
        raise UserError(f"{options.folder} is no folder", "name the folder that the arrays are in")
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked([target]), atomic.private([target]) as [private]:
        counts = write(options.folder, options.variant, private)
        atomic.flush(private)
        atomic.move_into_place(private, target)
    told = ", ".join(f"{count} of {split}" for split, count in counts.items())
    print(f"{target}: {told}; set data.path: {target}")


def write(folder: Path, variant: str, target: Path) -> dict[str, int]:
    """Write every picture as a PNG file, and labels.csv; how many there are of each split."""
    from PIL import Image

    from components.data.arrays import opened
    from components.progress import progress

    pictures = opened(folder, variant)
    counts: Counter[str] = Counter()
    target.mkdir()
    with (target / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "split", "group", *pictures.tasks])
        for picture in progress(pictures.each, pictures.count, "writing"):
            path = f"{picture.split}/{counts[picture.split]:06d}.png"
            if not counts[picture.split]:
                (target / picture.split).mkdir()
            Image.fromarray(picture.pixels.copy()).save(target / path)
            writer.writerow([path, picture.split, picture.group, *picture.labels])
            counts[picture.split] += 1
    return dict(counts)
