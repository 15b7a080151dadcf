"""Rows in runs whose words fit in memory, however many rows and views there are."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.probabilities.store import Store

Rows = NDArray[np.int64]

ROOM = 64 << 20  # bytes of what one source says of the rows of a run, as float32
STEP = 64  # rows: processors take this many numbers at once, and a last few may have other bits


def blocks(rows: Rows, store: Store, task: str) -> Iterator[Rows]:
    """Rows in their order, in runs of which a source's words about a task at all views take ROOM, or of STEP rows."""
    count = max(1, ROOM // (4 * len(store.views) * store.forms[task].classes * STEP)) * STEP
    for start in range(0, len(rows), count):
        yield rows[start:start + count]
