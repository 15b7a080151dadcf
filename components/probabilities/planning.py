"""How large a store becomes, how long it takes, and what a budget buys: views, k and type of numbers."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from components.data.tasks import Task
from components.errors import UserError
from components.probabilities.forms import form_of
from components.probabilities.heads import folds_head, head_text
from components.probabilities.layout import begun_head, forms_of
from components.probabilities.parts import SEAL
from components.probabilities.truncation import Cost

KEPT = (0, 5, 10, 20, 50, 100, 200, 500)  # how many classes a plan may keep, 0 for all
DIGEST = "0" * 64  # stands for one that is not known yet
GB = 1e9


@dataclass(frozen=True)
class Subject:
    """What a store would be about.

    widths: of the embedding of each source, empty where none is kept. splits: rows by split. rates: views a second that
    each source judges, empty where not known. folds: copies of each source, 0 for none; learnt: rows that one of the
    copies judges, all of them the others; by: what stays in one fold. seed, mixed: as the head will have them.
    """

    rows: int
    tasks: tuple[Task, ...]
    sources: tuple[str, ...]
    dtype: str = "float16"
    widths: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    folds: int = 0
    learnt: int = 0
    by: tuple[str, ...] = ()
    seed: int = 0
    mixed: bool = False

    def judgements(self) -> int:
        """How often a source, or one of its copies, judges in each view."""
        return self.learnt + (self.rows - self.learnt) * max(1, self.folds)


@dataclass(frozen=True)
class Plan:
    """A store that could be made: `views` augmented ones besides the untouched image, the likeliest k (0: all).

    hours: of judging, None where rates are not known. costs: what is lost by temperature, empty where not measured.
    """

    views: int
    k: int
    dtype: str
    size: int
    hours: float | None
    costs: Mapping[float, Cost] = field(default_factory=dict)


def plan(subject: Subject, views: int, k: int) -> Plan:
    """Size and hours of one store."""
    judged = subject.judgements() * (views + 1)
    hours = sum(judged / rate for rate in subject.rates.values()) / 3600 if subject.rates else None
    return Plan(views, k, subject.dtype, predicted_bytes(subject, views, k), hours)


def predicted_bytes(subject: Subject, views: int, k: int) -> int:
    """Bytes of all files of a store as `teach` writes it, the receipt not counted."""
    head = stand_in(subject, views, k)
    ids: tuple[int, tuple[int, ...], np.dtype[Any], int] = (subject.rows, (32,), np.dtype("u1"), subject.rows)
    shapes = [ids]
    columns, shard = len(head["views"]), head["shard_rows"]
    for source in subject.sources:
        for form in forms_of(head).values():
            base = form.cell.subdtype[0] if form.cell.subdtype else form.cell
            shapes.append((subject.rows, (columns, *form.cell.shape), base, shard))
        if subject.widths:
            shapes.append((subject.rows, (columns, subject.widths[source]), np.dtype("<f2"), shard))
    files = sum(size for shape in shapes for size in file_sizes(*shape))
    return files + len(head_text(head | {"embeddings": dict(subject.widths)}).encode())


def stand_in(subject: Subject, views: int, k: int) -> dict[str, Any]:
    """A head as long as the real one."""
    copies = {source: [DIGEST] * subject.folds for source in subject.sources}
    folds = {"folds": folds_head(subject.folds, subject.seed, subject.by, copies)} if subject.folds else {}
    return begun_head(folds | {
        "tasks": [task.to_json() for task in subject.tasks], "sources": list(subject.sources), "seed": subject.seed,
        "views": list(range(views + 1)), "dataset": DIGEST, "augmentation": DIGEST, "code": DIGEST,
        "generator": DIGEST, "k": k, "dtype": subject.dtype, "embedding": bool(subject.widths),
        "mixed": subject.mixed, "models": dict.fromkeys(subject.sources, DIGEST),
        "coverage": {split: {"rows": rows, "of": rows} for split, rows in subject.splits.items()},
    }, subject.rows, DIGEST)


def file_sizes(rows: int, shape: tuple[int, ...], cell: np.dtype[Any], shard: int) -> Iterator[int]:
    """Sizes of the files that an array [rows, *shape] is cut into, `shard` rows each."""
    full, rest = divmod(rows, shard) if shard else (0, 0)
    for count, number in ((shard, full), (rest, 1)):
        if count and number:
            yield number * (header_size((count, *shape), cell) + count * int(np.prod(shape)) * cell.itemsize + SEAL)


def header_size(shape: tuple[int, ...], cell: np.dtype[Any]) -> int:
    """Bytes before the first cell of an .npy file."""
    stream = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(cell), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return len(stream.getvalue())


def candidates(subject: Subject) -> list[int]:
    """The k that make a difference: those under which some task is kept otherwise than under a larger one."""
    found: dict[tuple[int, ...], int] = {}
    for k in KEPT:
        found.setdefault(tuple(form_of(task, k, subject.dtype).k for task in subject.tasks), k)
    return list(found.values())


def affordable(subject: Subject, k: int, most: int, limits: tuple[float | None, float | None]) -> Plan | None:
    """The plan of the most views, at most `most`, within limits of bytes and hours (None: no limit); None without one.

    UserError where hours are limited and no rate is known.
    """
    size, hours = limits
    if hours is not None and not subject.rates:
        raise UserError("a budget in hours needs to know how fast the teachers judge", "name them with --teachers, or "
                        "give --rate")
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        found = plan(subject, middle, k)
        fits = (size is None or found.size <= size) and (hours is None or (found.hours or 0.0) <= hours)
        low, high = (middle, high) if fits else (low, middle - 1)
    return plan(subject, low, k) if low else None


def choose(plans: Sequence[Plan], temperature: float, tolerance: float) -> Plan:
    """The plan to take: of those that lose at most the tolerance, the one of most views, of equals the least loss.

    Where nothing was measured, of most views the one that keeps most; where none is within the tolerance, the least
    loss.
    """
    measured = all(one.costs for one in plans)
    good = [one for one in plans if not measured or one.costs[temperature].mean <= tolerance]
    if not good:
        return min(plans, key=lambda one: (one.costs[temperature].mean, -one.views))
    views = max(one.views for one in good)
    return max((one for one in good if one.views == views), key=lambda one: one.k or np.inf)


def with_costs(one: Plan, costs: Mapping[float, Cost]) -> Plan:
    """A plan and what it loses."""
    return replace(one, costs=dict(costs))


def whole_tasks(subject: Subject, k: int) -> list[str]:
    """Names of the tasks that are smaller whole than as the likeliest k."""
    return [task.name for task in subject.tasks if k and not form_of(task, k, subject.dtype).k]
