"""P identities times K images: every sample of a batch has others of its identity beside it.

An identity of n images has ceil(n / K) places an epoch, but not more than there are batches; one with fewer than K
images repeats them, each time as another view. By McNaughton's wrap-around rule (1959,
https://doi.org/10.1287/mnsc.6.1.1) no batch gets one twice: of the long row of all places, place j goes to batch j
modulo the number of batches.
"""

import numpy as np

from components.data.chance import generator
from components.data.samplers.pool import Draw, Group, Memory, Pool, Rows


def plan(pool: Pool, epoch: int, memory: Memory) -> list[Draw]:
    """The batches of an epoch: P different identities in each, K rows of one behind each other."""
    groups, images = pool.individuals, pool.wish.images
    places, steps = timetable([len(group.rows) for group in groups], images, pool.size // images)
    chance = generator(pool.seed, "sampler.identities", epoch)
    order = chance.permutation(len(groups))
    shown = [chunks(groups[item], images, int(places[item]), epoch, chance) for item in order]
    row = [(int(item), part) for item, parts in zip(order, shown, strict=True) for part in parts]
    columns = [row[step::steps] for step in chance.permutation(steps)]
    return [Draw(np.concatenate(filled(column, pool, epoch, step))) for step, column in enumerate(columns)]


def timetable(sizes: list[int], images: int, identities: int) -> tuple[Rows, int]:
    """How many places each identity has in an epoch, and how many batches the epoch has.

    >>> places, steps = timetable([8, 3, 40], 4, 2)
    >>> places.tolist(), steps
    ([2, 1, 7], 7)
    """
    wanted = -(-np.array(sizes, np.int64) // images)
    steps = -(-int(wanted.sum()) // identities)
    return np.minimum(wanted, steps), steps


def chunks(group: Group, images: int, places: int, epoch: int, chance: np.random.Generator) -> list[Rows]:
    """The rows of one identity in an epoch, K to a place, none twice in a place if there are as many as K."""
    count = places * images
    rows = chance.permutation(group.take(epoch * count, min(count, len(group.rows))))
    return list(np.resize(rows, (places, images)))


def filled(column: list[tuple[int, Rows]], pool: Pool, epoch: int, step: int) -> list[Rows]:
    """The rows of a batch, with identities drawn on top where it has fewer than P."""
    groups, identities = pool.individuals, pool.size // pool.wish.images
    parts = [part for _, part in column]
    if len(parts) < identities:
        chance = generator(pool.seed, "sampler.fill", epoch, step)
        taken = {item for item, _ in column}
        others = [item for item in chance.choice(len(groups), identities, replace=False) if item not in taken]
        for item in others[: identities - len(parts)]:
            parts.append(groups[item].take(int(chance.integers(len(groups[item].rows))), pool.wish.images))
    return parts
