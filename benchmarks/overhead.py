"""What a step costs besides its work, on a CPU: every step of the pipeline in a fresh process over a few tiny images.

    python benchmarks/overhead.py [--rounds 3] [--results benchmarks/results/overhead.json]

Overhead is the time from the start of the process to its end, less what the step's function takes besides imports. Its
shares are told too: the interpreter until the program's first line, imports by the library that they are made for,
everything around the function (settings, digests, locks, seals, MLflow, which loads in a process beside the step and is
waited for), and the end of the process. CPU seconds stand beside: of the step and of what it started, less those of the
work; on a machine that others use too they tell more than the clock. Then come `stillhouse --help`, the compilation of
the pipeline, and `dvc repro` with nothing to do where data.path is a manifest.
"""

import argparse
import builtins
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "torchvision", "timm", "mlflow", "pandas", "pyarrow", "sklearn", "scipy", "numpy", "onnx",
             "onnxruntime", "onnxscript", "matplotlib", "pydantic")
PARAMS = """\
data: {path: data/raw, root: "", layout: auto, variant: "", tasks: {}, columns: {}, unlabelled: "", default_task: label}
sample: {count: 120, size: 40, pictures: 3}
validate: {policy: quarantine}
index: {size: [32, 32]}
teachers:
  deep: {model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [8, 8, 16, 16]}}, epochs: 2, sizes: [32]}
student: {model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 16]}}, epochs: 2, sizes: [32],
          augment: {}}
teach: {views: 2}
distill: {temperature: 3.0, teachers: {force: true}}
evaluate: {splits: [val, test]}
compare: {confidence: 0.95}
export: {opset: 20}
seed: 0
runtime: {threads: 1}
"""


class Imports:
    """Seconds of imports by the library that they are made for; an import within one counts for the inner library."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.stack: list[str] = []
        self.mark = 0.0
        self.cpu = 0.0
        self.cpu_mark = 0.0
        self.real = builtins.__import__

    def charge(self) -> None:
        """Book the time since the last look on the library whose import is under way."""
        now, cpu = time.monotonic(), time.process_time()
        if self.stack:
            self.seconds[self.stack[-1]] += now - self.mark
            self.cpu += cpu - self.cpu_mark
        self.mark, self.cpu_mark = now, cpu

    def timed(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """Import as Python does; what is loaded already passes unmeasured."""
        if level or name in sys.modules:
            return self.real(name, globals, locals, fromlist, level)
        top = name.partition(".")[0]
        self.charge()
        self.stack.append(top if top in LIBRARIES else self.stack[-1] if self.stack else "other imports")
        try:
            return self.real(name, globals, locals, fromlist, level)
        finally:
            self.charge()
            self.stack.pop()

    def total(self) -> float:
        """Seconds of all imports so far."""
        return sum(self.seconds.values())


def probe(started: float, answer: Path, arguments: list[str]) -> int:
    """Run the program as `stillhouse` does, and write down where its time went; `started` by the machine's clock."""
    began = time.monotonic()
    imports = Imports()
    builtins.__import__ = imports.timed
    from components import cli, contract

    work = cpu = 0.0

    def measured(function: Callable[..., None]) -> Callable[..., None]:
        def run(*settings: Any, **paths: Any) -> None:
            nonlocal work, cpu
            start, before = time.monotonic(), imports.total()
            cpu_start, cpu_before = time.process_time(), imports.cpu
            function(*settings, **paths)
            work = time.monotonic() - start - (imports.total() - before)
            cpu = time.process_time() - cpu_start - (imports.cpu - cpu_before)
        return run

    load = contract.load_step
    contract.load_step = lambda name: replace(step := load(name), function=measured(step.function))
    code = cli.main(arguments)
    ended = time.monotonic()
    inside = ended - began - work - imports.total()
    answer.write_text(json.dumps({"ended": ended, "work": work, "cpu": cpu, "shares": {
        "interpreter": began - started, **imports.seconds, "around the function": inside}}))
    return code


