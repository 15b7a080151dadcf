"""Work that may crash, hang or devour memory: done in processes under limits, an item of which can fail alone."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, TypeVar

from components.data.guard_worker import Limits, Work, serve
from components.errors import TryAgain

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 32  # items a message
AHEAD = 2  # messages that a worker has at a time, so that it never waits for the next
WINDOW = 64  # messages a worker that may be finished before one that is late
TICK = 0.1  # seconds between two looks at the clock
MOST_STARTS = 3  # workers in a row that end before they have finished anything


@dataclass(frozen=True)
class Failure:
    """What became of an item that has no result. reason: it took too long, or ended its process; twice."""

    reason: Literal["timeout", "crash"]
    detail: str


@dataclass
class Batch:
    """Items by number that one message carries. suspect: the one of them has ended a process before."""

    numbers: list[int]
    suspect: bool = False


@dataclass
class Worker:
    """A process with what it was given and has not returned. waited: seconds for which it was seen at one item."""

    process: Any
    connection: Connection
    at: Any
    given: deque[Batch] = field(default_factory=deque)
    seen: int | None = None
    waited: float = 0.0

    def culprit(self) -> int | None:
        """The number of the item that it is at; None where it is between two messages."""
        place = self.at.value - 1
        return self.given[0].numbers[place] if self.given and 0 <= place < len(self.given[0].numbers) else None


def guarded(
    function: Callable[[Item], Any], items: Sequence[Item], count: int, limits: Limits, chunk: int = CHUNK,
    finish: Callable[[list[Any]], list[Result]] = list
) -> Iterator[Result | Failure]:
    """function(item) for every item, in the order of the items, in processes that are held to limits.

    finish: what is then done, in the same process, with up to `chunk` of the results together; it must be harmless.

    An item that takes longer than it may, or ends its process, becomes a Failure; the others are not touched, and a
    new process goes on. An item is given the blame for a crash when it crashes a second process too, alone. function
    must be importable by name, and results picklable; its exceptions are raised here. Raises TryAgain where processes
    cannot be kept alive.
    """
    guard: Guard[Item, Result] = Guard(partial(start, Work(function, finish), limits), items, limits, chunk)
    try:
        yield from guard.results(min(count, -(-len(items) // chunk)))
    finally:
        guard.end()


class Guard(Generic[Item, Result]):
    """The workers, what is still to be given to them, and what came back too early."""

    def __init__(self, start: Callable[[], Worker], items: Sequence[Item], limits: Limits, chunk: int) -> None:
        self.start = start
        self.items, self.limits = items, limits
        self.fresh = iter(range(0, len(items), chunk))
        self.chunk = chunk
        self.again: deque[Batch] = deque()
        self.done: dict[int, Result | Failure] = {}
        self.workers: list[Worker] = []
        self.given_up = 0  # workers in a row that ended without a result

    def results(self, count: int) -> Iterator[Result | Failure]:
        """Every result in order; whoever stops listening stops the work."""
        self.workers = [self.start() for _ in range(count)]
        then = time.monotonic()
        for number in range(len(self.items)):
            while number not in self.done:
                self.feed(number)
                self.listen()
                now = time.monotonic()
                self.watch(min(now - then, 2 * TICK))  # a stop of the whole machine is nobody's delay
                then = now
            yield self.done.pop(number)

    def feed(self, number: int) -> None:
        """Give every worker enough to do, but nothing far beyond the item that is waited for."""
        for worker in self.workers:
            while len(worker.given) < AHEAD:
                batch = self.again.popleft() if self.again else self.next_batch(number)
                if batch is None:
                    return
                try:
                    worker.connection.send([self.items[one] for one in batch.numbers])
                except OSError:  # it is dead, which `listen` will find
                    self.again.appendleft(batch)
                    break
                worker.given.append(batch)

    def next_batch(self, number: int) -> Batch | None:
        """The next items that nobody has had; None at the end, or too far ahead."""
        if len(self.done) > WINDOW * self.chunk * len(self.workers):
            return None
        first = next(self.fresh, None)
        return None if first is None else Batch(list(range(first, min(first + self.chunk, len(self.items)))))

    def listen(self) -> None:
        """Take what has come back, and replace workers that have ended."""
        sources = {worker.connection: worker for worker in self.workers}
        for connection in wait(list(sources), timeout=TICK):
            worker = sources[connection]  # type: ignore[index]
            try:
                returned = worker.connection.recv()
            except (EOFError, OSError):
                self.replace(worker, None)
                continue
            if isinstance(returned, BaseException):
                raise returned
            self.done |= zip(worker.given.popleft().numbers, returned, strict=True)
            self.given_up = 0

    def watch(self, passed: float) -> None:
        """End workers that have been at one item for too long."""
        for worker in list(self.workers):
            at = worker.culprit()
            worker.waited = worker.waited + passed if at is not None and at == worker.seen else 0.0
            worker.seen = at
            if worker.waited > self.limits.seconds:
                self.replace(worker, Failure("timeout", f"took more than {self.limits.seconds:g} s"))

    def replace(self, worker: Worker, verdict: Failure | None) -> None:
        """Another worker for one that ended or must; what it had is done again, without a culprit that is sure."""
        worker.process.kill()
        worker.process.join()
        culprit = worker.culprit()
        if verdict is None:
            verdict = ended(worker.process.exitcode, self.limits)
        self.given_up = self.given_up + 1 if culprit is None else 0
        if self.given_up == MOST_STARTS:
            raise TryAgain(f"worker processes end before they do anything: {verdict.detail}",
                           "give the machine more memory, or validate.memory_mb more")
        for batch in reversed(worker.given):
            self.again.extendleft(reversed(divided(batch, culprit)) if culprit in batch.numbers else [batch])
        if culprit is not None and (verdict.reason == "timeout" or worker.given[0].suspect):
            self.done[culprit] = verdict
            self.again = deque(batch for batch in self.again if batch.numbers != [culprit])
        worker.connection.close()
        self.workers[self.workers.index(worker)] = self.start()

    def end(self) -> None:
        """End all workers, whatever they are at."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()


def divided(batch: Batch, culprit: int) -> list[Batch]:
    """A batch as three: what came before the item under suspicion, that item, and the rest."""
    place = batch.numbers.index(culprit)
    parts = [Batch(batch.numbers[:place]), Batch([culprit], suspect=True), Batch(batch.numbers[place + 1 :])]
    return [part for part in parts if part.numbers]


def ended(code: int, limits: Limits) -> Failure:
    """What the exit code of a worker that ended by itself says."""
    if code == -signal.SIGXCPU:
        return Failure("timeout", f"took more than {limits.seconds:g} s")
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Failure("crash", f"ended the process that decoded it: {name}")


def start(work: Work, limits: Limits) -> Worker:
    """A new worker: spawned, not forked, since a fork of a process that has threads can deadlock."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    at = context.RawValue("q", 0)
    process = context.Process(target=serve, args=(work, limits, there, at), daemon=True)
    process.start()
    there.close()
    return Worker(process, here, at)
