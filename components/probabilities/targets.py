"""The targets of distillation, by row and view of a Dataset, read from a store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.data.dataset import Dataset
from components.data.loader import Batch
from components.data.tasks import Task
from components.errors import UserError
from components.losses.kept import Kept, mean_kept, softened_kept
from components.probabilities.mixing import Voice, mixed, pooled
from components.probabilities.store import Store
from components.probabilities.voices import Choir

Match: TypeAlias = Literal["exact", "mean", "any"]
Rows: TypeAlias = NDArray[np.int64]

ROOM = 256 << 20  # bytes of a task's words that are turned into targets once; of more, batch by batch


@dataclass(frozen=True)
class Asked:
    """What targets are wanted.

    match: `exact` and `any` have the target of a single view, the student seeing that view or one of its own; `mean`
    has the average over the augmented views. few: the likeliest classes alone, where a store holds no more. coverage:
    least share of the training samples that the store must speak of. choir: who is heard about a task, and how; None
    for all alike, as they are.
    """

    temperature: float
    match: Match
    few: bool = False
    coverage: float = 1.0
    choir: Choir | None = None

    def voices(self, store: Store, task: str) -> tuple[Voice, ...]:
        """Who is heard about a task: nobody where the store does not speak of it."""
        if self.choir is not None:
            return self.choir.voices[task]
        if task not in store.forms:
            return ()
        return tuple(Voice(source, 1 / len(store.sources)) for source in store.sources)

    def sparse(self, store: Store, task: Task) -> bool:
        """Whether targets of single views are those of a few classes; a mean of logits needs them all."""
        if not self.few or task.kind != "single" or not self.voices(store, task.name):
            return False
        return store.forms[task.name].k > 0 and (self.choir is None or self.choir.mean == "probabilities")


@dataclass(frozen=True)
class Targets:
    """What the teachers together say of the rows of a Dataset.

    places: where the store holds each row, int64 [len(dataset)], -1 for nowhere. tables: of some tasks, what was
    prepared, float32 [len(dataset), columns, C]; with a single column the same target stands for every view. A task of
    which nobody is heard is one of them.
    """

    store: Store
    asked: Asked
    places: Rows
    tables: dict[str, Tensor]
    notes: tuple[str, ...] = ()

    def of(self, task: str, batch: Batch) -> Tensor | Kept:
        """Targets of a batch's samples, each under its view, [n, C]; numbers are NaN where the store says nothing."""
        if task in self.tables:
            table = self.tables[task]
            column = np.where(table.shape[1] > 1, self.column(batch.view), 0)
            return table[torch.from_numpy(batch.rows), torch.from_numpy(column)]
        one = next(known for known in self.store.tasks if known.name == task)
        places = self.places[batch.rows]
        if self.asked.match == "mean":
            return silenced(whole(self.store, one, places, self.asked), places < 0)[:, 0]
        if self.asked.sparse(self.store, one):
            return self.kept(task, places, self.column(batch.view))
        found = together(self.store, one, self.asked, lambda source: self.store.one_view(
            source, task, known_of(places), self.column(batch.view)))
        return silenced(found, places < 0)

    def kept(self, task: str, places: Rows, columns: Rows) -> Kept:
        """The same as the classes that are told and one number for all others."""
        parts, voices = [], self.asked.voices(self.store, task)
        for voice in voices:
            told = self.store.sparse(voice.source, task, known_of(places), columns)
            classes, values = torch.from_numpy(told.indices), torch.from_numpy(told.log_probabilities)
            residual = torch.from_numpy(told.log_residual)
            heat = self.asked.temperature * voice.temperature
            parts.append(softened_kept(classes, values, residual, told.classes, heat))
        found = parts[0] if len(parts) == 1 else mean_kept(parts, [voice.weight for voice in voices])
        found.rest[torch.from_numpy(places < 0)] = torch.nan
        return found

    def widths(self) -> dict[str, int]:
        """How many numbers an embedding of each source has; UserError where the store has none."""
        nothing = np.empty(0, np.int64)
        return {source: self.store.embeddings(source, nothing).shape[2] for source in self.store.sources}

    def embeddings(self, source: str, batch: Batch) -> Tensor:
        """The vectors of a source, float32 [n, D], NaN where the store says nothing; the mean over views for `mean`."""
        places = self.places[batch.rows]
        vectors = torch.from_numpy(self.store.embeddings(source, known_of(places)))
        if self.asked.match == "mean":
            found = augmented(vectors).mean(dim=1)
        else:
            found = vectors[torch.arange(len(vectors)), torch.from_numpy(self.column(batch.view))]
        return silenced(found, places < 0)

    def column(self, view: Rows) -> Rows:
        """The stored column that stands for each view, int64 [n]; fresh views go through all that are stored."""
        stored = len(self.store.views) - 1
        return 1 + (view - 1) % stored if stored else np.zeros_like(view)


