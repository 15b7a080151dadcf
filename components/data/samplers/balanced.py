"""Classes alike: each gets a share of the epoch that its size decides less, or not at all."""

from components.data.samplers.pool import Draw, Memory, Pool, arranged, shares


def plan(pool: Pool, epoch: int, memory: Memory) -> list[Draw]:
    """The batches of an epoch; as quotas never change, the epoch's number says where each circle stands."""
    counts = quotas(pool)
    return arranged(pool, epoch, counts, [count * epoch for count in counts])


def quotas(pool: Pool) -> list[int]:
    """How many rows an epoch takes of each group of `pool.classes`, at least one.

    The epoch's budget is split over tasks by their weights, and within a task over classes by n ** (1 - power). Rows
    without a class keep the share that they have of all rows.
    """
    budget, rest = budgets(pool)
    weights, alike = shares(pool), [len(group.rows) ** (1 - pool.wish.power) for group in pool.classes]
    wholes = dict.fromkeys(weights, 0.0)
    for group, part in zip(pool.classes, alike, strict=True):
        wholes[group.task] = wholes.get(group.task, 0.0) + part
    part_of = {task: budget * weight / sum(weights.values()) / wholes[task] for task, weight in weights.items()}
    return [max(int(part_of[group.task] * part + 0.5), 1) if group.task else rest
            for group, part in zip(pool.classes, alike, strict=True)]


def budgets(pool: Pool) -> tuple[int, int]:
    """How many rows an epoch takes of classes, and of rows without one."""
    budget = pool.wish.samples_per_epoch or len(pool.rows)
    without = sum(len(group.rows) for group in pool.classes if not group.task)
    rest = max(int(budget * without / len(pool.rows) + 0.5), int(without > 0))
    return max(budget - rest, 1), rest
