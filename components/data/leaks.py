"""What given splits share that they should not: people, recordings, near duplicates, equal files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data.dataset import SPLITS
from components.data.groups import Numbers
from components.data.stratifying import NONE, Counts, polished

PAIRS = (("train", "val"), ("train", "test"), ("val", "test"))
# Moving one sample costs as much as a split or a class gains where it is off by a twentieth of its size.
MOVE = 0.1


@dataclass(frozen=True)
class Leak:
    """What one split shares with an earlier one by one link (a column, `near_duplicates`, `copies`).

    samples: of the later split, those that have a mate in the earlier; out of all of that split that have the link.
    groups: values of the link that both have; out of all that the later has.
    """

    link: str
    earlier: str
    later: str
    samples: int
    samples_of: int
    groups: int
    groups_of: int

    def to_json(self) -> dict[str, Any]:
        """The form in which dataset.json holds it."""
        return asdict(self)


def leaks(links: dict[str, pd.Series], split: NDArray[np.object_]) -> list[Leak]:
    """Every link of every pair of splits that have samples. split: of each row, "" where it has none, [N]."""
    pairs = [pair for pair in PAIRS if all((split == name).any() for name in pair)]
    codes = {name: pd.factorize(link)[0] for name, link in links.items()}
    return [leak(name, values, split, pair) for name, values in codes.items() for pair in pairs]


def leak(name: str, codes: Numbers, split: NDArray[np.object_], pair: tuple[str, str]) -> Leak:
    """What a pair of splits shares by one link. codes: of each row's value, -1 where it has none, [N]."""
    first, second = (codes[(split == one) & (codes >= 0)] for one in pair)
    counts = [np.bincount(one, minlength=int(codes.max(initial=-1)) + 1) for one in (first, second)]
    shared = (counts[0] > 0) & (counts[1] > 0)
    return Leak(name, *pair, int(counts[1][shared].sum()), len(second), int(shared.sum()), int((counts[1] > 0).sum()))


def leaking(of: Numbers, split: NDArray[np.object_]) -> dict[str, int]:
    """How many samples of val have a mate in train, and of test one in train or val; groups count as wholes."""
    found = {}
    for place, name in enumerate(SPLITS[1:], 1):
        earlier = np.unique(of[np.isin(split, SPLITS[:place])])
        found[name] = int(np.isin(of[split == name], earlier).sum())
    return found


def told(found: Sequence[Leak], moves: int) -> list[str]:
    """Every leak in words, and the remedy."""
    words = [f"{one.samples} of {one.samples_of} images of {one.later} have a mate in {one.earlier} by {one.link} "
             f"({one.groups} of {one.groups_of} values): a score there is too good" for one in found if one.samples]
    if words:
        words.append(f"index.split.repair: true would move {moves} images so that no split leaks; where a shared "
                     "column is meant, leave it out of index.split.groups")
    return words


def torn(of: Numbers, split: Numbers, groups: int) -> NDArray[np.bool_]:
    """Which groups have samples in several splits, [G]. split: number of each row's, or NONE, [N]."""
    present = np.zeros((groups, len(SPLITS)), bool)
    placed = split != NONE
    present[of[placed], split[placed]] = True
    several: NDArray[np.bool_] = present.sum(axis=1) > 1
    return several


def repaired(of: Numbers, split: Numbers, pieces: Counts, order: Numbers) -> Numbers:
    """Splits of rows after every torn group has been put into one split as a whole, int64 [N]; other rows stay.

    of: group of each row. split: number of each row's, or NONE. pieces: labels of the rows that have a split, counted
    by group * 3 + split. order: groups as chance ranks them. A group goes where most of its samples are (of equals the
    later split, so that test stays what it was), unless splits or classes lose or gain too much by that: see MOVE.
    """
    number, splits = len(order), len(SPLITS)
    sizes = pieces.sizes().reshape(number, splits)
    start = splits - 1 - np.argmax(sizes[:, ::-1], axis=1)
    start[sizes.sum(axis=1) == 0] = NONE
    wanted = pieces.by_split(np.arange(number * splits) % splits, splits).astype(np.float64)
    broken = torn(of, split, number)
    costs = MOVE * (sizes.sum(axis=1, keepdims=True) - sizes)
    whole, movable = pieces.merged(splits), order[broken[order]]
    # Small groups first: they bring classes nearer to what they were than a few large ones, and move fewer samples.
    placed = polished(whole, start, wanted, movable, costs, np.maximum(1, whole.sizes()))
    placed = polished(whole, placed, wanted, movable, costs, np.ones_like(start))
    return np.where(broken[of] & (split != NONE), placed[of], split)