def read_targets(store: Store, dataset: Dataset, asked: Asked) -> Targets:
    """Join a store with a Dataset by the content of samples; UserError where too many training samples are missing."""
    places = store.rows_of(dataset.ids)
    notes = refuse_gaps(store, places[dataset.rows("train")], asked.coverage)
    tables = {task.name: prepared(store, task, places, asked) for task in dataset.tasks}
    return Targets(store, asked, places, {name: table for name, table in tables.items() if table is not None}, notes)


def prepared(store: Store, task: Task, places: Rows, asked: Asked) -> Tensor | None:
    """The targets of all rows, where there is room for them, or nobody is heard: then they are NaN."""
    if not asked.voices(store, task.name):
        return torch.full((1, 1, len(task.classes)), torch.nan).expand(len(places), -1, -1)
    few = asked.match != "mean" and asked.sparse(store, task)
    if few or len(places) * len(store.views) * len(task.classes) * 4 > ROOM:
        return None
    return silenced(whole(store, task, places, asked), places < 0)


def refuse_gaps(store: Store, training: Rows, coverage: float) -> tuple[str, ...]:
    """What a user should know of samples that the store lacks; UserError where it covers less than it must."""
    lacking = int((training < 0).sum())
    if not lacking:
        return ()
    said = f"{store.path} lacks {lacking} of {len(training)} training samples"
    share = (len(training) - lacking) / len(training)
    if share < coverage:
        raise UserError(f"{said}: it covers {share:.4f} of them, and {coverage:g} are asked for",
                        "make it again: dvc repro teach; or let the others learn from their labels alone: "
                        f"distill.coverage: {int(share * 100) / 100:g}")
    return (f"{said}; they learn from their labels alone",)


def whole(store: Store, task: Task, places: Rows, asked: Asked) -> Tensor:
    """Targets of some places of the store, float32 [n, views, C], or of `mean` [n, 1, C]."""
    table = together(store, task, asked, lambda source: store.log_probabilities(source, task.name, known_of(places)))
    return augmented(table).mean(dim=1, keepdim=True) if asked.match == "mean" else table


def together(store: Store, task: Task, asked: Asked, ask: Callable[[str], NDArray[Any]]) -> Tensor:
    """What all who are heard say together, [..., C]; there is one.

    ask: from a source to its log-probabilities, [..., C].
    """
    voices = asked.voices(store, task.name)
    said = [torch.from_numpy(ask(voice.source)) for voice in voices]
    if asked.choir is None:
        return mixed(said, asked.temperature, task.kind)
    return pooled(said, voices, asked.temperature, task.kind, asked.choir.mean)


def augmented(table: Tensor) -> Tensor:
    """The columns of augmented views, [n, views - 1, ...]; of a store of untouched images alone, those."""
    return table[:, 1:] if table.shape[1] > 1 else table


def known_of(places: Rows) -> Rows:
    """Places that can be read, whatever they are for samples that are nowhere."""
    return places.clip(min=0)


def silenced(values: Tensor, silent: NDArray[np.bool_]) -> Tensor:
    """NaN in the rows of samples of which nothing is said."""
    if silent.any():
        values = values.clone()
        values[torch.from_numpy(silent)] = torch.nan
    return values
