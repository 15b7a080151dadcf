"""What `benchmarks.recipes` asks of a process of its own: a measured cost, or a trained row; JSON in and out."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.process import prepare

if TYPE_CHECKING:
    from components.data.dataset import Dataset
    from components.train import Train
    from components.training.fitting import Fitted
    from components.training.goals import Goal

WARM, STEPS, ROUNDS = 3, 10, 2  # steps before and in a measurement, measurements
Values = dict[str, Any]  # of a training section


def recipe_of(values: Values, seed: int = 0) -> "Train":
    """The settings that values stand for."""
    from components.settings import Params
    from components.train import Train

    found = Params({"seed": seed, "student": values}).section("student")
    assert isinstance(found, Train)
    return found.resolved()


def trained_by(recipe: "Train", dataset: "Dataset", stop: Callable[[], bool] = lambda: False,
               after_epoch: Callable[[], None] = lambda: None) -> "Fitted | None":
    """Train one recipe on the CPU; None where `stop`, which is asked before each step, ended it."""
    from components.losses.objective import trained
    from components.training.goals import Goal, losses_of

    goal = Goal("row", recipe, trained(losses_of(recipe, dataset, "row")), recipe.seed)
    return reached(goal, dataset, stop, after_epoch)


def reached(goal: "Goal", dataset: "Dataset", stop: Callable[[], bool] = lambda: False,
            after_epoch: Callable[[], None] = lambda: None) -> "Fitted | None":
    """The same for whatever is to be trained."""
    import torch

    from components.training.fitting import Surroundings, fit

    with tempfile.TemporaryDirectory() as work:
        return fit(goal, dataset, Surroundings(torch.device("cpu"), Path(work), stop, lambda *_: after_epoch(),
                                               lambda moments, _: moments, save_seconds=1e9))


def step_seconds(recipe: "Train", dataset: "Dataset") -> float:
    """CPU seconds of a training step, loading included, after a few that do not count."""
    marks: list[float] = []

    def stop() -> bool:
        marks.append(time.process_time())
        return len(marks) > WARM + STEPS

    trained_by(recipe, dataset, stop)
    return (marks[-1] - marks[WARM]) / STEPS


def cost(base: Values, row: Values, dataset: "Dataset") -> float:
    """CPU seconds of a row's step relative to the base's, measured in turn; a mean over the sizes that it looks at."""
    own = recipe_of(row)
    heights = own.scales.heights(row["sizes"][-1]) if own.scales.share else own.sizes
    alone = [recipe_of(row | {"sizes": [height], "scales": {}}) for height in heights]
    ratios = []
    for _ in range(ROUNDS):
        plain = step_seconds(recipe_of(base), dataset)
        ratios.append(statistics.mean(step_seconds(one, dataset) for one in alone) / plain)
    return statistics.mean(ratios)


def epoch_seconds(base: Values, dataset: "Dataset") -> float:
    """CPU seconds of an epoch of the base, its look at val included: the fastest of three, after one."""
    marks: list[float] = []
    trained_by(recipe_of(base | {"epochs": 4}), dataset, after_epoch=lambda: marks.append(time.process_time()))
    return min(later - earlier for earlier, later in pairwise(marks))


def train(row: Values, seed: int, dataset: "Dataset") -> dict[str, Any]:
    """Train a row and measure it on val and test."""
    began = time.process_time(), time.perf_counter()
    fitted = trained_by(recipe_of(row, seed), dataset)
    assert fitted is not None, "nothing stops it"
    spent = time.process_time() - began[0], time.perf_counter() - began[1]
    found = {split: measured(fitted, dataset, split) for split in ("val", "test")}
    return {**found, "epochs": row["epochs"], "best_epoch": fitted.head["training"]["best_epoch"],
            "cpu_seconds": round(spent[0], 1), "wall_seconds": round(spent[1], 1),
            "train_loss": fitted.history[-1]["train/loss"]}


def measured(fitted: "Fitted", dataset: "Dataset", split: str) -> dict[str, float]:
    """Accuracy, balanced accuracy and log-loss of the one task on a split."""
    from components.evaluation.metrics import log_probabilities, measure
    from components.models.inference import network_logits
    from components.models.preprocessing import Normalise, Preprocess

    (task,), rows, size = dataset.tasks, dataset.rows(split), tuple(fitted.head["geometry"]["input"])
    look = Preprocess(dataset.size, size, Normalise.named(fitted.head["architecture"]["normalisation"]))
    logits = network_logits(fitted.network, look, dataset, rows)[task.name]
    values = measure(log_probabilities(logits, 1.0, task.kind), dataset.labels(task)[rows], task.kind).values
    return {name: values[name] for name in ("accuracy", "balanced_accuracy", "log_loss")}


def answer(folder: str, kind: str, *wish: Any) -> Any:
    """What is printed: the seconds of an epoch, a relative cost, or a trained row."""
    from components.data.dataset import Dataset
    from components.training.devices import use_threads

    use_threads(1)
    dataset = Dataset.open(Path(folder))
    kinds: dict[str, Callable[..., Any]] = {"epoch": epoch_seconds, "cost": cost, "train": train}
    return kinds[kind](*wish, dataset)


if __name__ == "__main__":
    prepare()
    print(json.dumps(answer(*json.loads(sys.argv[1]))))
