"""Killed trainings: `python killed_trainings.py FOLDER`, with a Dataset in it, writes what came of every choice.

Libraries are loaded once; every training is a process of its own, forked from this one.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import torch  # noqa: E402
from every_choice import choices, recipe  # noqa: E402

from components.data.dataset import Dataset  # noqa: E402
from components.losses.objective import trained  # noqa: E402
from components.training.fitting import Surroundings, fit  # noqa: E402
from components.training.goals import Goal, losses_of  # noqa: E402

LAST = 4  # steps until the kill, of six: within the second epoch


def train(folder: Path, changes: dict[str, Any], work: str, kill: bool) -> str:
    """Train, and tell the bits of all that came of it; killed in the midst of the batches, with no time to say so."""
    dataset = Dataset.open(folder / "dataset")

    def shown(batches: Any, total: int) -> Any:
        for count, moment in enumerate(batches):
            if kill and count == LAST:
                os.kill(os.getpid(), signal.SIGKILL)
            yield moment

    around = Surroundings(torch.device("cpu"), folder / work, lambda: False, lambda metrics, epoch: None, shown,
                          save_seconds=0.0 if kill else 1e9)
    wish = recipe(changes)
    fitted = fit(Goal("x", wish, trained(losses_of(wish, dataset, "x")), 0), dataset, around)
    assert fitted is not None
    told = hashlib.sha256(json.dumps([fitted.head, fitted.history], sort_keys=True).encode())
    for name, tensor in sorted((fitted.network.state_dict() | fitted.last).items()):
        told.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return told.hexdigest()


def forked(work: Callable[[], str], answer: Path) -> int:
    """Do some work in a process of its own, which leaves what it found in a file; the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - warnings of a hundred trainings
        answer.write_text(work())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def told_of(folder: Path, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A training that is killed and resumed, and the same one left alone."""
    parts, whole, answer = f"parts {name}", f"whole {name}", folder / f"answer {name}"
    died = forked(lambda: train(folder, changes, parts, kill=True), answer)
    states = [path.name for path in sorted((folder / parts).glob("state-*"))]
    found = {"died": -died, "states": states, "began": int(states[-1].split("-")[1]) if states else 0}
    for key, work in (("resumed", parts), ("whole", whole)):
        answer.unlink(missing_ok=True)
        code = forked(lambda work=work: train(folder, changes, work, kill=False), answer)
        found[key] = answer.read_text() if code == 0 else f"ended with {code}"
    return found


def work_through(folder: Path, first: int, every: int) -> None:
    """Every so many-th choice, one after the other."""
    mine = list(choices().items())[first::every]
    told = {name: told_of(folder, name, changes) for name, changes in mine}
    (folder / f"told-{first}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    here, cores = Path(sys.argv[1]), len(os.sched_getaffinity(0))
    train(here, {}, "first", kill=False)  # loads what every other one would load anew
    children = []
    for core in range(cores):
        if not (child := os.fork()):
            work_through(here, core, cores)
            os._exit(0)
        children.append(child)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
