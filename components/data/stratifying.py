"""Groups of samples divided so that every class of every task has its share in every split.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, https://doi.org/10.1007/978-3-642-23808-6_10),
generalised from samples to groups, then polished by single moves. Integers and element-wise arithmetic only: the result
is the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.reading import labels_of
from components.data.tasks import Task

Numbers = NDArray[np.int64]
Amounts = NDArray[np.float64]

NONE = -1
MOVES = 2000
MOVABLE = 50_000
GAIN = 1e-9
KICKS, SHAKEN, KICKED = 16, 8, 2000  # so often one group in so many is moved on, where there are few groups


@dataclass(frozen=True)
class Counts:
    """How many samples of each label every group has, as triples in the order of groups; label 0 is every sample.

    group, label, number: int64 [K]. shape: groups and labels.
    """

    group: Numbers
    label: Numbers
    number: Numbers
    shape: tuple[int, int]

    def by_split(self, split: Numbers, splits: int) -> Numbers:
        """How many samples of each label every split has, int64 [splits, labels]. split: of each group, [G]."""
        where = split[self.group]
        table = np.zeros((splits, self.shape[1]), np.int64)
        placed = where != NONE
        np.add.at(table, (where[placed], self.label[placed]), self.number[placed])
        return table

    def sizes(self) -> Numbers:
        """How many samples every group has, int64 [G]."""
        sizes = np.zeros(self.shape[0], np.int64)
        whole = self.label == 0
        sizes[self.group[whole]] = self.number[whole]
        return sizes

    def merged(self, pieces: int) -> "Counts":
        """The counts of groups of which so many successive ones are pieces."""
        labels = self.shape[1]
        codes, places = np.unique(self.group // pieces * labels + self.label, return_inverse=True)
        numbers = np.zeros(len(codes), np.int64)
        np.add.at(numbers, places, self.number)
        return Counts(codes // labels, codes % labels, numbers, (self.shape[0] // pieces, labels))


def label_counts(rows: pd.DataFrame, tasks: Sequence[Task], of: Numbers, groups: int) -> Counts:
    """The labels of all tasks counted by group. of: group of each row, int64 [N]."""
    pairs, labels = [of * 1], 1
    marks = [np.zeros(len(rows), np.int64)]
    for task in tasks:
        carrying, found = labelled(rows[task.name], task)
        pairs.append(of[carrying])
        marks.append(found + labels)
        labels += len(task.classes)
    codes, numbers = np.unique(np.concatenate(pairs) * labels + np.concatenate(marks), return_counts=True)
    return Counts(codes // labels, codes % labels, numbers.astype(np.int64), (groups, labels))


def labelled(cells: pd.Series, task: Task) -> tuple[Numbers, Numbers]:
    """Rows and class numbers of every label of a task, int64 [K] each; a label counts once a row."""
    if task.kind == "single":
        codes = pd.Index(task.classes).get_indexer(pd.Index(cells))
        rows = np.flatnonzero(codes >= 0)
        return rows, codes[rows].astype(np.int64)
    number = {name: place for place, name in enumerate(task.classes)}
    found = [(row, number[name]) for row, cell in enumerate(cells) for name in set(labels_of(cell, task.kind))]
    table = np.array(found, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def targets(counts: Counts, fixed: Numbers, fractions: Sequence[float]) -> Amounts:
    """How many samples of each label every split should end with, float64 [splits, labels].

    fixed: split of each group, or NONE. Where a split has more than its share already, the others share what is left
    in proportion to what they lack.
    """
    placed = counts.by_split(fixed, len(fractions))
    total = counts.by_split(np.zeros(counts.shape[0], np.int64), 1)[0]
    lacking = np.maximum(0.0, np.array(fractions)[:, None] * total - placed)
    left = total - placed.sum(axis=0)
    result: Amounts = placed + lacking * (left / np.maximum(lacking.sum(axis=0), GAIN))
    return result


def stratified(counts: Counts, fixed: Numbers, fractions: Sequence[float], order: Numbers) -> Numbers:
    """A split for every group, int64 [G]; those that are fixed keep theirs. order: groups as chance ranks them, [G]."""
    wanted = targets(counts, fixed, fractions)
    closed = np.array(fractions) <= 0
    start = iterated(counts, fixed, wanted, order, closed)
    costs = np.where(closed[None, :], np.inf, np.zeros((counts.shape[0], len(fractions))))
    movable = order[(fixed[order] == NONE) & (start[order] != NONE)]
    best = polished(counts, start, wanted, movable, costs, np.ones_like(start))
    open_to = np.flatnonzero(~closed)
    for kick in range(KICKS if len(movable) <= KICKED else 0):
        shaken = best.copy()
        few = movable[kick % SHAKEN :: SHAKEN]
        shaken[few] = open_to[(np.searchsorted(open_to, best[few]) + 1 + kick // SHAKEN) % len(open_to)]
        tried = polished(counts, shaken, wanted, movable, costs, np.ones_like(start))
        if distance(counts, tried, wanted) < distance(counts, best, wanted) - GAIN:
            best = tried
    return best


def distance(counts: Counts, split: Numbers, wanted: Amounts) -> float:
    """How far splits are from what is wanted: see `polished`."""
    return float(((counts.by_split(split, len(wanted)) - wanted) ** 2 / (wanted + 1)).sum())


def iterated(counts: Counts, fixed: Numbers, wanted: Amounts, order: Numbers, closed: NDArray[np.bool_]) -> Numbers:
    """Sechidis' iteration: the rarest label first, its largest groups first, each to the split that lacks it most."""
    split = fixed.copy()
    need = (wanted - counts.by_split(fixed, len(wanted))).tolist()
    groups = members(counts)
    remaining = counts.by_split(np.where(fixed == NONE, 0, NONE), 1)[0].tolist()
    carrying, places = carriers(counts, order), np.flatnonzero(~closed).tolist()
    while left := [(number, label) for label, number in enumerate(remaining) if number > 0]:
        label = min(left)[1]
        for group in carrying[label]:
            if split[group] == NONE:
                place = max((need[one][label], need[one][0], one) for one in places)[2]
                split[group] = place
                for other, number in groups[group]:
                    need[place][other] -= number
                    remaining[other] -= number
    return split


