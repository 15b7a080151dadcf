"""From a recipe and an objective to a sealed, calibrated model: what training and distilling share."""

import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.dataset import Dataset
from components.data.resident import keep_pixels
from components.data.samplers.adaptive import by_class
from components.data.samplers.pool import Pool, gather, notes
from components.errors import UserError
from components.evaluation.calibration import fit_temperature, labelled
from components.evaluation.metrics import log_probabilities, measure
from components.losses.ranks import ALONE, Ranks
from components.models.artifact import count_parameters, save_model, save_weights
from components.models.inference import Stopped, network_logits
from components.models.network import Network
from components.models.preprocessing import Normalise, Preprocess, geometry_head
from components.training import checkpoints
from components.training.curves import Curves
from components.training.divergence import Diverged
from components.training.goals import Goal, fresh_state, labelled_rows, warn_of_sizes
from components.training.loop import run
from components.training.sharing import asked, go_on
from components.training.slimming import prunable
from components.training.staging import stage_notes
from components.training.state import State
from components.training.step import Job, Moment, size_of


@dataclass(frozen=True)
class Keep:
    """Which models are kept beside the best and the last: those of every so many epochs, 0 for none; and where."""

    every: int = 0
    folder: Path = Path()


@dataclass(frozen=True)
class Surroundings:
    """What a training needs of the program around it.

    work: folder for checkpoints. stop: whether termination was asked for. report: metrics of an epoch go here. curves:
    and, with those of every look at the loss, here. diverged: a loss so many times its first mean is too high; 0: none
    is. ranks: those that train together; the first alone saves.
    """

    device: torch.device
    work: Path
    stop: Callable[[], bool]
    report: Callable[[dict[str, float], int], None]
    show: Callable[[Iterator[Moment], int], Iterator[Moment]]
    workers: int = 0
    save_seconds: float = 30.0
    curves: Curves = field(default_factory=Curves)
    diverged: float = 5.0
    keep: Keep = Keep()
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class Fitted:
    """A trained network, the head that describes it, its learning curve, and the weights of the last epoch.

    last: empty where the last epoch is the one that the network holds. slimming: what of it could be pruned, empty
    where nothing pushed it there.
    """

    network: Network
    head: dict[str, Any]
    history: list[dict[str, float]]
    last: dict[str, Tensor]
    slimming: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the Model artifact; beside it `last.safetensors` where the best epoch was an earlier one.

        And `slimming.json`, about these very weights, where they were slimmed.
        """
        save_model(folder, self.head, self.network.state_dict())
        if self.last:
            save_weights(folder / "last.safetensors", self.last)
        if self.slimming:
            text = json.dumps(self.slimming, sort_keys=True, indent=1, allow_nan=False)
            (folder / "slimming.json").write_text(text + "\n", encoding="utf-8")


def fit(goal: Goal, dataset: Dataset, around: Surroundings) -> Fitted | None:
    """Train from the last checkpoint or from scratch.

    None where it was stopped before the end (its state is saved), and on all ranks but the first.
    """
    rows = labelled_rows(dataset, "train") if goal.rows is None else goal.rows
    if not len(rows):
        wanted = "labelled sample" if goal.rows is None else "sample"
        raise UserError(f"the train split has no {wanted}", "check the labels and the findings of validate")
    warn_of_sizes(goal, dataset.size)
    state, begun = fresh_state(goal, dataset, rows, around.device, around.ranks)
    state.alarm.bound = around.diverged
    for note in go_on(goal.recipe, state, around.ranks, around.work):
        print(f"warning: {goal.name}: {note}", file=sys.stderr)
    around.curves.begin(state.step)
    normalise = Normalise.named(goal.recipe.model.normalisation)
    size = size_of(goal.recipe, goal.recipe.epochs - 1, dataset.size)
    preprocess = Preprocess(dataset.size, size, normalise).to(around.device)
    pool = gather(dataset, rows, goal.recipe.sampler, goal.recipe.batch, goal.seed)
    watch = _Watch(goal, dataset, around, state, preprocess, labelled_rows(dataset, "val"), pool)
    job = Job(dataset, rows, goal.recipe, goal.objective, goal.seed, around.device, goal.view_of, watch.after_epoch,
              watch.save, around.stop, around.show,
              around.workers, around.save_seconds, lambda: watch.recalls, goal.factor, around.curves.add, around.ranks,
              keep_pixels(goal.recipe.augment, dataset, rows, around.device))
    for note in [*begun, *stage_notes(goal.recipe), *sampler_notes(watch.pool, watch.rows, dataset),
                 *goal.recipe.schedule.notes(goal.recipe.epochs)]:
        print(f"warning: {goal.name}: {note}", file=sys.stderr)
    return watch.to_the_end(job)


def sampler_notes(pool: Pool, val: NDArray[np.int64], dataset: Dataset) -> list[str]:
    """What a user should know of what the sampler draws from, beside the rows of val that judge it."""
    labels = {task.name: dataset.labels(task)[val] for task in dataset.tasks if task.name in pool.labels}
    return notes(pool, replace(pool, rows=val, labels=labels))


@dataclass
class _Watch:
    """Evaluates the averaged weights after each epoch and remembers the best."""

    goal: Goal
    dataset: Dataset
    around: Surroundings
    state: State
    preprocess: Preprocess
    rows: NDArray[np.int64]
    pool: Pool
    since: tuple[float, int] = (0.0, 0)
    recalls: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.since = time.monotonic(), self.state.step

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> dict[str, float]:
        speed = self._speed()
        found = self._figures(self._logits(self.state.average)) if len(self.rows) else {}
        score = (found.get("val/accuracy", 0.0), -found.get("val/loss", 0.0))
        if self.goal.recipe.select == "last" or not self.state.best or score > self.state.best_score:
            self.state.best = {name: tensor.clone() for name, tensor in self.state.average.state_dict().items()}
            self.state.best_score, self.state.best_epoch = score, epoch
        told = figures | found | speed
        self.around.report(told, epoch + 1)
        self.around.curves.add(self.state.step, told, epoch + 1)
        if self.around.keep.every and (epoch + 1) % self.around.keep.every == 0:
            self._keep(epoch)
        self.since = time.monotonic(), self.state.step
        return found

    def _speed(self) -> dict[str, float]:
        """Images a second since the epoch began here, evaluation aside, and the most memory that a GPU held."""
        began, step = self.since
        images = (self.state.step - step) * self.goal.recipe.batch
        told = {"images_per_second": images / (time.monotonic() - began)} if images else {}
        if self.around.device.type == "cuda":
            told["gpu_memory_gib"] = torch.cuda.max_memory_allocated(self.around.device) / 2**30
        return told

    def save(self, state: State) -> None:
        """Write a checkpoint, on the first rank; Diverged instead, where there is nothing left to go on from."""
        state.alarm.refuse_nonsense(self.dataset.ids)
        if self.around.ranks.rank == 0:
            checkpoints.save(self.around.work, state)

    def to_the_end(self, job: Job) -> Fitted | None:
        """Run the loop and finish; None where it was stopped before (its state is saved), and beside the first rank."""
        try:
            fitted = self.finish() if run(job, self.state) else None
            return fitted if self.around.ranks.rank == 0 else None
        except Stopped:  # after the last step
            self.save(self.state)
            return None
        except Diverged as error:
            self.around.curves.keep_failure(error.cause, error.ids)
            raise

    def _logits(self, network: Any) -> dict[str, NDArray[np.float32]]:
        dataset, look, around = self.dataset, self.preprocess, self.around
        return asked(around.ranks, lambda rows: network_logits(network, look, dataset, rows), self.rows, around.stop)

    def _figures(self, logits: dict[str, NDArray[np.float32]]) -> dict[str, float]:
        found: dict[str, float] = {}
        for task in self.dataset.tasks:
            labels = self.dataset.labels(task)[self.rows]
            if labelled(labels).any():
                measured = measure(log_probabilities(logits[task.name], 1.0, task.kind), labels, task.kind)
                kind = "accuracy" if task.kind == "single" else "f1_macro"
                found[f"val/{task.name}/accuracy"] = measured.values[kind]
                found[f"val/{task.name}/loss"] = measured.values["log_loss"]
                classes = measured.classes
                self.recalls[task.name] = np.where(classes.support > 0, classes.recall, np.nan)
        for kind in ("accuracy", "loss"):
            found[f"val/{kind}"] = float(np.mean([value for name, value in found.items() if name.endswith(f"/{kind}")]))
        return found

    def finish(self) -> Fitted:
        network = self.state.network
        final = self.state.best_epoch + 1 == self.goal.recipe.epochs
        last = {} if final else copy.deepcopy(self.state.average).float().state_dict()
        network.load_state_dict(self.state.best)
        network.float().eval()
        assert isinstance(network, Network)
        slimming = prunable(network) if self.goal.recipe.slimming > 0 else {}
        return Fitted(network, self._head(network, self.state.best_epoch), self.state.history, last, slimming)

    def _keep(self, epoch: int) -> None:
        network = self.state.average
        assert isinstance(network, Network)
        head = self._head(network, epoch)
        if self.around.ranks.rank == 0:
            with checkpoints.sealed(self.around.keep.folder / f"epoch-{epoch + 1:04d}") as folder:
                save_model(folder, head, network.state_dict())

    def _head(self, network: Network, epoch: int) -> dict[str, Any]:
        logits = self._logits(network)
        temperatures = {
            task.name: fit_temperature(logits[task.name], self.dataset.labels(task)[self.rows], task.kind,
                                       f"{self.goal.name}, {task.name}")
            for task in self.dataset.tasks}
        recipe = self.goal.recipe
        size = size_of(recipe, recipe.epochs - 1, self.dataset.size)
        return {
            "name": self.goal.name,
            "architecture": recipe.model.model_dump(mode="json"),
            "tasks": [task.to_json() for task in self.dataset.tasks],
            "geometry": geometry_head(self.dataset.size, size, self.dataset.head["geometry"]["pad"],
                                      recipe.model.normalisation),
            "calibration": {name: {"temperature": value} for name, value in temperatures.items()},
            "parameters": count_parameters(network),
            "training": {"epochs": recipe.epochs, "best_epoch": epoch + 1,
                         "precision": recipe.precision, "val": self._figures(logits) if len(self.rows) else {},
                         **({"quotas": by_class(self.pool, self.state.sampler)} if self.state.sampler else {})},
        }
