"""Training steps in ratios, measured in turn in one process on one thread: the loop of `components.training` against

- a bare PyTorch loop written out here: the same network, arithmetic, layout, views, loss, average of weights;
- the same bare loop again, against itself: what the machine's noise makes of a ratio of 1;
- the bare loop on float tensors that lie ready in memory, without views and without an average;
- the bare loop as PyTorch comes: float32 and NCHW;
- timm's training on JPEG files, and on the decoded images in memory. Its train.py is no part of its package, so its
  steps are written out here with timm's own create_loader, create_optimizer_v2, scheduler, loss and ModelEmaV3; crop,
  mirror, jitter and erasing, batch, arithmetic and layout as in ours.

    python -m benchmarks.loop [--rounds 9] [--steps 3] [--work NAME ...]

A round gives every case some steps, after one that does not count. A ratio is of one round; printed are medians and
quartiles over the rounds, of CPU time and of wall time. Of a busy machine, trust the first.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.datasets import drawn
from components.data.augment import draw_views, render
from components.data.dataset import Dataset
from components.losses.objective import Objective, trained
from components.models.network import Network, build_network
from components.process import prepare
from components.settings import Params
from components.train import Train
from components.training.devices import place
from components.training.goals import losses_of
from components.training.loop import run
from components.training.optimizers import build_optimizer
from components.training.state import State
from components.training.step import Job, size_of

THIN = {"name": "resnet18", "options": {"channels": [32, 64, 128, 256], "stem_type": "deep", "stem_width": 16}}
WORK: dict[str, dict[str, Any]] = {
    "resnet18": {"model": {"name": "resnet18"}, "sizes": [160], "batch": 32},
    "mobilenetv3_small_100": {"model": {"name": "mobilenetv3_small_100"}, "sizes": [160], "batch": 32},
    "thin": {"model": THIN, "sizes": [64], "batch": 64},
}
EPOCHS, IMAGES, STORED, DECAY = 10000, 640, 160, 0.998
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OURS, BARE = "ours", "bare loop"

# Runs some steps; CPU seconds and wall seconds.
Case = Callable[[int], tuple[float, float]]


@dataclass(frozen=True)
class Arithmetic:
    """Whether convolutions are in bfloat16, and the layout of images."""

    half: bool
    layout: torch.memory_format


def now() -> tuple[float, float]:
    """CPU time and wall time, seconds."""
    return time.process_time(), time.perf_counter()


def between(began: tuple[float, float], ended: tuple[float, float]) -> tuple[float, float]:
    """What has passed."""
    return ended[0] - began[0], ended[1] - began[1]


def ours(recipe: Train, dataset: Dataset, objective: Objective | None = None) -> Case:
    """THE loop, stopped after some steps and resumed from the state that it left; from labels where none is given."""
    network = build_network(recipe.model, dataset.tasks, size_of(recipe, 0, dataset.size), 0)
    place(network, torch.device("cpu"), recipe.memory_format)
    state = State.fresh(network, build_optimizer(recipe.optimizer, network))
    asked: list[tuple[float, float]] = []
    wish = [0]

    def stop() -> bool:
        asked.append(now())
        return len(asked) > wish[0] + 1

    job = Job(dataset=dataset, rows=dataset.rows("train"), recipe=recipe, seed=0, device=torch.device("cpu"),
              objective=objective or trained(losses_of(recipe, dataset, OURS)), view_of=lambda epoch: epoch + 1,
              after_epoch=lambda epoch, figures: {}, save=lambda state: None, stop=stop,
              show=lambda moments, total: moments, save_seconds=1e9)

    def case(steps: int) -> tuple[float, float]:
        asked.clear()
        wish[0] = steps
        run(job, state)
        return between(asked[1], asked[-1])

    return case


def bare(recipe: Train, dataset: Dataset, arithmetic: Arithmetic) -> Iterator[None]:
    """A training step after the other, as one writes it in a script."""
    size, network, optimizer = prepared(recipe, dataset, arithmetic)
    labels = torch.from_numpy(dataset.labels(dataset.tasks[0]))
    average = [p.detach().clone() for p in network.state_dict().values() if p.is_floating_point()]
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
    for step, (epoch, rows) in enumerate(batches(recipe, dataset)):
        views = draw_views(recipe.augment, 0, dataset.ids[rows], epoch + 1, 1.0)
        images = (render(torch.from_numpy(dataset.pixels(rows)), views, (size, size)) - mean) / deviation
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.lr * 0.5 * (1 + math.cos(math.pi * step / 10**6))
        learn(network, optimizer, images.contiguous(memory_format=arithmetic.layout), labels[rows], arithmetic)
        now_at = [p for p in network.state_dict().values() if p.is_floating_point()]
        torch._foreach_lerp_(average, now_at, 1 - DECAY)
        yield


def ready(recipe: Train, dataset: Dataset, arithmetic: Arithmetic) -> Iterator[None]:
    """Nothing but forward, backward and the optimiser, on tensors that lie ready."""
    size, network, optimizer = prepared(recipe, dataset, arithmetic)
    found = [(torch.randn(len(rows), 3, size, size).contiguous(memory_format=arithmetic.layout),
              torch.from_numpy(dataset.labels(dataset.tasks[0])[rows]))
             for _, (_, rows) in zip(range(4), batches(recipe, dataset), strict=False)]
    for images, target in cycle(found):
        learn(network, optimizer, images, target, arithmetic)
        yield


def prepared(recipe: Train, dataset: Dataset, arithmetic: Arithmetic) -> tuple[int, Network, torch.optim.Optimizer]:
    """The side of images, and our network and optimiser for a bare loop."""
    size, _ = size_of(recipe, 0, dataset.size)
    network = build_network(recipe.model, dataset.tasks, (size, size), 0).to(memory_format=arithmetic.layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.optimizer.lr, betas=(0.9, 0.999))
    return size, network, optimizer


def batches(recipe: Train, dataset: Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Epoch and rows of a batch, without end."""
    rows, chance = dataset.rows("train"), np.random.default_rng(0)
    for epoch in range(EPOCHS):
        order = chance.permutation(rows)
        for first in range(0, len(rows) - recipe.batch + 1, recipe.batch):
            yield epoch, order[first : first + recipe.batch]


