"""`stillhouse lists SOURCE`: write list files, or a manifest that freezes splits, or add new files to a manifest."""

import argparse
import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from components.errors import UsageError, UserError

if TYPE_CHECKING:
    import pandas as pd

    from components.data.settings import Data
    from components.data.tasks import Task


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, nargs="?", help="folder of images or Dataset (default: data.path)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write a list a split, and classes.txt")
    parser.add_argument("--separator", choices=("space", "tab", "comma"), default="tab",
                        help="what parts a path from its label; also chooses .txt, .tsv or .csv (default: tab)")
    parser.add_argument("--numbers", action="store_true", help="write numbers of classes.txt, from 0, for labels")
    parser.add_argument("--task", default="", help="task to write, where there are several")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="write a manifest (.csv) with every task instead")
    parser.add_argument("--add", type=Path, metavar="FOLDER", help="add to the manifest what is new there")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings, of which data is read where the file is there (default: params.yaml)")


def command(options: argparse.Namespace) -> None:
    """Write what is asked for; UserError where a source or a row cannot be written."""
    if bool(options.to) == bool(options.manifest):
        raise UsageError("name what to write: either --to FOLDER or --manifest FILE", "stillhouse lists --help")
    if options.add and not options.manifest:
        raise UsageError("--add adds to a manifest", "name it: --manifest FILE --add FOLDER")
    data = settings(options.params)
    if options.to:
        write_lists(options, data)
    elif options.add:
        add(options.manifest, options.add, data)
    else:
        write_manifest(options.source or Path(data.path), options.manifest, data)


def settings(file: Path) -> "Data":
    """The data section of params.yaml, or its defaults where there is none."""
    from components.data.settings import Data
    from components.settings import Params

    if not file.exists():
        return Data()
    section = Params.load(file).section("data")
    assert isinstance(section, Data)
    return section


def opened(source: Path, data: "Data") -> tuple["pd.DataFrame", tuple["Task", ...], Path]:
    """The rows of a source, its tasks, and the folder that its paths are relative to."""
    from components.data.dataset import Dataset
    from components.data.list_files import named_rows
    from components.data.reading import read_listing, root_of

    if (source / "dataset.json").is_file():
        dataset = Dataset.open(source)
        return named_rows(dataset), dataset.tasks, Path(data.root or data.path)
    listing = read_listing(source, data)
    warn(listing.notes)
    return listing.rows, listing.tasks, root_of(source, data.root)


def warn(notes: "list[str] | tuple[str, ...]") -> None:
    """Notes as warnings."""
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)


def write_lists(options: argparse.Namespace, data: "Data") -> None:
    """Write a list a split, and classes.txt."""
    from components.data.list_files import list_texts
    from components.storage.atomic import write_file

    rows, tasks, root = opened(options.source or Path(data.path), data)
    named = {task.name: task for task in tasks}
    if options.task not in named and (options.task or len(tasks) > 1):
        raise UserError(f"a list holds one task; there are {', '.join(named)}", f"--task {tasks[0].name}")
    task = named.get(options.task, tasks[0])
    left = int((~rows["split"].isin(["train", "val", "test"])).sum())
    if left:
        warn([f"{left} images belong to no split yet and are left out: write lists of a Dataset, which has them all"])
    texts = list_texts(rows, task, options.separator, options.numbers)
    for name, text in texts.items():
        write_file(options.to / name, text)
    print(f"{options.to}: {', '.join(texts)}{hint(options.to, options.to, root)}")


def hint(written: Path, folder: Path, root: Path) -> str:
    """What to set so that paths are found, if they are not relative to the folder that what is written stands in."""
    return "" if folder.resolve() == root.resolve() else f"; to read it: data.path: {written}, data.root: {root}"


def write_manifest(source: Path, file: Path, data: "Data") -> None:
    """Write a manifest of every file with its digest, split and labels."""
    from components.data.list_files import digests, manifest_text
    from components.storage.atomic import write_file

    refuse_suffix(file)
    if file.exists():
        raise UserError(f"{file} exists already, and its splits are not changed",
                        "add new files to it (--add FOLDER), or remove it")
    rows, tasks, root = opened(source, data)
    if "sha256" not in rows:
        rows = rows.assign(sha256=digests(root, rows["path"].tolist()))
    rows, root = nearer(rows, root, file.parent)
    write_file(file, manifest_text(rows, tasks))
    print(f"{file}: {len(rows)} rows{hint(file, file.parent, root)}")


def nearer(rows: "pd.DataFrame", root: Path, folder: Path) -> tuple["pd.DataFrame", Path]:
    """Rows with paths relative to a folder, and the folder, where it holds the images; else all as it is."""
    if not root.resolve().is_relative_to(folder.resolve()):
        return rows, root
    below = PurePosixPath(root.resolve().relative_to(folder.resolve()).as_posix())
    return rows.assign(path=[str(below / path) for path in rows["path"]]), folder


def refuse_suffix(file: Path) -> None:
    """UserError unless a manifest is CSV."""
    if file.suffix.lower() != ".csv":
        raise UserError(f"{file} is not called .csv, the one form that manifests are written in", "call it so")


def add(file: Path, folder: Path, data: "Data") -> None:
    """Add to a manifest what is new in a folder below its root."""
    from components.data.files import has_image_suffix, is_image, root_of, walk
    from components.data.list_files import digests, extended
    from components.data.reading import LAYOUTS, completed, read_listing
    from components.storage.atomic import write_file
    from components.storage.locks import locked

    refuse_suffix(file)
    root = root_of(file, data.root)
    if not folder.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{folder} is not below {root}, which the paths of {file} are relative to",
                        "move it there, or set data.root in params.yaml")
    plain = data.model_copy(update={"root": "", "layout": "auto", "tasks": {}, "columns": {}})
    notes: list[str] = []
    if any(recognised(folder) for recognised, _, _ in LAYOUTS.values()):
        rows = read_listing(folder, plain).rows
    else:
        import pandas as pd

        found = [name for name in walk(folder).files if has_image_suffix(name) or is_image(folder / name)]
        rows = completed(pd.DataFrame({"path": found, "split": ""}))
    rows = rows.assign(sha256=digests(folder, rows["path"].tolist()))
    inside = os.path.relpath(folder.resolve(), root.resolve())
    rows["path"] = [Path(inside, path).as_posix() for path in rows["path"]]
    with locked([file]):
        write_file(file, extended(file, rows, notes))
    warn(notes)