def environment(project: Path) -> dict[str, str]:
    """What processes of the measurement are given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "STILLHOUSE_"))}
    return inherited | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1",
                        "STILLHOUSE_RUN": str(project), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def measure(project: Path, command: list[str]) -> dict[str, Any]:
    """Seconds and shares of one step's process."""
    answer = project / "answer.json"
    before, started = children(), time.monotonic()
    subprocess.run([sys.executable, __file__, "--probe", str(started), str(answer), *command], cwd=project, check=True,
                   env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    whole = time.monotonic() - started
    told = json.loads(answer.read_text())
    shares = told["shares"] | {"end of the process": started + whole - told["ended"]}
    return {"seconds": whole, "work": told["work"], "overhead": whole - told["work"],
            "cpu": children() - before - told["cpu"], "shares": shares}


def children() -> float:
    """CPU seconds of the processes that have ended so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def commands() -> dict[str, list[str]]:
    """The command of every stage, from the project's own dvc.yaml."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    found = {}
    for name, stage in stages.items():
        line = stage["do"]["cmd"].replace("${key}", "deep") if "do" in stage else stage["cmd"]
        found[name] = line.split()[1:]
    return found


def timed(project: Path, *command: str) -> float:
    """Seconds of one command."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return time.monotonic() - started


def beside(project: Path, rounds: int) -> dict[str, float]:
    """Medians of what is no step: start-up, compilation, and `dvc repro` with nothing to do over a manifest."""
    python = sys.executable
    plant_manifest(project)
    found = {"stillhouse --help": (python, "-m", "components", "--help"),
             "python -m pipeline compile": (python, "-m", "pipeline", "compile", "--output", "pipeline.yaml"),
             "dvc repro, nothing to do": ("dvc", "repro")}
    return {name: statistics.median(timed(project, *line) for _ in range(rounds)) for name, line in found.items()}


def plant_manifest(project: Path) -> None:
    """Make the project one of DVC whose data.path is a manifest, and bring it up to date."""
    (project / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    for name in ("components", "pipeline", "infra"):
        (project / name).symlink_to(ROOT / name)
    timed(project, sys.executable, "-m", "components", "lists", "data/raw", "--manifest", "images.csv")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("path: data/raw", "path: images.csv"))
    timed(project, "dvc", "init", "--no-scm", "-q")
    timed(project, "dvc", "repro")


def machine() -> str:
    """Where it was measured."""
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {version('torch')}, load {os.getloadavg()[0]:.1f}"


def table(steps: dict[str, Any]) -> str:
    """The figures as lines for people."""
    lines = [f"{'step':<10}{'seconds':>9}{'work':>8}{'overhead':>10}{'CPU s':>8}   shares of the overhead, most first"]
    for name, one in steps.items():
        shares = sorted(one["shares"].items(), key=lambda item: -item[1])
        told = ", ".join(f"{part} {seconds:.2f}" for part, seconds in shares if seconds >= 0.05)
        lines.append(f"{name:<10}{one['seconds']:>9.2f}{one['work']:>8.2f}{one['overhead']:>10.2f}"
                     f"{one['cpu']:>8.2f}   {told}")
    return "\n".join([*lines, ""])


def middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The run whose overhead is the median."""
    return sorted(found, key=lambda one: one["overhead"])[len(found) // 2]


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="processes a step; the median counts (default: 3)")
    parser.add_argument("--results", type=Path, help="JSON file to write the figures to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "params.yaml").write_text(PARAMS)
        shutil.copytree(ROOT / "registry", project / "registry")
        rounds = range(options.rounds)
        steps = {name: middle([measure(project, command) for _ in rounds]) for name, command in commands().items()}
        print(table(steps), flush=True)
        found = {"machine": machine(), "steps": steps, "beside": beside(project, options.rounds)}
    print("\n".join(f"{name}: {seconds:.2f} s" for name, seconds in found["beside"].items()))
    if options.results:
        options.results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        sys.exit(probe(float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
    main()
