"""How fast a training steps in each way that it could be done: measured on its own batches, here and now."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from statistics import median

import torch

from components.data.dataset import Dataset
from components.data.loader import Batch, Batches, load
from components.data.resident import Resident, keep_pixels
from components.data.samplers.choice import KINDS
from components.data.samplers.pool import gather
from components.losses.objective import trained
from components.models.preprocessing import Normalise
from components.training.devices import cpu_has_bf16, resolve, use_threads
from components.training.goals import Goal, fresh_state, labelled_rows, losses_of
from components.training.settings import Recipe
from components.training.state import State
from components.training.step import Job, size_of, train_step

WARM = 2  # steps before anything is timed: memory is laid out, kernels are chosen or compiled


@dataclass(frozen=True)
class Way:
    """One way to train: settings of the recipe and of `runtime`."""

    precision: str
    memory_format: str
    compile: str
    threads: int
    workers: int

    def lines(self, section: str) -> list[str]:
        """What to put into params.yaml."""
        return [f"{section}:", f"  precision: {self.precision}", f"  memory_format: {self.memory_format}",
                f"  compile: {self.compile}", "runtime:", f"  threads: {self.threads}", f"  workers: {self.workers}"]


@dataclass
class Course:
    """A training under way in one way; seconds: of each of its timed steps."""

    way: Way
    job: Job
    state: State
    batches: Iterator[Batch]
    size: tuple[int, int]
    seconds: list[float] = field(default_factory=list)

    def go(self, steps: int, timed: bool = True) -> None:
        """Take some steps, loading included, and wait for the device at the end."""
        use_threads(self.way.threads)
        normalise = Normalise.named(self.job.recipe.model.normalisation).to(self.job.device)
        began = time.perf_counter()
        for batch in islice(self.batches, steps):
            train_step(self.job, self.state, batch, normalise, self.size)
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
        if timed:
            self.seconds.append((time.perf_counter() - began) / steps)

    def speed(self) -> float:
        """Images a second, by the median of the rounds."""
        return self.job.recipe.batch / median(self.seconds)


def ways(device: torch.device, threads: Sequence[int], workers: Sequence[int], compiling: bool) -> list[Way]:
    """All combinations that make sense on a device."""
    half = ["bf16", "fp16"] if device.type == "cuda" else ["bf16"] if cpu_has_bf16() else []
    modes = ["off", "on"] if compiling else ["off"]
    return [Way(*one) for one in product(["fp32", *half], ["contiguous", "channels_last"], modes, threads, workers)]


def usual(recipe: Recipe, device: torch.device, threads: int, workers: int) -> Way:
    """The way that the settings stand for as they are."""
    settled = resolve(recipe, device.type)
    return Way(settled.precision, settled.memory_format, settled.compile, threads, workers)


def begin(goal: Goal, dataset: Dataset, device: torch.device, way: Way, kept: Resident | None = None) -> Course:
    """A training of the recipe in one way, warmed up; it begins where every other does."""
    recipe = goal.recipe.model_copy(update={"precision": way.precision, "memory_format": way.memory_format,
                                            "compile": way.compile})
    rows = labelled_rows(dataset, "train")
    state, _ = fresh_state(replace(goal, recipe=recipe), dataset, rows, device)
    job = Job(dataset, rows, recipe, goal.objective, goal.seed, device, goal.view_of, lambda epoch, figures: {},
              lambda state: None, lambda: False, lambda moments, total: moments, way.workers, kept=kept)
    course = Course(way, job, state, endless(job, way.workers), size_of(recipe, recipe.epochs - 1, dataset.size))
    course.go(WARM, timed=False)
    return course


def endless(job: Job, workers: int) -> Iterator[Batch]:
    """The batches of the recipe's sampler, epoch after epoch."""
    pool = gather(job.dataset, job.rows, job.recipe.sampler, job.recipe.batch, job.seed)
    kind, epoch = KINDS[job.recipe.sampler.name], 0
    memory = kind.begin(pool)
    while True:
        draws = kind.plan(pool, epoch, memory)
        plan = [(draw.rows, job.view_of(epoch)) for draw in draws]
        batches = Batches(job.dataset, plan, job.seed, job.recipe.augment, job.rows, job.kept)
        yield from load(batches, workers, [draw.task for draw in draws])
        epoch += 1


def measure(goal: Goal, dataset: Dataset, device: torch.device, tried: Sequence[Way],
            rounds: tuple[int, int]) -> list[Course]:
    """Every way by turns, so that what else the machine does falls on all alike; the fastest first.

    rounds: how many, and steps in each.
    """
    count, steps = rounds
    kept = keep_pixels(goal.recipe.augment, dataset, labelled_rows(dataset, "train"), device)
    courses = [begin(goal, dataset, device, way, kept) for way in tried]
    for _ in range(count):
        for course in courses:
            course.go(steps)
    return sorted(courses, key=Course.speed, reverse=True)


def goal_of(recipe: Recipe, seed: int, name: str, dataset: Dataset) -> Goal:
    """What the section trains, on labels."""
    return Goal(name, recipe, trained(losses_of(recipe, dataset, name)), seed)
