"""A step done by several processes: the workers that it starts, what they report, and which cause is told."""

import json
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import Exit, Terminated, TryAgain, UserError
from components.runtime import Runtime
from components.settings import Settings

if TYPE_CHECKING:
    from components.training.ranks.launching import Death

SHARED = ("train", "teach", "distill")  # the steps that several processes can do together
JOB, FACTS = "job.json", "facts.json"
AGAIN = "run the same command again: it goes on from the last saved state"


@dataclass(frozen=True)
class Failure:
    """How a rank ended: what it would have told, its exit code, when, and whether others were the cause."""

    rank: int
    cause: str
    remedy: str
    code: int
    time: float
    followed: bool
    trace: str


class RankFailed(UserError):
    """A rank has failed; its words and its exit code."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.cause, failure.remedy)
        self.exit_code = Exit(failure.code)
        self.add_note(failure.trace)


def workers_to_start(step: str, runtime: Runtime) -> int:
    """How many processes this machine has to start for a step; 0 where the step is done right here.

    That is so where it needs but one, and in each of those that somebody else has started.
    """
    if step not in SHARED:
        return 0
    from components.training.ranks.seats import seat_of

    if seat_of().size > 1 or (runtime.devices == 1 and runtime.nodes == 1):
        return 0
    from components.training.devices import pick_device
    from components.training.ranks.launching import count_here

    count = count_here(runtime.devices, pick_device(runtime.device).type == "cuda")
    return count if count * runtime.nodes > 1 else 0


def behind_the_first(step: str) -> bool:
    """Whether this process is a rank of a step's that writes nothing."""
    from components.training.ranks.seats import seat_of

    return step in SHARED and seat_of().rank > 0


def run_in_workers(step: str, settings: Settings, section: str, paths: Mapping[str, Path],
                   count: int) -> dict[str, Any]:
    """Let so many processes do a step; the facts that the first reports, none where that is on another machine.

    What a process fails with is raised here, once.
    """
    from components.training.ranks.launching import Site, run_ranks

    runtime: Runtime = getattr(settings, "runtime")  # noqa: B009 - every shared step has one
    site = Site(count, runtime.nodes, runtime.node, runtime.rendezvous, runtime.rank_seconds)
    with tempfile.TemporaryDirectory(prefix="stillhouse-ranks-") as name:
        folder = Path(name)
        places = {key: str(path) for key, path in paths.items()}
        job = {"step": step, "section": section, "settings": settings.complete(), "paths": places}
        (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
        with environment():
            deaths = run_ranks(["-P", "-m", "components.worker", name], site)
        if deaths:
            raise cause_of(deaths, failures(folder))
        facts = folder / FACTS
        found: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else {"outputs": {}}
    return found


def cause_of(deaths: "list[Death]", told: list[Failure]) -> BaseException:
    """The one error to raise: the first that a rank had by itself, else a rank that was killed."""
    own = [failure for failure in told if not failure.followed]
    if own:
        return RankFailed(own[0]) if own[0].code != Exit.TERMINATED else Terminated()
    killed = [death for death in deaths if death.code < 0 and -death.code != signal.SIGTERM]
    if killed:
        name, death = signal.Signals(-killed[0].code).name, killed[0]
        memory = "; if memory ran out, raise accumulate or lower batch" if name == "SIGKILL" else ""
        return TryAgain(f"rank {death.rank} (process {death.process}) was killed by {name}", AGAIN + memory)
    if any(failure.code == Exit.TERMINATED for failure in told):
        return Terminated()
    return TryAgain("a rank on another machine has ended", f"look at its messages there; then {AGAIN}")


def failures(folder: Path) -> list[Failure]:
    """What ranks have told of their ends, first those that came first; of equals the lowest rank."""
    found = [Failure(**json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("failed-*.json")]
    return sorted(found, key=lambda failure: (failure.time, failure.rank))


def tell(folder: Path, rank: int, error: BaseException) -> int:
    """Leave for the process that started this rank why it ends; the exit code."""
    from components.training.ranks.seats import RankLost

    cause, remedy = f"internal error: {type(error).__name__}: {error}", "run again with --debug for the traceback"
    code = Exit.TERMINATED if isinstance(error, Terminated) else Exit.INTERNAL
    if isinstance(error, UserError):
        cause, remedy, code = error.cause, error.remedy, error.exit_code
    trace = "".join(traceback.format_exception(error))
    told = Failure(rank, cause, remedy, code, time.time(), isinstance(error, RankLost | Terminated), trace)
    path = folder / f"failed-{rank}.json"
    path.with_suffix(".part").write_text(json.dumps(asdict(told)), encoding="utf-8")
    path.with_suffix(".part").rename(path)
    return code


@contextmanager
def environment() -> Iterator[None]:
    """Let interpreters that are started within find this package, and torch in them keep its asides to itself.

    It warns of a search that is asked for once, and would spend half a minute on naming the lines of its own code that
    a lost connection was noticed in.
    """
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    wanted = {"PYTHONPATH": path, "TORCH_CPP_LOG_LEVEL": "ERROR", "TORCH_DISABLE_ADDR2LINE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
