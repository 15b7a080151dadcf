"""`stillhouse summary`: what a run came to, in one table, and where to look further; of one model, its structure."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.commands.subjects import Subject, open_subject, subject_arguments
from components.errors import UserError
from components.evaluation.columns import CHIEF, best, kind_of, written
from components.evaluation.gate_table import headline
from components.storage.digests import file_digest

WIDTH = 100
GAP = "  "
SIZE = ("parameters", "megabytes", "latency_ms")
SHORT = {"accuracy": "acc.", "balanced_accuracy": "bal.", "subset_accuracy": "all", "f1_macro": "F1", "ece": "ECE",
         "parameters": "params", "megabytes": "MB", "latency_ms": "ms"}
MEANINGS = {"accuracy": "acc.: accuracy", "balanced_accuracy": "bal.: balanced accuracy",
            "subset_accuracy": "all: all labels of a sample right", "f1_macro": "F1: macro F1",
            "ece": "ECE: expected calibration error", "latency_ms": "ms: one image, one CPU thread"}
ROWS = {"student": "plain student", "distilled": "distilled"}

Lines = list[str]
# A column: the task above it, the figure, its cells.
Column = tuple[str, str, list[str]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", nargs="?", default="", metavar="MODEL",
                        help="folder of a Model, section of params.yaml or name of a network, to see its structure")
    parser.add_argument("--depth", type=int, default=4, metavar="N", help="of the structure: levels (default: 4)")
    subject_arguments(parser)
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="FOLDER",
                        help="folder of reports (default: reports)")


def command(options: argparse.Namespace) -> None:
    """Print the table, or the structure of one model; UserError where nothing has been evaluated."""
    if options.model:
        print("\n".join(structure(open_subject(options.model, options), options.depth)))
        return
    figures = read_figures(options.reports / "evaluate" / "metrics.json")
    latencies = read_latencies(options.reports / "evaluate")
    for name, one in figures.items():
        if name in latencies:
            one["latency_ms"] = latencies[name]
    print("\n".join([*table(figures), "", *pointers(options.reports)]))


def read_figures(path: Path) -> dict[str, dict[str, Any]]:
    """Figures by model, teachers first; UserError where there are none."""
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        cause = f"{path} does not exist: no model has been evaluated yet"
        raise UserError(cause, "run the pipeline: make run") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}", "make it again: dvc repro evaluate") from None
    if not isinstance(figures, dict) or not all(isinstance(one, dict) for one in figures.values()) or not figures:
        raise UserError(f"{path} holds no figures of models", "make it again: dvc repro evaluate")
    students = [name for name in ROWS if name in figures]
    return {name: figures[name] for name in [*sorted(figures.keys() - ROWS.keys()), *students]}


def read_latencies(folder: Path) -> dict[str, float]:
    """Milliseconds an image by model, from the newest run that gave these very figures; empty where none is known."""
    try:
        runs = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    digest = file_digest(folder / "metrics.json")
    same = [run for run in runs.values() if run.get("outputs", {}).get("metrics") == digest]
    found: dict[str, float] = same[-1].get("latency_ms", {}) if same else {}
    return found


def table(figures: Mapping[str, Mapping[str, Any]]) -> Lines:
    """The models by task, in as many blocks as the width of a terminal asks for."""
    split = shown_split(figures)
    names = [ROWS.get(name, name) for name in figures]
    first = max(map(len, names))
    models = list(figures.values())
    keys = [(task, name) for task, values in models[0][split].items() for name in CHIEF[kind_of(values)]]
    columns = [column(task, name, [one[split].get(task, {}).get(name) for one in models]) for task, name in keys]
    columns += [column("size and speed", name, [one.get(name) for one in models]) for name in SIZE]
    lines = [f"The models on {split}; * is the best of a column", ""]
    for block in blocks(columns, WIDTH - first):
        lines += [*heads(block, first), *body(block, names, first), ""]
    meanings = [MEANINGS[name] for name in dict.fromkeys(key for _, key, _ in columns) if name in MEANINGS]
    return [*lines, *wrapped(meanings)]


def shown_split(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The split that is shown: test, else the last by name that has figures."""
    one = next(iter(figures.values()))
    splits = [name for name, value in one.items() if isinstance(value, dict) and value]
    if not splits:
        raise UserError("the evaluation holds no figures of any split", "make it again: dvc repro evaluate")
    return "test" if "test" in splits else splits[-1]


