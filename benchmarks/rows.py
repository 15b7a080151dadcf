"""Results of a benchmark in rows, a process each: written after every row, and finished rows are known again."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from components.storage.atomic import write_file


@dataclass
class Rows:
    """A file of results: what they were measured under, and rows by `NAME/SEED`."""

    path: Path
    under: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What a file holds; nothing, where there is none."""
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"under": {}, "rows": {}}
        return cls(path, content["under"], content["rows"])

    def digest(self, name: str, seed: int) -> str:
        """What a row's result follows from, besides the program and the machine."""
        raise NotImplementedError

    def page(self) -> str:
        """The results as Markdown."""
        raise NotImplementedError

    def write(self) -> None:
        """Write the file and the page beside it, each whole or not at all."""
        content = {"under": self.under, "rows": self.rows}
        write_file(self.path, json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n")
        write_file(self.path.with_suffix(".md"), self.page())

    def finished(self, name: str, seed: int) -> bool:
        """Whether a row is there that was made under the settings and data of now."""
        row = self.rows.get(f"{name}/{seed}")
        return row is not None and row["digest"] == self.digest(name, seed)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The finished rows of a name, by seed."""
        seeds = sorted(int(key.rpartition("/")[2]) for key in self.rows if key.rpartition("/")[0] == name)
        return [self.rows[f"{name}/{seed}"] for seed in seeds if self.finished(name, seed)]


def answer_of(module: str, *wish: object) -> Any:
    """What a module answers in a process of its own, on one thread; JSON in and out."""
    command = [sys.executable, "-m", module, json.dumps(wish)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout)


def mean(rows: list[dict[str, Any]], split: str, name: str) -> float:
    """A figure's mean over rows."""
    return float(statistics.mean(row[split][name] for row in rows))


def told(rows: list[dict[str, Any]], split: str, name: str) -> str:
    """A figure in percent, with its deviation where it is known."""
    spread = f" ± {100 * statistics.stdev(row[split][name] for row in rows):.1f}" if len(rows) > 1 else ""
    return f"{100 * mean(rows, split, name):.1f}{spread}"


def machine() -> str:
    """Processor and library, as the results name them."""
    import torch

    found = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    return f"{found[0] if found else 'unknown'}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}"
