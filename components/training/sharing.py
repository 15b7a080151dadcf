"""What the ranks of a training share besides gradients: its state, the work of judging, and what is worth a word."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import nn

from components.errors import UserError
from components.losses.ranks import Ranks
from components.models.inference import Stopped
from components.training.checkpoints import restore
from components.training.settings import Recipe
from components.training.state import State

BLOCK = 256  # images of one forward pass
LENGTH = 8  # bytes that tell how long the counters are

Rows: TypeAlias = NDArray[np.int64]
Logits: TypeAlias = dict[str, NDArray[np.float32]]


def go_on(recipe: Recipe, state: State, ranks: Ranks, work: Path) -> list[str]:
    """Take up the newest state of a folder, if there is one, on all ranks; what a user should know of their number."""
    state.ranks = ranks.size
    if ranks.rank == 0:
        restore(work, state)
    take_over(state, ranks)
    found = rank_notes(state.network, recipe, ranks, state.ranks)
    state.ranks = ranks.size
    return found


def take_over(state: State, ranks: Ranks) -> None:
    """Give every rank the state of the first, which alone reads checkpoints."""
    if ranks.size > 1:
        state.restore(*unpacked(ranks.first(packed(state) if ranks.rank == 0 else b"")))


def packed(state: State) -> bytes:
    """A state as bytes."""
    counters = json.dumps(state.counters()).encode()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
    return len(counters).to_bytes(LENGTH, "little") + counters + save(tensors)


def unpacked(said: bytes) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """The tensors and counters of a packed state."""
    start = LENGTH + int.from_bytes(said[:LENGTH], "little")
    return load(said[start:]), json.loads(said[LENGTH:start])


def asked(ranks: Ranks, ask: Callable[[Rows], Logits], rows: Rows, stop: Callable[[], bool] = bool) -> Logits:
    """What all ranks together say of some rows, in their order, [n, C] by task.

    ask: rows -> their logits, in one forward pass. Passes of BLOCK rows go to ranks in turn, so each holds the images
    that it holds in a single rank, and gives the same bits there. stop: whether to end; Stopped is then raised.
    """
    places, said = [np.empty(0, np.int64)], [ask(rows[:0])]
    for start in range(0, len(rows), ranks.size * BLOCK):
        if ranks.any(stop()):
            raise Stopped
        own = start + ranks.rank * BLOCK
        places.append(np.arange(own, min(own + BLOCK, len(rows))))
        said.append(ask(rows[places[-1]]))
    order = ranks.everyone(torch.from_numpy(np.concatenate(places)))[0].argsort().numpy()
    return {name: ranks.everyone(torch.from_numpy(np.concatenate([part[name] for part in said])))[0].numpy()[order]
            for name in said[0]}


def synchronise(network: nn.Module, recipe: Recipe, ranks: Ranks, device: torch.device) -> None:
    """Let BatchNorm of the backbone see the batches of all ranks, where the recipe asks for it; UserError on a CPU.

    Heads keep their own: not every rank has a label for each.
    """
    if not recipe.sync_batchnorm or ranks.size == 1:
        return
    if device.type != "cuda":
        raise UserError("sync_batchnorm is true, but torch synchronises BatchNorm on GPUs alone",
                        "set sync_batchnorm: false, or runtime.devices: 1, so that one process sees the whole batch")
    from timm.layers import convert_sync_batchnorm  # torch's own loses the activations of timm's layers

    network.backbone = convert_sync_batchnorm(network.backbone)


def rank_notes(network: nn.Module, recipe: Recipe, ranks: Ranks, began: int) -> list[str]:
    """What a user should know of a training whose batches are divided.

    began: ranks of the training that is gone on with, or as many as there are now.
    """
    parts, found = ranks.size * recipe.accumulate, []
    if began != ranks.size:
        found.append(f"processes: {ranks.size}, of a training that began with {began}; batches, pixels, rates and the "
                     "loss stay the same; BatchNorm sees other parts of a batch, and dropout draws anew")
    normed = any(name.endswith("running_mean") for name, _ in network.named_buffers())
    if parts > 1 and normed and not (recipe.sync_batchnorm and recipe.accumulate == 1):
        found.append(f"BatchNorm sees {recipe.batch // parts} of the {recipe.batch} images of a batch at once"
                     + ("; on GPUs, sync_batchnorm: true lets it see those of all ranks" * (ranks.size > 1)))
    if parts > recipe.batch:
        found.append(f"a batch of {recipe.batch} has work for {recipe.batch} of {parts} parts; the others idle")
    return found
