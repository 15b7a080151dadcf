"""Tables of losses as matrices over the classes of a task."""

import torch
from torch import Tensor

from components.data.tasks import Task
from components.errors import UserError, near
from components.losses.settings import Table


def matrix(table: Table, task: Task, name: str) -> Tensor:
    """The table for a task, float32 [C, C], row = true class; UserError where it does not fit the classes.

    name: of the setting, such as `cost`.
    """
    count = len(task.classes)
    if table.rows:
        refuse_shape(table, task, name)
        return torch.tensor(table.rows, dtype=torch.float32)
    found = torch.full((count, count), table.other).fill_diagonal_(table.diagonal)
    for true, row in table.cells.items():
        for said, number in row.items():
            found[place_of(true, task, name), place_of(said, task, name)] = number
    return found


def refuse_shape(table: Table, task: Task, name: str) -> None:
    """UserError where there is not one row and one column for each class."""
    count, given = len(task.classes), len(table.rows)
    if given != count:
        order = ", ".join(task.classes[:6]) + (", ..." if count > 6 else "")
        raise UserError(
            f"loss.{name}.rows is {given} x {given}; {task.name} has {count} classes: expected {count} x {count}, "
            f"rows (true) and columns (predicted) in the order {order}",
            f"give {count} rows of {count} numbers, or single cells by name: {name}: {{cells: "
            f"{{{task.classes[0]}: {{{task.classes[-1]}: 2.0}}}}}}; of one task alone below loss.tasks.{task.name}")


def place_of(label: str, task: Task, name: str) -> int:
    """The number of a class; UserError where there is none of that name."""
    if label not in task.classes:
        raise UserError(f"loss.{name}.cells names {label}, which is no class of {task.name}",
                        f"expected some of {', '.join(task.classes[:20])}{', ...' if len(task.classes) > 20 else ''}."
                        f"{near(label, task.classes)} Cells of one task alone stand below loss.tasks.{task.name}")
    return task.classes.index(label)
