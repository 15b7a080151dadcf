"""What a training step takes from the program around it, and what it leaves behind."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.company import company
from components.contract import note, report_folder, work_folder
from components.progress import progress
from components.runtime import Runtime
from components.tracking.journal import log_metrics

if TYPE_CHECKING:
    import torch

    from components.losses.ranks import Ranks
    from components.training.fitting import Fitted, Surroundings


@contextmanager
def surroundings(runtime: Runtime, label: str, stop: Callable[[], bool]) -> "Iterator[Surroundings]":
    """Device, ranks, threads, work folder, progress and tracking of a training step."""
    with company(runtime) as (device, ranks):
        yield (foremost if ranks.rank == 0 else behind)(runtime, label, stop, device, ranks)


def foremost(runtime: Runtime, label: str, stop: Callable[[], bool], device: "torch.device",
             ranks: "Ranks") -> "Surroundings":
    """What the only rank, or the first, works with."""
    from components.training.board import Board
    from components.training.curves import Curves
    from components.training.fitting import Keep, Surroundings

    work, reports = work_folder(), report_folder()
    name = label if reports is None else reports.name
    board = Board(Path(runtime.tensorboard) / name) if runtime.tensorboard else None
    kept = runtime.work_here().parent / "kept" / name / work.name[:12]
    return Surroundings(device, work, stop, log_metrics, lambda batches, total: progress(batches, total, label),
                        runtime.workers, runtime.checkpoint_seconds, Curves(reports, work.name, board),
                        runtime.diverged, Keep(runtime.keep, kept), ranks)


def behind(runtime: Runtime, label: str, stop: Callable[[], bool], device: "torch.device",
           ranks: "Ranks") -> "Surroundings":
    """What the other ranks work with: they write and show nothing."""
    from components.training.fitting import Keep, Surroundings

    return Surroundings(device, work_folder(), stop, lambda figures, epoch: None, lambda batches, total: batches,
                        runtime.workers, diverged=runtime.diverged, keep=Keep(runtime.keep), ranks=ranks)


def write_fitted(fitted: "Fitted", model: Path, metrics: Path, curves: Path) -> None:
    """Write the Model, its metrics and its learning curve."""
    fitted.save(model)
    summary = {**fitted.head["training"]["val"], "best_epoch": fitted.head["training"]["best_epoch"],
               "parameters": fitted.head["parameters"]}
    summary |= {f"slimming/below_{bound}": share for bound, share in fitted.slimming.get("below", {}).items()}
    metrics.write_text(json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    with curves.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(fitted.history[0]))
        writer.writeheader()
        writer.writerows(fitted.history)
    note("parameters", fitted.head["parameters"])