def column(task: str, name: str, values: Sequence[float | None]) -> Column:
    """One column's cells, all as wide as its title and widest figure; a mark behind the best."""
    shown = [written(name, value).removeprefix("0") if name not in SIZE else written(name, value) for value in values]
    texts = [text + ("*" if top else " ") for text, top in zip(shown, best(name, values), strict=True)]
    width = max(map(len, [*texts, SHORT[name] + " "]))
    return task, name, [text.rjust(width) for text in [SHORT[name] + " ", *texts]]


def blocks(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Columns in groups that fit side by side; those of one task stay together."""
    found: list[list[Column]] = [[]]
    for task in dict.fromkeys(task for task, _, _ in columns):
        group = [one for one in columns if one[0] == task]
        if found[-1] and span([*found[-1], *group]) > width:
            found.append([])
        found[-1] += group
    return found


def span(columns: Sequence[Column]) -> int:
    """The width of columns side by side, the gaps before them included."""
    between = len({task for task, _, _ in columns})
    return sum(len(cells[0]) for _, _, cells in columns) + len(columns) + between * (len(GAP) - 1)


def heads(block: Sequence[Column], first: int) -> Lines:
    """The line of tasks above a block, shortened where a name is wider than its columns."""
    line = " " * first
    for task in dict.fromkeys(task for task, _, _ in block):
        width = span([one for one in block if one[0] == task]) - len(GAP)
        line += GAP + (task if len(task) <= width else task[: width - 1] + "…").center(width)
    return [line.rstrip()]


def body(block: Sequence[Column], names: Sequence[str], first: int) -> Lines:
    """The titles and a line for each model."""
    lines = []
    for place, name in enumerate(["", *names]):
        line, last = name.ljust(first), ""
        for task, _, cells in block:
            line += (GAP if task != last else " ") + cells[place]
            last = task
        lines.append(line.rstrip())
    return lines


def wrapped(parts: Sequence[str]) -> Lines:
    """Parts separated by semicolons, in lines of at most the width."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}; {part}" if lines[-1] else part
        lines = [*lines[:-1], joined] if len(joined) <= WIDTH else [*lines, part]
    return lines


def pointers(reports: Path) -> Lines:
    """Where to look further; only what is there."""
    report = reports / "evaluate" / "report.html"
    found = [("report", f"{report}  (open it in a browser)")] if report.is_file() else []
    found += gate(reports / "compare" / "verdict.json")
    found += exported(reports / "export" / "metrics.json")
    found += [("runs", "make mlflow, then http://127.0.0.1:5000"),
              ("where from", "stillhouse trace " + ("exported" if Path("exported").is_dir() else str(report)))]
    return [f"{name:<11}{text}" for name, text in found]


def gate(path: Path) -> list[tuple[str, str]]:
    """What the gate said of the distilled model, and what to type where it may be published."""
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return [("verdict", headline(verdict) + (": stillhouse publish" if verdict["promote"] else ""))]


def exported(path: Path) -> list[tuple[str, str]]:
    """The exported graph, its size and how near it is to its model."""
    graph = Path("exported") / "model.onnx"
    if not graph.is_file():
        return []
    line = f"{graph}  ({graph.stat().st_size / 1e6:.2f} MB"
    if path.is_file():
        difference = json.loads(path.read_text(encoding="utf-8"))["max_difference"]
        line += f"; probabilities within {difference:.1g} of the model's"
    return [("graph", line + ")")]


def structure(subject: Subject, depth: int) -> Lines:
    """The parts of a network as a tree, and what each puts out, holds and costs for one image."""
    from components.models.structure import parts_of

    parts = parts_of(subject.network, subject.size)
    rows = [("", "output", "parameters", "macs")]
    for part in parts:
        if part.depth <= depth:
            name = "  " * part.depth + f"{part.path.rpartition('.')[2]} {part.kind}".strip()
            shape = " x ".join(map(str, part.shape))
            rows.append((name, shape, f"{part.parameters:,}" if part.parameters else "",
                         f"{part.macs:,}" if part.macs else ""))
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = [f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {parameters:>{widths[2]}}  {macs:>{widths[3]}}".rstrip()
             for name, shape, parameters, macs in rows]
    hidden = sum(part.depth > depth for part in parts)
    return [*about(subject), "", *lines, *([f"{hidden} parts further in: --depth {depth + 1}"] if hidden else [])]


def about(subject: Subject) -> Lines:
    """What a network looks at and says."""
    height, width = subject.size
    lines = [f"{subject.name} looks at {height} x {width} pixels"]
    for task in subject.head.get("tasks", []):
        classes = task["classes"]
        lines.append(f"  {task['name']} ({task['kind']}, {len(classes)}): {', '.join(classes[:8])}"
                     + (", ..." if classes[8:] else ""))
    return lines
