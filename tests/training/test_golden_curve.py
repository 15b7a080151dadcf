"""Twenty steps of the real loop beside the same training written out: every refactoring must leave both alike."""

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from noisy_dataset import write_dataset
from torch.nn.functional import cross_entropy

from components.data.augment import draw_views, render
from components.data.batch_settings import Mix
from components.data.chance import batch_seed, generator
from components.data.dataset import Dataset
from components.data.mixing import draw_mixture
from components.losses.objective import supervised
from components.models.network import build_network
from components.models.settings import Architecture
from components.training.averaging_settings import Averaging
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.optimizer_settings import Optimizer
from components.training.settings import Recipe

GOLDEN = Path(__file__).with_name("golden_curve.json")
STEPS, PER_EPOCH, BATCH, SEED = 20, 5, 8, 3
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}, dropout=0.2)
COMMON = {"model": TINY, "epochs": STEPS // PER_EPOCH, "batch": BATCH, "precision": "fp32",
          "memory_format": "contiguous", "select": "last"}
RECIPES = {
    "default": Recipe(**COMMON, sizes=(16,)),
    "busy": Recipe(**COMMON, sizes=(16, (20, 16)), optimizer=Optimizer(name="sgd", lr=0.05, weight_decay=1e-3),
                   clip=0.5, averaging=Averaging(decay=0.9), smoothing=0.0, task_weights={"hue": 0.25},
                   mix=Mix(mixup=0.4, cutmix=0.4)),
}


@dataclass
class Told:
    """The loss of every step and the weights at the end, those of the network and their average."""

    losses: list[float] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


@pytest.fixture
def forty(tmp_path):
    return Dataset.open(write_dataset(tmp_path / "forty", count=80))


def by_the_loop(dataset: Dataset, wish: Recipe, work: Path) -> Told:
    """What fit does, listened to at its objective."""
    told = Told()
    judge = supervised(dataset.tasks, wish.smoothing, wish.task_weights)
    shares: list[tuple[torch.Tensor, torch.Tensor]] = []

    def overheard(outputs: Any, batch: Any) -> Any:
        losses, parts = judge(outputs, batch)
        if losses.requires_grad:
            shares.append(((losses * batch.weight).sum().detach(), batch.weight.sum()))
        return losses, parts

    def between(batches: Any, total: int) -> Any:
        assert total == STEPS
        for moment in batches:
            yield moment
            told.losses.append(float(sum(loss for loss, _ in shares) / sum(weight for _, weight in shares)))
            shares.clear()

    around = Surroundings(torch.device("cpu"), work, lambda: False, lambda metrics, epoch: None, between,
                          save_seconds=1e9)
    fitted = fit(Goal("golden", wish, overheard, SEED), dataset, around)
    assert fitted is not None
    told.weights = fitted.network.state_dict()
    return told


def written_out(dataset: Dataset, wish: Recipe) -> Told:
    """The same training in plain PyTorch: no room of the project beyond the network, the pictures and the draws."""
    network = build_network(wish.model, dataset.tasks, sized(wish, dataset, STEPS - 1), SEED)
    average = copy.deepcopy(network).eval()
    told, optimizer = Told(), plain_optimizer(wish, network)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = wish.optimizer.lr * rate(step)
        loss = plain_loss(dataset, wish, network, step)
        optimizer.zero_grad()
        loss.backward()
        if wish.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), wish.clip)
        optimizer.step()
        told.losses.append(loss.item())
        decay = min(wish.averaging.decay, (2 + step) / (11 + step))
        for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            kept.copy_(torch.lerp(kept, new, 1 - decay) if kept.is_floating_point() else new)
    told.weights = average.state_dict()
    return told


def plain_optimizer(wish: Recipe, network: torch.nn.Module) -> torch.optim.Optimizer:
    decay = {"weight_decay": wish.optimizer.weight_decay}
    groups = [{"params": [p for p in network.parameters() if p.ndim > 1], **decay},
              {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0}]
    if wish.optimizer.name == "sgd":
        return torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.999))


def rate(step: int) -> float:
    """Eight of a hundred steps rise, the others fall as a cosine."""
    rise = round(STEPS * 0.08)
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (STEPS - rise)))


def sized(wish: Recipe, dataset: Dataset, step: int) -> tuple[int, int]:
    """Epochs fall into as many phases of equal length as there are sizes."""
    entry = wish.sizes[step // PER_EPOCH * len(wish.sizes) // wish.epochs]
    return entry if isinstance(entry, tuple) else (entry, round(entry * dataset.size[1] / dataset.size[0]))


def plain_loss(dataset: Dataset, wish: Recipe, network: torch.nn.Module, step: int) -> torch.Tensor:
    epoch, place = divmod(step, PER_EPOCH)
    order = generator(SEED, "order", epoch).permutation(dataset.rows("train"))
    rows, size = order[place * BATCH : (place + 1) * BATCH], sized(wish, dataset, step)
    torch.manual_seed(batch_seed(SEED, "step", step))
    views = draw_views(wish.augment, SEED, dataset.ids[rows], epoch + 1, dataset.size[1] / dataset.size[0])
    images = render(torch.from_numpy(dataset.pixels(rows)), views, size)
    mixture = draw_mixture(wish.mix, SEED, step, BATCH, size)
    if mixture is None:
        logits = network((images - MEAN[:, None, None]) / STD[:, None, None]).logits
        return (judged(dataset, wish, logits, rows) * torch.ones(BATCH)).sum() / BATCH
    partners, mixed = images[mixture.partners], images.clone()
    for place, share in enumerate(mixture.opacity):
        mixed[place] = torch.lerp(partners[place], images[place], torch.tensor(share))
        top, left, bottom, right = mixture.box[place]
        mixed[place, :, top:bottom, left:right] = partners[place, :, top:bottom, left:right]
    logits = network((mixed - MEAN[:, None, None]) / STD[:, None, None]).logits
    kept = torch.from_numpy(mixture.kept)
    told = [(judged(dataset, wish, logits, rows), kept),
            (judged(dataset, wish, logits, rows[mixture.partners]), 1 - kept)]
    weight = torch.stack([part.sum() for _, part in told]).sum()
    return torch.stack([(losses * part).sum() for losses, part in told]).sum() / weight


def judged(dataset: Dataset, wish: Recipe, logits: dict[str, torch.Tensor], rows: Any) -> torch.Tensor:
    losses = [wish.task_weights.get(task.name, 1.0) * cross_entropy(
        logits[task.name], torch.from_numpy(dataset.labels(task)[rows]), ignore_index=-1, reduction="none",
        label_smoothing=wish.smoothing) for task in dataset.tasks]
    return torch.stack(losses).sum(dim=0)


@pytest.mark.parametrize("name", list(RECIPES))
def test_twenty_steps_equal_the_same_training_written_out_and_begin_as_the_committed_curve(forty, tmp_path, name):
    """Equal to the bit, all twenty; the curve is held to its first step: the next ones magnify a machine's rounding."""
    ours, theirs = by_the_loop(forty, RECIPES[name], tmp_path / "work"), written_out(forty, RECIPES[name])
    assert ours.losses == theirs.losses and len(set(ours.losses)) == STEPS
    assert all(torch.equal(ours.weights[key], value) for key, value in theirs.weights.items())
    assert ours.losses[0] == pytest.approx(json.loads(GOLDEN.read_text())[name][0], rel=1e-5)
