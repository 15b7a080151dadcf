"""One step run as a task of an orchestrator: settings arrive as JSON, artifacts lie where it put them."""

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

from components.cli import report
from components.commands.outcomes import Outcome, leave, refuse_known
from components.commands.patience import insist, patience_of
from components.commands.trainjob import plan_of, run_in_trainjob
from components.contract import load_step, run_step
from components.errors import Exit, Terminated, Unfit, UserError
from components.pages.rendering import rendered
from components.ports import Port
from components.settings import Params
from components.storage import receipts
from components.tracking.keys import flat_metrics

HEADS = ("dataset.json", "probabilities.json", "model.json", "validation.json")
MATRIX = "confusion/distilled-"  # how `evaluate` calls the distilled student's confusions, before the task's name
COUNTS = ("splits/", "rows", "parameters")


class Artifact(Protocol):
    """What an orchestrator hands over: a place, and facts to show beside it (`dsl.Artifact` is one)."""

    path: str
    metadata: dict[str, Any]


Ports = Mapping[str, Artifact | Sequence[Artifact]]


def run_task(name: str, section: str, settings: str, artifacts: Ports) -> str:
    """Run a step on the artifacts given by port, and write digests and a few figures into their metadata.

    settings: JSON of the part of params.yaml that the section reads. A step that says to try again is tried again here.
    What goes wrong is told in two lines on stderr and ends the process with the step's exit code. Data that are not as
    the settings demand are no failure: the answer is "unfit" instead of "fit", and the outputs say why.
    """
    try:
        facts = attempt(name, section, settings, artifacts)
    except Unfit as error:
        report(error.cause, error.remedy)
        leave(Outcome(section, "unfit", error.cause, error.remedy, error.exit_code))
        explain(error, load_step(name).ports, artifacts)
        return "unfit"
    except UserError as error:
        report(error.cause, error.remedy)
        leave(Outcome(section, "failed", error.cause, error.remedy, error.exit_code))
        raise SystemExit(int(error.exit_code)) from None
    except Terminated:
        report("terminated; finished work is kept", "the task goes on from there when it is started again")
        leave(Outcome(section, "failed", "terminated", "", Exit.TERMINATED))
        raise SystemExit(int(Exit.TERMINATED)) from None
    leave(Outcome(section, "done", figures=described(facts["outputs"], artifacts)))
    return "fit"


def explain(error: Unfit, ports: Mapping[str, Port], artifacts: Ports) -> None:
    """Write into the outputs of a step why there are none: some of Kubeflow's servers demand each."""
    page = rendered(Path(__file__).with_name("unfit.html"), {"cause": error.cause, "remedy": error.remedy})
    for name, port in ports.items():
        artifact = artifacts[name]
        if port.kind == "output" and not isinstance(artifact, Sequence):
            path = Path(artifact.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text({"report": page, "metrics": "{}\n"}.get(name, f"{error.cause}\n"), encoding="utf-8")


def promotion(verdict: Path) -> str:
    """"promote" where a verdict lets the model take the champion's place, else "keep"."""
    return "promote" if json.loads(verdict.read_text(encoding="utf-8"))["promote"] else "keep"


def attempt(name: str, section: str, settings: str, artifacts: Ports) -> dict[str, Any]:
    """Run a step as often as the environment's patience allows, here or in a TrainJob; its facts."""
    refuse_known(section)
    step, params, plan = load_step(name), Params(json.loads(settings), "settings"), plan_of()
    values = params.section(section)
    with tempfile.TemporaryDirectory(prefix="stillhouse-") as folder:
        paths = {port: place(artifact, Path(folder) / port) for port, artifact in artifacts.items()}
        if plan is not None:
            return insist(lambda: run_in_trainjob(step, params, section, paths, plan), patience_of())
        return insist(lambda: run_step(step, values, section, paths), patience_of())


def described(outputs: Mapping[str, str], artifacts: Ports) -> dict[str, Any]:
    """Write the digest and figures of every output into its metadata; those of the metrics."""
    told: dict[str, Any] = {}
    for port, digest in outputs.items():
        artifact = artifacts[port]
        assert not isinstance(artifact, Sequence), f"{port}: an output is one artifact"
        shown = figures(Path(artifact.path), port)
        artifact.metadata.update({"digest": digest} | shown)
        told |= shown if port == "metrics" else {}
        if port == "verdict":
            told["verdict"] = json.loads(Path(artifact.path).read_text(encoding="utf-8"))
    return told


def place(artifact: Artifact | Sequence[Artifact], folder: Path) -> Path:
    """Where a port's artifact lies; for a collection a folder of links, each named by the artifact's own head."""
    if not isinstance(artifact, Sequence):
        return Path(artifact.path)
    folder.mkdir()
    for one in artifact:
        (folder / head(Path(one.path))["name"]).symlink_to(Path(one.path).absolute())
    return folder


def head(path: Path) -> dict[str, Any]:
    """The JSON head of an artifact, empty where it has none."""
    found = [path / name for name in HEADS if (path / name).is_file()]
    content: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8")) if found else {}
    return content


def figures(path: Path, port: str) -> dict[str, Any]:
    """What is worth showing beside an artifact: all of a metrics file, of a folder its counts and who made it."""
    if port == "metrics":
        return flat_metrics(json.loads(path.read_text(encoding="utf-8")))
    if not receipts.is_sealed(path):
        return {}
    counts = {key: value for key, value in flat_metrics(head(path)).items() if key.startswith(COUNTS)}
    receipt = receipts.read(path)
    return {"step": receipt.step, "section": receipt.section, "files": len(receipt.files)} | counts


def tasks_with_matrix(plots: Path) -> list[str]:
    """The tasks of which `evaluate` wrote the distilled student's confusions."""
    return sorted(unquote(path.stem.removeprefix(Path(MATRIX).name)) for path in plots.glob(f"{MATRIX}*.csv"))


def confusion_matrix(task: str, dataset: Path, plots: Path) -> tuple[list[str], list[list[int]]]:
    """Class names of a task in their order, and how often each (row) was taken for each (column)."""
    (classes,) = [list(one["classes"]) for one in head(dataset)["tasks"] if one["name"] == task]
    matrix = [[0] * len(classes) for _ in classes]
    with (plots / f"{MATRIX}{quote(task, safe='')}.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            matrix[classes.index(row["actual"])][classes.index(row["predicted"])] += 1
    return classes, matrix
