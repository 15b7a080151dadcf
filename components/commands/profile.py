"""`stillhouse profile`: networks beside each other: their size, work, speed, and accuracy where it is known."""

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.commands.subjects import Subject, open_subject, subject_arguments
from components.errors import UserError
from components.storage import receipts
from components.storage.atomic import write_file
from components.storage.digests import file_digest

# A row: figures by column; what is not known is left out.
Row = dict[str, Any]

# Unit, what of it one is, digits.
FORMS = {"parameters": ("M", 1e6, 2), "macs": ("G", 1e9, 2), "activations": ("M", 1e6, 2), "bytes": ("MB", 1e6, 2)}
MEANINGS = (
    "Parameters, multiply-accumulates (macs) of convolutions and matrix products, and activations (numbers that "
    "convolutions and linear layers put out) are those of one image. Milliseconds are medians of warm runs for a whole "
    "batch: torch from normalised images, onnx from stored pixels.")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--models", default="", metavar="A,B,...",
                        help="folders of Models, sections of params.yaml or names (default: every Model below models)")
    subject_arguments(parser)
    parser.add_argument("--batches", default="1,8", metavar="N,N,...", help="batch sizes to time (default: 1,8)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads while timing (default: 1)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu", help="where to time (default: cpu)")
    parser.add_argument("--exported", type=Path, default=Path("exported"), metavar="FOLDER",
                        help="an export; its graph is timed beside its Model (default: exported)")
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="FOLDER",
                        help="folder of reports, for accuracy, and to write profile into (default: reports)")
    parser.add_argument("--track", action="store_true", help="send the table to MLflow as well")


def command(options: argparse.Namespace) -> None:
    """Measure, print the table, and write profile/models.md and profile/models.csv among the reports."""
    batches = whole_numbers(options.batches)
    rows = [row_of(open_subject(name, options), batches, options) for name in names(options.models)]
    folder = options.reports / "profile"
    text, page = as_csv(rows), "\n".join([*markdown(rows), "", MEANINGS, ""])
    write_file(folder / "models.csv", text)
    write_file(folder / "models.md", page)
    print(page, end="")
    print(f"written: {folder / 'models.md'}, {folder / 'models.csv'}")
    if options.track:
        track(rows, folder, options)


