"""The state of an interrupted training: sealed folders, of which the newest whole one is taken."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file

from components.storage import atomic
from components.storage.digests import SEAL, file_digest
from components.training.state import State

KEPT = 2
COSTLY = 20  # at most one part in so many of the time goes into saving, as long as a kill costs no more than
BEARABLE, SHARE = 60.0, 0.01  # the longer of so many seconds and this share of the run


@dataclass
class Rhythm:
    """When the next state is due. seconds: between two; 0: before every step. left: steps expected from `step` on."""

    seconds: float
    left: int
    step: int
    clock: Callable[[], float] = time.monotonic
    cost: float = 0.0
    began: float = field(init=False)
    saved: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.saved = self.clock()

    def due(self, step: int) -> bool:
        """Whether to save before a step."""
        now = self.clock()
        run = (now - self.began) * self.left / max(step - self.step, 1)
        pause = max(self.seconds, min(COSTLY * self.cost, max(BEARABLE, SHARE * run)))
        return self.seconds == 0 or now - self.saved > pause

    def time(self, save: Callable[[], None]) -> None:
        """Save, and remember how long it took."""
        began = self.clock()
        save()
        self.saved = self.clock()
        self.cost = self.saved - began


def save(folder: Path, state: State) -> None:
    """Write the state as a new sealed folder, called by its step and its epoch, and drop all but the newest two."""
    target = folder / f"state-{state.step:09d}-{state.epoch:05d}"
    if target.exists():
        return
    with sealed(target) as private:
        private.mkdir()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
        save_file(tensors, private / "tensors.safetensors")
        (private / "counters.json").write_text(json.dumps(state.counters()), encoding="utf-8")
    for old in _newest_first(folder)[KEPT:]:
        atomic.remove(old)


@contextmanager
def sealed(target: Path) -> Iterator[Path]:
    """A private path to make a folder at, which then gets the digests of its files, is flushed and put into place."""
    with atomic.private([target]) as (private,):
        yield private
        digests = {path.name: file_digest(path) for path in private.iterdir()}
        (private / SEAL).write_text(json.dumps(digests), encoding="utf-8")
        atomic.flush(private)
        atomic.move_into_place(private, target)


def restore(folder: Path, state: State) -> bool:
    """Take over the newest whole state of a folder; a damaged one is said and removed.

    It would count among the newest otherwise, and states that are saved from now on would give way to it.
    """
    for saved in _newest_first(folder):
        if _whole(saved):
            counters = json.loads((saved / "counters.json").read_text(encoding="utf-8"))
            state.restore(load_file(saved / "tensors.safetensors"), counters)
            return True
        print(f"warning: {saved} is damaged and is removed; going on from an older state", file=sys.stderr)
        atomic.remove(saved)
    return False


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*"), reverse=True)


def _whole(saved: Path) -> bool:
    try:
        digests = json.loads((saved / SEAL).read_text(encoding="utf-8"))
        return bool(digests) and all(file_digest(saved / name) == value for name, value in digests.items())
    except (OSError, ValueError):
        return False