def members(counts: Counts) -> list[list[tuple[int, int]]]:
    """Label and number of each group."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(counts.shape[0])]
    for group, label, number in zip(counts.group.tolist(), counts.label.tolist(), counts.number.tolist(), strict=True):
        found[group].append((label, number))
    return found


def carriers(counts: Counts, order: Numbers) -> list[list[int]]:
    """The groups of each label: those with most of it first, then the largest, then by chance."""
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    sizes = counts.sizes()
    sorting = np.lexsort((rank[counts.group], -sizes[counts.group], -counts.number, counts.label))
    bounds = np.searchsorted(counts.label[sorting], np.arange(counts.shape[1] + 1))
    listed = counts.group[sorting].tolist()
    return [listed[first:last] for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def polished(counts: Counts, start: Numbers, wanted: Amounts, movable: Numbers, costs: Amounts,
             weights: Numbers) -> Numbers:
    """Groups moved one by one, the best move first, while the distance to what is wanted shrinks; int64 [G].

    The distance is Pearson's: the sum of (is - wanted)^2 / (wanted + 1) over splits and labels, plus costs of groups at
    their splits, float64 [G, splits]. movable: numbers of the groups that may move, of which the first count. weights:
    of two moves the one that gains more for its group's weight is better; 1 where only the gain counts, [G].
    """
    split, movable = start.copy(), movable[:MOVABLE]
    place = np.full(counts.shape[0], NONE, np.int64)
    place[movable] = np.arange(len(movable))
    inside = place[counts.group] != NONE
    own, label, number = place[counts.group[inside]], counts.label[inside], counts.number[inside].astype(np.float64)
    excess = counts.by_split(split, len(wanted)) - wanted
    for _ in range(MOVES if len(movable) else 0):
        slope = 2 * excess / (wanted + 1)
        bend = 1 / (wanted + 1)
        into = [np.bincount(own, number * slope[to][label] + number * number * bend[to][label], len(movable))
                for to in range(len(wanted))]
        here = split[movable]
        away = np.bincount(own, number * slope[here[own], label] - number * number * bend[here[own], label],
                           len(movable))
        change = np.stack(into, axis=1) - away[:, None] + costs[movable] - costs[movable, here][:, None]
        change[np.arange(len(movable)), here] = 0.0
        best = int(np.argmin(change / weights[movable, None]))
        if not change.flat[best] < -GAIN:
            break
        mover, to = divmod(best, len(wanted))
        mine = own == mover
        excess[here[mover], label[mine]] -= number[mine]
        excess[to, label[mine]] += number[mine]
        split[movable[mover]] = to
    return split
