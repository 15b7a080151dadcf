"""A student's step with targets from a store, or from a live teacher, against the plain student's step: resnet18 as the
student, resnet50 as the teacher, measured in turn in one process on one thread.

    python -m benchmarks.distilling_speed [--rounds 9] [--steps 3]

A round gives every case some steps, after one that does not count. A ratio is of one round; printed are medians and
quartiles over the rounds, of CPU time and of wall time. Of a busy machine, trust the first. `plain, again` tells what
noise makes of a ratio of 1. An epoch is so many steps and nothing else, so that ratios of steps are those of epochs.
The live teacher is asked once as `components.probabilities.live` asks it, in float32, and once in the student's own
arithmetic and layout. `kept` is a store of the likeliest classes, read batch by batch; the others are turned into a
table of targets before the first step.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.datasets import drawn
from benchmarks.loop import EPOCHS, IMAGES, STORED, WORK, Case, ours, quartiles
from components.data.dataset import Dataset
from components.losses.distillation import Teaching, blended
from components.losses.objective import Objective
from components.models.artifact import Model
from components.models.network import Network, build_network
from components.models.outputs import Outputs
from components.models.preprocessing import Normalise, Preprocess
from components.models.settings import Architecture
from components.probabilities.judging import Program
from components.probabilities.live import Live
from components.probabilities.store import Store
from components.probabilities.targets import Asked, Match, read_targets
from components.probabilities.writing import StoreWriter
from components.process import prepare
from components.settings import Params
from components.train import Train
from components.training.devices import arithmetic, place
from components.training.goals import losses_of

VIEWS, KEPT, TEACHER, TEMPERATURE, WEIGHT = 8, 2, "resnet50", 3.0, 0.7


class Narrowed(torch.nn.Module):
    """A network in the arithmetic and layout of a recipe."""

    def __init__(self, network: Network, recipe: Train) -> None:
        super().__init__()
        self.network, self.precision, self.layout = network, recipe.precision, recipe.memory_format
        place(network, torch.device("cpu"), recipe.memory_format)

    def forward(self, images: Tensor) -> Outputs:
        """What the network says."""
        if self.layout == "channels_last":
            images = images.contiguous(memory_format=torch.channels_last)
        with arithmetic(self.precision, torch.device("cpu")):
            found: Outputs = self.network(images)
        return found


def store_of(folder: Path, dataset: Dataset, k: int) -> Store:
    """A store of drawn words about every image."""
    head = {"tasks": [task.to_json() for task in dataset.tasks], "sources": [TEACHER], "k": k,
            "views": list(range(VIEWS + 1))}
    writer = StoreWriter(folder, head, dataset.ids)
    for shard in writer.unwritten(TEACHER):
        for task in dataset.tasks:
            shape = len(writer.rows_of(shard)), VIEWS + 1
            said = np.log(np.random.default_rng(shard).dirichlet(np.ones(len(task.classes)), shape) + 1e-9)
            writer.put(TEACHER, task.name, shard, said)
    writer.finish()
    return Store.open(folder)


def live(recipe: Train, dataset: Dataset, narrow: bool) -> Teaching:
    """An untrained teacher, asked in the step."""
    size = (STORED, STORED)
    network = build_network(Architecture(name=TEACHER), dataset.tasks, size, 0).eval()
    asked = Narrowed(network, recipe) if narrow else network
    look = Preprocess(dataset.size, size, Normalise.named("imagenet"))
    model = Model(TEACHER, asked, look, dataset.tasks, {}, {"geometry": {"input": list(size)}})  # type: ignore[arg-type]
    return Live([model], dataset, Program(recipe.augment, recipe.seed, dataset.size), TEMPERATURE).of


def cases(recipe: Train, dataset: Dataset, folder: Path) -> dict[str, Case]:
    """What is timed, by name; the plain student first."""
    def objective(teaching: Teaching) -> Objective:
        return blended(losses_of(recipe, dataset, "student"), teaching, (TEMPERATURE, WEIGHT))

    def from_store(store: Store, match: Match) -> Case:
        targets = read_targets(store, dataset, Asked(TEMPERATURE, match, few=True))
        return ours(recipe, dataset, objective(targets.of))

    dense, kept = store_of(folder / "dense", dataset, 0), store_of(folder / "kept", dataset, KEPT)
    return {
        "plain": ours(recipe, dataset),
        "plain, again": ours(recipe, dataset),
        "store, mean": from_store(dense, "mean"),
        "store, view by view": from_store(dense, "any"),
        f"store, {KEPT} kept": from_store(kept, "any"),
        f"live {TEACHER}": ours(recipe, dataset, objective(live(recipe, dataset, narrow=False))),
        f"live {TEACHER}, narrow": ours(recipe, dataset, objective(live(recipe, dataset, narrow=True))),
    }


def measure(timed: dict[str, Case], batch: int, rounds: int, steps: int) -> None:
    """Print the speeds of cases, their time relative to the first, and relative to a step from the store."""
    spent: dict[str, list[tuple[float, float]]] = {case: [] for case in timed}
    for turn in range(rounds + 1):  # the first is a warm-up
        for case, advance in sorted(timed.items(), reverse=turn % 2 == 1):
            spent[case].append(advance(steps))
    print(f"{'':<24}{'images a CPU s':>15}   to plain, CPU time       to plain, wall time      to the store, CPU time")
    for case, own in spent.items():
        speed = steps * batch / statistics.median(cpu for cpu, _ in own[1:])
        ratios = [[mine[at] / base[at] for mine, base in zip(own[1:], spent[against][1:], strict=True)]
                  for against, at in (("plain", 0), ("plain", 1), ("store, mean", 0))]
        print(f"{case:<24}{speed:>15.1f}   {'   '.join(quartiles(ratio) for ratio in ratios)}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="training steps of a case in a round (default: 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        dataset = Dataset.open(drawn(Path(scratch), STORED, IMAGES))
        recipe = Params({"student": {**WORK["resnet18"], "epochs": EPOCHS}}).section("student").resolved()
        assert isinstance(recipe, Train)
        print(f"{recipe.model.name}, {recipe.sizes[0]} px, batch {recipe.batch}, {recipe.precision}, "
              f"{recipe.memory_format}")
        measure(cases(recipe, dataset, Path(scratch)), recipe.batch, options.rounds, options.steps)


if __name__ == "__main__":
    prepare()
    main()
