"""The state of an interrupted training: sealed folders, of which the newest whole one is taken."""

import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from components.storage import atomic
from components.storage.digests import file_digest
from components.training.state import State

KEPT = 2


def save(folder: Path, state: State) -> None:
    """Write the state as a new sealed folder and drop all but the newest two."""
    target = folder / f"state-{state.step:09d}"
    if target.exists():
        return
    with atomic.private([target]) as (private,):
        private.mkdir()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
        save_file(tensors, private / "tensors.safetensors")
        (private / "counters.json").write_text(json.dumps(state.counters()), encoding="utf-8")
        digests = {path.name: file_digest(path) for path in private.iterdir()}
        (private / "digests.json").write_text(json.dumps(digests), encoding="utf-8")
        atomic.flush(private)
        atomic.move_into_place(private, target)
    for old in _newest_first(folder)[KEPT:]:
        atomic.remove(old)


def restore(folder: Path, state: State) -> bool:
    """Take over the newest whole state of a folder; a damaged one is said and passed over."""
    for saved in _newest_first(folder):
        if _whole(saved):
            counters = json.loads((saved / "counters.json").read_text(encoding="utf-8"))
            state.restore(load_file(saved / "tensors.safetensors"), counters)
            return True
        print(f"warning: {saved} is damaged; going on from an older state", file=sys.stderr)
    return False


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*"), reverse=True)


def _whole(saved: Path) -> bool:
    try:
        digests = json.loads((saved / "digests.json").read_text(encoding="utf-8"))
        return bool(digests) and all(file_digest(saved / name) == value for name, value in digests.items())
    except (OSError, ValueError):
        return False
