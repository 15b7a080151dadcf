"""What an optimiser remembers, as tensors and plain numbers: all that a checkpoint has to keep of it."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def tensors_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """The tensors by name: `NUMBER.SLOT` of a parameter, `group.NUMBER.KEY` of a group."""
    held = optimizer.state_dict()
    found = {f"{number}.{slot}": value for number, slot, value in _entries(held["state"].items())}
    found |= {f"group.{number}.{key}": value for number, key, value in _entries(enumerate(held["param_groups"]))}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def numbers_of(optimizer: Optimizer) -> dict[str, dict[str, bool | int | float]]:
    """The numbers of parameters (`slots`) and of groups (`groups`), by the same names less `group`."""
    held = optimizer.state_dict()
    return {"slots": _numbers(held["state"].items()), "groups": _numbers(enumerate(held["param_groups"]))}


def take_over(optimizer: Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Go on from what an optimiser of the same settings and network remembered."""
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Any]] = {}
    owned = {name.removeprefix("group."): value for name, value in tensors.items() if name.startswith("group.")}
    for name, value in [*owned.items(), *numbers["groups"].items()]:
        number, _, key = name.partition(".")
        groups[int(number)][key] = value
    for name, value in [*tensors.items(), *numbers["slots"].items()]:
        number, _, slot = name.partition(".")
        if number != "group":
            slots.setdefault(int(number), {})[slot] = _laid_out(value, parameters[int(number)])
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _laid_out(value: Any, parameter: Tensor) -> Any:
    """A slot in the memory layout of its parameter: sums over it would else run in another order."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)


def _entries(owners: Any) -> Iterator[tuple[int, str, Any]]:
    for number, held in owners:
        for name, value in held.items():
            yield number, name, value


def _numbers(owners: Any) -> dict[str, bool | int | float]:
    return {f"{number}.{name}": value for number, name, value in _entries(owners)
            if isinstance(value, bool | int | float)}
