"""Which samples belong together: people, recordings, near duplicates, and what joins them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data import chance
from components.errors import UserError
from components.settings import near

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """Samples that may not be torn apart.

    of: group of each row, int64 [N]. keys: name of each group, text [G], sorted: its smallest value of the first column
    that has one, else the smallest content digest, under which a cluster of near duplicates counts as one. joined: how
    many groups hold several values of one column because something else joins them.
    """

    of: Numbers
    keys: NDArray[np.object_]
    joined: int

    def __len__(self) -> int:
        return len(self.keys)

    def words(self, seed: int) -> NDArray[np.uint64]:
        """64 bits a group, a function of the seed and its name alone, uint64 [G]."""
        words = [chance.purpose_word(seed, f"split/{key}") for key in self.keys]
        return np.array(words, np.uint64)


def links_of(rows: pd.DataFrame, columns: Sequence[str], near_duplicates: bool) -> dict[str, pd.Series]:
    """What may join rows, by name: text, or null where a row has none; UserError for a column that is not there.

    The columns asked for, then `near_duplicates` (cluster, else content), then `copies` (content).
    """
    for name in columns:
        if name not in rows:
            known = [str(column) for column in rows.columns]
            raise UserError(f"index.split.groups names {name}, which the manifest does not have.{near(name, known)}",
                            f"expected some of {', '.join(known)}; data.columns tells how labels.csv calls them")
    links = {name: rows[name].map(lambda value: None if pd.isna(value) or value == "" else str(value))
             for name in columns}
    if near_duplicates and "cluster" in rows:
        links["near_duplicates"] = rows["cluster"].where(rows["cluster"].notna(), rows["sha256"])
    return {name: link for name, link in links.items() if link.notna().any()} | {"copies": rows["sha256"]}


def grouped(links: dict[str, pd.Series]) -> Groups:
    """The connected components of rows that share a value of any link."""
    names = named(links, components([pd.factorize(link)[0] for link in links.values()]))
    keys, of = np.unique(names.to_numpy(object), return_inverse=True)
    return Groups(of.astype(np.int64), keys, joined(links, of))


def components(links: Sequence[Numbers]) -> Numbers:
    """The smallest row that each row is connected to, int64 [N]. links: codes of each row's values, -1 for none."""
    smallest = np.arange(len(links[0]))
    while True:
        before = smallest.copy()
        for codes in links:
            linked = codes >= 0
            least = np.full(int(codes.max(initial=-1)) + 1, len(smallest))
            np.minimum.at(least, codes[linked], smallest[linked])
            np.minimum.at(smallest, before[linked], least[codes[linked]])  # whoever was joined to it comes along
            smallest[linked] = np.minimum(smallest[linked], least[codes[linked]])
        smallest = smallest[smallest]
        if (smallest == before).all():
            return smallest


def named(links: dict[str, pd.Series], found: Numbers) -> pd.Series:
    """The name of the group of each row. found: the smallest row of each row's group, [N]."""
    columns = [name for name in links if name not in ("near_duplicates", "copies")]
    names = np.full(len(found), None, object)
    for name in [*columns, "near_duplicates" if "near_duplicates" in links else "copies"]:
        codes, values = pd.factorize(links[name], sort=True)  # a smaller code is a smaller value
        smallest = np.full(len(found), len(values))
        linked = codes >= 0
        np.minimum.at(smallest, found[linked], codes[linked])
        prefixed = np.array([f"{name if name in columns else 'id'}/{value}" for value in values] + [None], object)
        theirs = prefixed[smallest[found]]
        names = np.where(names == None, theirs, names)  # noqa: E711 - element by element
    return pd.Series(names, dtype=object)


def joined(links: dict[str, pd.Series], of: Numbers) -> int:
    """How many groups hold several values of one column."""
    several = np.zeros(int(of.max(initial=-1)) + 1, bool)
    for name, link in links.items():
        if name not in ("near_duplicates", "copies"):
            codes, values = pd.factorize(link)
            pairs = np.unique(of[codes >= 0] * len(values) + codes[codes >= 0])
            several |= np.bincount(pairs // max(1, len(values)), minlength=len(several)) > 1
    return int(several.sum())