def whole_numbers(text: str) -> list[int]:
    """Batch sizes; UserError where one is no number above 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--batches is {text}", "give numbers above 0, such as --batches 1,8,32")
    return [int(part) for part in parts]


def names(given: str) -> list[str]:
    """What to profile; UserError where nothing is named and no Model is here."""
    found = [part.strip() for part in given.split(",") if part.strip()]
    found = found or sorted(path.parent.as_posix() for path in Path("models").rglob("model.json"))
    if not found:
        raise UserError("there is no Model below models yet", "name networks: --models resnet18,resnet50 --classes 6")
    return found


def row_of(subject: Subject, batches: Sequence[int], options: argparse.Namespace) -> Row:
    """All figures of a network."""
    import torch

    from components.deployment.latency import onnx_latency, torch_latency
    from components.models.structure import bytes_of, whole
    from components.training.devices import pick_device

    part = whole(subject.network, subject.size)
    held = (subject.folder / "model.safetensors").stat().st_size if subject.folder else bytes_of(subject.network)
    height, width = subject.size
    row: Row = {"model": label(subject), "pixels": f"{height} x {width}", "parameters": part.parameters,
                "macs": part.macs, "activations": part.activations, "bytes": held}
    torch.set_num_threads(options.threads)
    for batch in batches:
        device = pick_device(options.device)
        row[f"torch ms, batch {batch}"] = round(torch_latency(subject.network, subject.size, batch, device), 3)
    graph = graph_of(subject, options.exported)
    for batch in batches if graph else ():
        assert graph is not None
        row[f"onnx ms, batch {batch}"] = round(onnx_latency(graph, batch, options.threads), 3)
    return row | accuracies(subject, options.reports / "evaluate")


def label(subject: Subject) -> str:
    """What the table calls a network: its name, or the folder of a Model that lies in one of another name."""
    folder = subject.folder
    return subject.name if folder is None or folder.name == subject.name else folder.as_posix()


def graph_of(subject: Subject, exported: Path) -> Path | None:
    """The graph that was exported from this very Model; None where there is none."""
    if subject.folder is None or not all(map(receipts.is_sealed, (subject.folder, exported))):
        return None
    same = receipts.read(exported).inputs.get("model") == receipts.digest(subject.folder)
    return exported / "model.onnx" if same else None


def accuracies(subject: Subject, folder: Path) -> Row:
    """Accuracy by task on test, or else the last split by name; empty where this Model was not evaluated."""
    if subject.folder is None or not receipts.is_sealed(subject.folder):
        return {}
    try:
        figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        runs = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        same = file_digest(folder / "metrics.json")
    except (FileNotFoundError, ValueError):
        return {}
    judged = {digest for run in runs.values() if run.get("outputs", {}).get("metrics") == same
              for digest in run.get("inputs", {}).values()}
    if receipts.digest(subject.folder) not in judged:
        return {}
    splits = {name: tasks for name, tasks in figures.get(subject.name, {}).items() if isinstance(tasks, dict)}
    split = "test" if "test" in splits else max(splits, default="")
    return {f"{split} {kind.replace('_', ' ')}, {task}": values[kind] for task, values in splits.get(split, {}).items()
            for kind in ("accuracy", "f1_macro") if kind in values and (kind == "accuracy" or "accuracy" not in values)}


def columns(rows: Sequence[Row]) -> list[str]:
    """The columns that some row has, those that all have first."""
    every = dict.fromkeys(name for row in rows for name in row)
    return sorted(every, key=lambda name: not all(name in row for row in rows))


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The table for people."""
    heads = columns(rows)
    titles = [f"{name} ({FORMS[name][0]})" if name in FORMS else name for name in heads]
    yield "| " + " | ".join(titles) + " |"
    yield "|" + "|".join("---" if name in ("model", "pixels") else "---:" for name in heads) + "|"
    for row in rows:
        yield "| " + " | ".join(shown(name, row.get(name)) for name in heads) + " |"


def shown(name: str, value: Any) -> str:
    """A figure as the table shows it.

    >>> shown("parameters", 11_179_590), shown("torch ms, batch 1", 3.14159), shown("test accuracy, colour", None)
    ('11.18', '3.14', '')
    """
    if value is None or isinstance(value, str):
        return value or ""
    _, unit, digits = FORMS.get(name, ("", 1, 2 if " ms, " in name else 3))
    return f"{value / unit:.{digits}f}"


def as_csv(rows: Sequence[Row]) -> str:
    """The table for programs: whole numbers, not rounded."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def track(rows: Sequence[Row], folder: Path, options: argparse.Namespace) -> None:
    """Send the table to MLflow as a run of its own: every figure as a metric, both files beside them."""
    from components.runtime import Runtime
    from components.settings import Params
    from components.tracking.journal import log_metrics
    from components.tracking.keys import allowed
    from components.tracking.runs import child_run

    runtime = Params.load(options.params).section("runtime") if options.params.is_file() else Runtime()
    assert isinstance(runtime, Runtime)
    values = {name: getattr(options, name) for name in ("models", "classes", "size", "batches", "threads", "device")}
    paths = {"table": folder / "models.md", "figures": folder / "models.csv"}
    with child_run("profile", "profile", runtime, values, {}, {}) as child:
        for row in rows:
            named = {allowed(f"{row['model']}/{name.replace(', ', '/')}"): value for name, value in row.items()}
            log_metrics({name: value for name, value in named.items() if not isinstance(value, str)})
        child.finish({"inputs": {}, "outputs": {name: file_digest(path) for name, path in paths.items()}}, paths)
