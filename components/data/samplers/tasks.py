"""Each batch about one task: its steps are as many as its labelled rows fill, times its weight."""

import numpy as np

from components.data.chance import generator
from components.data.samplers.pool import Draw, Group, Memory, Pool, scheduled


def plan(pool: Pool, epoch: int, memory: Memory) -> list[Draw]:
    """The batches of an epoch, tasks in a drawn order; what fills no batch comes in the next epoch."""
    return scheduled(pool, epoch, [draw for group in pool.labelled for draw in batches(pool, group, epoch)])


def batches(pool: Pool, group: Group, epoch: int) -> list[Draw]:
    """The batches of one task."""
    size = min(pool.size, len(group.rows))
    count = max(int(len(group.rows) // size * pool.wish.weights.get(group.task, 1.0) + 0.5), 1)
    rows = group.take(epoch * count * size, count * size)
    order = generator(pool.seed, f"sampler.order/{group.task}", epoch).permutation(rows)
    return [Draw(part, group.task) for part in np.split(order, count)]
