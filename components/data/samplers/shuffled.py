"""Every row at most once an epoch, in a drawn order."""

import numpy as np

from components.data.chance import generator
from components.data.samplers.pool import Draw, Memory, Pool, Rows


def epoch_batches(rows: Rows, size: int, seed: int, epoch: int) -> list[Rows]:
    """Rows of an epoch in an order drawn from (seed, epoch), cut into full batches.

    What does not fill a batch is left to other epochs, unless the whole set is smaller than a batch.
    """
    order: Rows = generator(seed, "order", epoch).permutation(np.asarray(rows))
    whole = max(len(order) // size, 1)
    return [order[i * size : (i + 1) * size] for i in range(whole)]


def plan(pool: Pool, epoch: int, memory: Memory) -> list[Draw]:
    """The batches of an epoch."""
    return [Draw(rows) for rows in epoch_batches(pool.rows, pool.size, pool.seed, epoch)]