def learn(network: Network, optimizer: torch.optim.Optimizer, images: Tensor, target: Tensor,
          arithmetic: Arithmetic) -> None:
    """Forward, backward, step."""
    with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic.half):
        logits = next(iter(network(images).logits.values()))
    optimizer.zero_grad(set_to_none=True)
    cross_entropy(logits.float(), target, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class Decoded(torch.utils.data.Dataset[Any]):
    """Decoded images in memory as timm's loader takes them."""

    transform: Any = None

    def __init__(self, dataset: Dataset) -> None:
        rows = dataset.rows("train")
        self.images = [Image.fromarray(image) for image in dataset.pixels(rows)]
        self.labels = dataset.labels(dataset.tasks[0])[rows].tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int) -> tuple[Any, int]:
        return self.transform(self.images[item]), self.labels[item]


def files_of(dataset: Dataset, folder: Path) -> Path:
    """The images of the train split as JPEG files in class folders."""
    task, rows = dataset.tasks[0], dataset.rows("train")
    for row, label, image in zip(rows, dataset.labels(task)[rows], dataset.pixels(rows), strict=True):
        place_of = folder / task.classes[label]
        place_of.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place_of / f"{row}.jpg", quality=90)
    return folder


def timm_steps(recipe: Train, images: Any, classes: int, arithmetic: Arithmetic) -> Iterator[None]:
    """The steps of timm's train.py with --opt adamw --model-ema --sched cosine --channels-last, and --amp for bf16."""
    import timm
    from timm.data import create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import AverageMeter, ModelEmaV3

    size, options = recipe.sizes[0], recipe.augment
    model = timm.create_model(recipe.model.name, num_classes=classes, **recipe.model.options)
    model = model.to(memory_format=arithmetic.layout).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=recipe.optimizer.lr,
                                    weight_decay=recipe.optimizer.weight_decay)
    loader = create_loader(
        images, (3, size, size), recipe.batch, is_training=True, re_prob=options.erase, re_mode="pixel",
        scale=options.crop, ratio=options.ratio, hflip=options.flip, color_jitter=options.brightness, num_workers=0,
        mean=MEAN, std=DEVIATION, device=torch.device("cpu"), persistent_workers=False)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS, warmup_epochs=1,
                                       updates_per_epoch=len(loader), step_on_epochs=False)
    average, seen, update = ModelEmaV3(model, decay=DECAY), AverageMeter(), 0
    judge = LabelSmoothingCrossEntropy(0.1)
    while True:
        for pixels, target in loader:
            pixels = pixels.contiguous(memory_format=arithmetic.layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic.half):
                loss = judge(model(pixels), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            update += 1
            average.update(model, step=update)
            seen.update(loss.item(), len(pixels))
            scheduler.step_update(num_updates=update, metric=seen.avg)
            yield


def stepping(steps: Iterator[None]) -> Case:
    """A case from an iterator that trains one step at each turn."""
    def case(count: int) -> tuple[float, float]:
        next(steps)
        began = now()
        for _ in range(count):
            next(steps)
        return between(began, now())

    return case


def cases(recipe: Train, dataset: Dataset, files: Path) -> dict[str, Case]:
    """What is timed, by name; ours first."""
    from timm.data import ImageDataset

    last = recipe.memory_format == "channels_last"
    same = Arithmetic(recipe.precision == "bf16", torch.channels_last if last else torch.contiguous_format)
    classes = len(dataset.tasks[0].classes)
    return {
        OURS: ours(recipe, dataset),
        BARE: stepping(bare(recipe, dataset, same)),
        "bare loop, again": stepping(bare(recipe, dataset, same)),
        "bare, tensors lie ready": stepping(ready(recipe, dataset, same)),
        "bare, float32 and NCHW": stepping(bare(recipe, dataset, Arithmetic(False, torch.contiguous_format))),
        "timm, JPEG files": stepping(timm_steps(recipe, ImageDataset(str(files)), classes, same)),
        "timm, decoded in memory": stepping(timm_steps(recipe, Decoded(dataset), classes, same)),
    }


def quartiles(ratios: list[float]) -> str:
    """The median and the quartiles of ratios."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:>6.3f} ({low:.3f} .. {high:.3f})"


def measure(name: str, dataset: Dataset, files: Path, rounds: int, steps: int) -> None:
    """Print the speeds of a work's cases and the ratios of ours to them."""
    recipe = Params({"student": {**WORK[name], "epochs": EPOCHS}}).section("student").resolved()
    assert isinstance(recipe, Train)
    timed = cases(recipe, dataset, files)
    spent: dict[str, list[tuple[float, float]]] = {case: [] for case in timed}
    for turn in range(rounds + 1):  # the first is a warm-up
        for case, advance in sorted(timed.items(), reverse=turn % 2 == 1):
            spent[case].append(advance(steps))
    print(f"\n{name}: {recipe.sizes[0]} px, batch {recipe.batch}, {recipe.precision}, {recipe.memory_format}")
    print(f"{'':<26}{'images a CPU s':>15}   ours to it, CPU time     ours to it, wall time")
    for case, own in spent.items():
        speed = steps * recipe.batch / statistics.median(cpu for cpu, _ in own[1:])
        against = BARE if case == "bare loop, again" else OURS
        cpu, wall = ([other[at] / base[at] for other, base in zip(own[1:], spent[against][1:], strict=True)]
                     for at in (0, 1))
        print(f"{case:<26}{speed:>15.1f}   {quartiles(cpu):<25}{quartiles(wall)}", flush=True)


def main() -> None:
    """Measure every work that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="training steps of a case in a round (default: 3)")
    parser.add_argument("--work", nargs="+", choices=WORK, default=list(WORK))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        dataset = Dataset.open(drawn(Path(scratch), STORED, IMAGES))
        files = files_of(dataset, Path(scratch) / "files")
        for name in options.work:
            measure(name, dataset, files, options.rounds, options.steps)
    print("\n'bare loop, again' is told relative to the bare loop.")


if __name__ == "__main__":
    prepare()
    main()
