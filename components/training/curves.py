"""Learning curves while they grow: a line of `metrics.jsonl` for every look and every epoch, and TensorBoard's files.

What stands here may differ from run to run (speed, memory), so it is no part of an artifact: the epochs that an
artifact holds are in `curves.csv`.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from components.storage.atomic import write_file
from components.training.board import Board

NAME, FAILED = "metrics.jsonl", "diverged.json"
APART = ("weight", "norm", "norms")  # sums that are no loss


@dataclass
class Curves:
    """Where the figures of one training go; without a folder and a board, nowhere.

    run: tells this training from others of the same folder, so that a resumed one goes on where its state stands.
    """

    folder: Path | None = None
    run: str = ""
    board: Board | None = None
    _broken: bool = field(default=False, init=False)

    def begin(self, step: int) -> None:
        """Start anew or, where a state was taken up, drop what lies beyond its step."""
        if self.board is not None:
            self.board.begin(step)
        self._write(lambda folder: write_file(folder / NAME, "".join(kept_lines(folder / NAME, self.run, step))))

    def add(self, step: int, values: Mapping[str, float], epoch: int | None = None) -> None:
        """Note figures after a step; epoch: the one that has ended, if one has."""
        if self.board is not None:
            self.board.add(step, values)
        ended = {} if epoch is None else {"epoch": epoch}
        self._write(lambda folder: append(folder / NAME, {"step": step} | ended | dict(values)))

    def keep_failure(self, cause: str, ids: Sequence[str]) -> None:
        """Write down why a training was stopped, and all ids of the batch that it was about."""
        told = json.dumps({"cause": cause, "ids": list(ids)}, indent=1)
        self._write(lambda folder: write_file(folder / FAILED, told + "\n"))

    def _write(self, write: Callable[[Path], None]) -> None:
        if self.folder is None or self._broken:
            return
        try:
            write(self.folder)
        except OSError as error:  # a full disk costs the curve, never the training
            self._broken = True
            print(f"warning: {self.folder}: {error.strerror}; {NAME} will lack the rest", file=sys.stderr)


def kept_lines(path: Path, run: str, step: int) -> list[str]:
    """The head of a curve, and its lines up to a step where an earlier process of the same run has written some."""
    head = json.dumps({"run": run}) + "\n"
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if step else []
    except FileNotFoundError:
        lines = []
    if not lines or lines[0] != head:
        return [head]
    whole = [line for line in lines if line.endswith("}\n")]  # a kill may cut the last one short
    return [head, *(line for line in whole[1:] if json.loads(line)["step"] <= step)]


def append(path: Path, record: Mapping[str, float]) -> None:
    """Add a line to a file."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(dict(record)) + "\n")


def figures_of(sums: Mapping[str, Tensor]) -> dict[str, float]:
    """An epoch's figures from its sums: means of losses by weight, and of the norms that were taken."""
    weight = float(sums["weight"])
    figures = {f"train/{name}": float(total) / weight for name, total in sums.items() if name not in APART}
    taken = float(sums.get("norms", 0.0))
    return figures | ({"train/gradient_norm": float(sums["norm"]) / taken} if taken else {})
