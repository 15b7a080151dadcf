"""One of two ranks that train side by side; the first also trains alone, and tells how far apart both end.

`python ranked.py DATASET FOLDER`, with RANK and the like in the environment.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from components.data.augment_settings import Augment, Overlay
from components.data.batch_settings import Mix, Scales
from components.data.dataset import Dataset
from components.data.sampler_settings import Sampler
from components.losses.objective import memory_of, trained
from components.losses.ranks import ALONE, Ranks
from components.losses.settings import Cost, Focal, Ghm, Loss, Ohem
from components.models.heads import LabelledNorm
from components.models.inference import network_logits
from components.models.preprocessing import Normalise, Preprocess
from components.models.settings import Architecture, Head
from components.training import sharing
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal, fresh_state, losses_of
from components.training.loop import run
from components.training.optimizer_settings import Optimizer
from components.training.ranks.joining import joined
from components.training.ranks.seats import seat_of
from components.training.settings import Recipe
from components.training.step import Job

STEPS = 5
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
PLAIN: dict[str, Any] = {
    "model": Architecture(name="resnet18", options=TINY), "epochs": 3, "batch": 8, "sizes": (16,), "precision": "fp64",
    "memory_format": "contiguous", "optimizer": Optimizer(name="sgd", lr=0.05)}
LAYERED = Architecture(name="convnext_atto", options={"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]})

# What each case changes of the recipe above, for both sides alike.
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "adamw": {"optimizer": Optimizer()},
    "clipped": {"clip": 0.05},
    "channels last": {"memory_format": "channels_last"},
    "uneven shares": {"batch": 5},
    "one image for two": {"batch": 3, "accumulate": 1},
    "mixed": {"mix": Mix(mixup=0.5, cutmix=0.5)},
    "mixed one by one": {"mix": Mix(mixup=0.4, cutmix=0.4, each="sample"), "batch": 5},
    "mixed views": {"augment": Augment(mix=Overlay(mixup=0.2, cutmix=0.2))},
    "policy and scales": {"augment": Augment(policy="randaugment"), "scales": Scales(share=0.5, every=2, grid=8)},
    "balanced": {"sampler": Sampler(name="balanced")},
    "interleaved": {"sampler": Sampler(name="balanced", interleave=True)},
    "tasks": {"sampler": Sampler(name="tasks")},
    "adaptive": {"sampler": Sampler(name="adaptive", refresh=1)},
    "identities": {"sampler": Sampler(name="identities", images=2, task="shade"), "batch": 4},
    "costs": {"loss": Loss(cost=Cost(other=2.0))},
    "hardest": {"loss": Loss(ohem=Ohem(ratio=0.5))},
    "hardest problems": {"loss": Loss(base="sigmoid", ohem=Ohem(ratio=0.5, unit="problem")), "batch": 5},
    "harmonised": {"loss": Loss(ghm=Ghm(bins=4))},
    "harmonised, hardest, mixed": {"loss": Loss(ghm=Ghm(bins=4), ohem=Ohem(ratio=0.6)), "mix": Mix(mixup=1.0)},
    "focal and balance": {"loss": Loss(focal=Focal(gamma=2.0), balance=0.9)},
    "learnt": {"loss": Loss(task_weighting="learnt")},
    "head with norms": {"model": Architecture(name="resnet18", options=TINY, head=Head(kind="embedding"))},
    "layer norms": {"model": LAYERED, "sizes": ((32, 32),)},
}
# What the ranks alone change: the single process takes each batch at once.
APART: dict[str, dict[str, Any]] = {
    "accumulated": {"accumulate": 2},
    "accumulated and mixed": {"accumulate": 2, "mix": Mix(mixup=0.5, cutmix=0.5)},
    "accumulated, parts without an image": {"accumulate": 2, "batch": 5},
}


def snapshots(wish: Recipe, dataset: Dataset, ranks: Ranks) -> list[dict[str, torch.Tensor]]:
    """Gradients after the first step and the last, and the weights then, with statistics of norms held fast."""
    goal = Goal("x", wish, trained(losses_of(wish, dataset, "x", ranks)), 3)
    rows = dataset.rows("train")
    state, _ = fresh_state(goal, dataset, rows, torch.device("cpu"), ranks)
    for module in state.network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | LabelledNorm):
            module.eval()
    found: list[dict[str, torch.Tensor]] = []

    def stop() -> bool:
        if state.step in (1, STEPS):
            found.append({name: p.grad.clone() for name, p in state.network.named_parameters() if p.grad is not None})
        return state.step >= STEPS

    given = np.random.default_rng(3).uniform(0.2, 4, len(dataset)).astype(np.float32)
    job = Job(dataset, rows, wish, goal.objective, 3, torch.device("cpu"), lambda epoch: epoch + 1,
              lambda epoch, figures: {}, lambda now: None, stop, lambda batches, total: batches, save_seconds=1e9,
              recalls=lambda: {"shade": np.array([0.5, 0.9]), "hue": np.array([0.2, 0.7, np.nan])},
              factor=lambda epoch: given, ranks=ranks)
    run(job, state)
    learnt = {f"loss {name}": tensor for name, tensor in memory_of(goal.objective).tensors().items()}
    sums = {f"sum {name}": tensor for name, tensor in state.sums.items()}
    return [*found, dict(state.network.named_parameters()) | learnt | sums | dict(state.average.named_parameters())]


def distance(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> float:
    """The largest difference between numbers of the same name."""
    assert [list(part) for part in one] == [list(part) for part in other] and len(one) == 3
    return max(float((mine[name] - theirs[name]).detach().abs().max())
               for mine, theirs in zip(one, other, strict=True) for name in mine)


def compared(dataset: Dataset, ranks: Ranks) -> dict[str, float]:
    """How far two ranks and one are apart, case by case."""
    found = {}
    for name, changes in (CASES | APART).items():
        wish = Recipe(**(PLAIN | changes))
        ours = snapshots(wish, dataset, ranks)
        if ranks.rank == 0:
            alone = wish.model_copy(update={"accumulate": 1})
            found[name] = distance(ours, snapshots(alone, dataset, ALONE))
    return found


def judged(dataset: Dataset, ranks: Ranks) -> dict[str, bool]:
    """Whether two ranks say of samples what one says, to the bit, whatever the number of samples."""
    sharing.BLOCK, same = 3, {}
    wish = Recipe(**(PLAIN | {"precision": "fp32"}))
    state, _ = fresh_state(Goal("x", wish, trained(losses_of(wish, dataset, "x")), 3), dataset, dataset.rows("train"),
                           torch.device("cpu"))
    network, look = state.average, Preprocess(dataset.size, (16, 13), Normalise.named("imagenet"))
    for count in range(14):
        rows = np.random.default_rng(count).permutation(len(dataset))[:count]
        said = [sharing.asked(among, lambda rows: network_logits(network, look, dataset, rows), rows)
                for among in (ranks, ALONE)]
        same[str(count)] = all(np.array_equal(said[0][name], said[1][name]) and len(said[0][name]) == count
                               for name in said[1])
    return same


def fitted(dataset: Dataset, work: Path, ranks: Ranks, stop: Callable[[], bool] = bool) -> Any:
    """What fit makes of a small recipe in double precision."""
    wish = Recipe(**(PLAIN | {"model": LAYERED, "sizes": ((32, 32),), "epochs": 2, "select": "last"}))
    goal = Goal("x", wish, trained(losses_of(wish, dataset, "x", ranks)), 3)
    return fit(goal, dataset, Surroundings(torch.device("cpu"), work, stop, lambda figures, epoch: None,
                                           lambda batches, total: batches, save_seconds=1e9, ranks=ranks))


def after(steps: int) -> Callable[[], bool]:
    """True from so many questions on."""
    asked = iter(range(10**6))
    return lambda: next(asked) >= steps


def resumed(dataset: Dataset, folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Trainings of which two ranks do the beginning or the end, and of one that does it all."""
    first = ranks.rank == 0
    assert fitted(dataset, folder / "two-one", ranks, after(4) if first else bool) is None  # one rank is asked alone
    whole = fitted(dataset, folder / "two", ranks)
    if first:
        assert fitted(dataset, folder / "one-two", ALONE, after(4)) is None
    ranks.any(False)  # the second one waits
    mended = fitted(dataset, folder / "one-two", ranks)
    if not first:
        assert whole is None and mended is None
        return {}
    alone = fitted(dataset, folder / "one", ALONE)
    made = {"two-one": fitted(dataset, folder / "two-one", ALONE), "one-two": mended, "two": whole}
    told = {name: max(float((one.network.state_dict()[key].double() - tensor.double()).abs().max())
                      for key, tensor in alone.network.state_dict().items()) for name, one in made.items()}
    same = {name: one.head["training"]["val"] == alone.head["training"]["val"] for name, one in made.items()}
    return {"apart": told, "judged alike": same, "saved": sorted(path.name for path in folder.glob("*/state-*"))}


def main(dataset: Dataset, folder: Path) -> None:
    """Train, compare, tell."""
    torch.set_num_threads(1)
    with joined(seat_of(), torch.device("cpu"), 120) as ranks:
        assert ranks.size == 2 and replace(ranks, rank=0).size == 2
        everyone, start = ranks.everyone(torch.arange(ranks.rank + 1))
        assert everyone.tolist() == [0, 0, 1] and start == ranks.rank
        assert ranks.any(ranks.rank == 1) and not ranks.any(False) and ranks.first(bytes([ranks.rank])) == b"\0"
        told = {"apart": compared(dataset, ranks), "judged": judged(dataset, ranks),
                "resumed": resumed(dataset, folder, ranks)}
    if ranks.rank == 0:
        (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Dataset.open(Path(sys.argv[1])), Path(sys.argv[2]))
