"""Each optimiser against its formula written out, what it remembers through a checkpoint, and its groups."""

import json
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from components.losses.memory import Memory
from components.models.network import build_network
from components.models.settings import Architecture
from components.training import checkpoints
from components.training.optimizer_settings import USUAL, Lookahead, Name, Optimizer
from components.training.optimizers import MAKERS, build_optimizer, set_rate
from components.training.state import State

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})
STEPS = 9


class Pair(nn.Module):
    """A kernel in a backbone, and a head with a bias, in double precision."""

    def __init__(self, inside: int = 5) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(1)
        self.backbone = nn.Sequential(nn.Conv2d(inside, 6, 3, bias=False))
        self.heads = nn.ModuleDict({"x": nn.Linear(6, 4)})
        self.double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=chance, dtype=torch.float64)


def gradients(network: nn.Module, step: int) -> dict[str, torch.Tensor]:
    """Made-up gradients of all parameters at a step."""
    chance = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(p.shape, generator=chance, dtype=torch.float64).to(p.dtype) * (1 + step % 3)
            for name, p in network.named_parameters()}


def rate_of(step: int) -> float:
    return 0.01 * (1 + step % 4)


def advance(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        given = gradients(network, step)
        for name, parameter in network.named_parameters():
            layout = torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
            parameter.grad = given[name].contiguous(memory_format=layout)
        set_rate(optimizer, rate_of(step))
        optimizer.step()


def _moments(slots, g, b1, b2):
    t = slots["t"] = slots.get("t", 0) + 1
    slots["m"] = b1 * slots.get("m", 0) + (1 - b1) * g
    slots["v"] = b2 * slots.get("v", 0) + (1 - b2) * g**2
    return slots["m"] / (1 - b1**t), slots["v"] / (1 - b2**t), t


def adamw(p, g, slots, lr, wd):
    m, v, _ = _moments(slots, g, 0.9, 0.999)
    return p * (1 - lr * wd) - lr * m / (np.sqrt(v) + 1e-8)


def adam(p, g, slots, lr, wd):
    m, v, _ = _moments(slots, g + wd * p, 0.9, 0.999)
    return p - lr * m / (np.sqrt(v) + 1e-8)


def amsgrad(p, g, slots, lr, wd):
    m, _, t = _moments(slots, g, 0.9, 0.999)
    slots["most"] = np.maximum(slots.get("most", 0), slots["v"])
    return p * (1 - lr * wd) - lr * m / (np.sqrt(slots["most"] / (1 - 0.999**t)) + 1e-8)


def sgd(p, g, slots, lr, wd):
    g = g + wd * p
    slots["m"] = 0.9 * slots["m"] + g if slots else g
    return p - lr * (g + 0.9 * slots["m"])


def _rectified(slots, g):
    m, v, t = _moments(slots, g, 0.9, 0.999)
    longest = 2 / (1 - 0.999) - 1
    length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    if length <= 5:
        return m
    r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return r * m / (np.sqrt(v) + 1e-8)


def radam(p, g, slots, lr, wd):
    return p * (1 - lr * wd) - lr * _rectified(slots, g)


def _trusted(p, ahead, lr, wd):
    if wd == 0:
        return p - lr * ahead
    ahead = ahead + wd * p
    return p - lr * np.sqrt((p**2).sum()) / np.sqrt((ahead**2).sum()) * ahead


def lamb(p, g, slots, lr, wd):
    m, v, _ = _moments(slots, g, 0.9, 0.999)
    return _trusted(p, m / (np.sqrt(v) + 1e-6), lr, wd)


def ralamb(p, g, slots, lr, wd):
    return _trusted(p, _rectified(slots, g), lr, wd)


def novograd(p, g, slots, lr, wd):
    square = (g**2).sum()
    slots["v"] = 0.98 * slots["v"] + 0.02 * square if slots else square
    slots["m"] = 0.95 * slots.get("m", 0) + g / (np.sqrt(slots["v"]) + 1e-8) + wd * p
    return p - lr * slots["m"]


def rmsprop(p, g, slots, lr, wd):
    g = g + wd * p
    slots["v"] = 0.99 * slots.get("v", 0) + 0.01 * g**2
    slots["m"] = 0.9 * slots.get("m", 0) + g / (np.sqrt(slots["v"]) + 1e-8)
    return p - lr * slots["m"]


def lion(p, g, slots, lr, wd):
    m = slots.get("m", 0)
    slots["m"] = 0.99 * m + 0.01 * g
    return p * (1 - lr * wd) - lr * np.sign(0.9 * m + 0.1 * g)


FORMULAS = {"adamw": adamw, "adam": adam, "amsgrad": amsgrad, "sgd": sgd, "radam": radam, "ranger": radam,
            "lamb": lamb, "ralamb": ralamb, "novograd": novograd, "rmsprop": rmsprop, "lion": lion}


def written_out(formula, network: nn.Module, wd: float, every: int = 0) -> dict[str, np.ndarray]:
    """The weights after STEPS of a formula; with every, slow weights begin at the first meeting and go half the way."""
    found = {name: p.detach().numpy().copy() for name, p in network.named_parameters()}
    slots: dict[str, dict[str, object]] = {name: {} for name in found}
    slow: dict[str, np.ndarray] = {}
    for step in range(STEPS):
        given = gradients(network, step)
        for name, p in found.items():
            found[name] = formula(p, given[name].numpy(), slots[name], rate_of(step), wd if p.ndim > 1 else 0.0)
            if every and (step + 1) % every == 0:
                start = slow.get(name, found[name])
                slow[name] = found[name] = start + 0.5 * (found[name] - start)
    return found


def agree(network: nn.Module, expected: dict[str, np.ndarray]) -> None:
    for name, parameter in network.named_parameters():
        assert np.allclose(parameter.detach().numpy(), expected[name], rtol=1e-6, atol=1e-7), name


def test_every_name_has_a_maker_and_its_usual_values() -> None:
    assert set(get_args(Name)) == set(MAKERS) == set(USUAL) == {*FORMULAS, "muon"}


@pytest.mark.parametrize("name", list(FORMULAS))
def test_an_optimizer_follows_its_formula_and_decays_no_bias(name: str) -> None:
    network, wish = Pair(), Optimizer(name=name, weight_decay=0.07)
    expected = written_out(FORMULAS[name], network, 0.07, 6 if name == "ranger" else 0)
    advance(network, build_optimizer(wish, network), range(STEPS))
    agree(network, expected)


def test_plain_momentum_is_had_without_nesterov() -> None:
    network, p, m = Pair(), Pair().backbone[0].weight.detach().numpy(), 0.0
    advance(network, build_optimizer(Optimizer(name="sgd", nesterov=False, weight_decay=0.0), network), range(STEPS))
    for step in range(STEPS):
        m = 0.9 * m + gradients(network, step)["backbone.0.weight"].numpy()
        p = p - rate_of(step) * m
    assert np.allclose(network.backbone[0].weight.detach().numpy(), p)


@pytest.mark.parametrize("name", ["sgd", "lamb"])
def test_lookahead_is_had_over_any_other(name: str) -> None:
    network = Pair()
    expected = written_out(FORMULAS[name], network, 0.01, 4)
    wish = Optimizer(name=name, weight_decay=0.01, lookahead=Lookahead(every=4))
    advance(network, build_optimizer(wish, network), range(STEPS))
    agree(network, expected)


def test_muon_steps_of_kernels_are_nearly_orthogonal_and_as_long_as_those_of_adamw_elsewhere() -> None:
    network, wish = Pair(), Optimizer(name="muon", weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = build_optimizer(wish, network)
    advance(network, optimizer, range(1))
    moved = (before["backbone.0.weight"] - network.backbone[0].weight.detach()).flatten(1)
    left, _, right = torch.linalg.svd(gradients(network, 0)["backbone.0.weight"].flatten(1), full_matrices=False)
    length = 0.2 * math.sqrt(45) * rate_of(0)  # 45: the longer side of the kernel as a matrix
    values = torch.linalg.svdvals(moved) / length
    assert values.min() > 0.6 and values.max() < 1.3
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (left @ right).flatten(), dim=0) > 0.97
    for name in ("heads.x.weight", "heads.x.bias"):  # a first step of Adam's kind: the rate, whatever the gradient
        step = (before[name] - network.get_parameter(name).detach()).abs()
        assert step.min() > 0 and step.max() < 2.1 * rate_of(0)


WISHES = [Optimizer(name=name) for name in get_args(Name)]
WISHES += [Optimizer(name=name, lookahead=Lookahead(every=3, share=0.3), layer_decay=0.5)
           for name in ("sgd", "lamb", "ralamb", "novograd", "muon")]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: wish.name + "-slow" * bool(wish.lookahead.every))
@pytest.mark.parametrize("stop", [1, 5])
def test_regression_4_an_optimizer_goes_on_to_the_same_bits(tmp_path: Path, wish: Optimizer, stop: int) -> None:
    """Saved between two steps as files, taken over by fresh objects of the same kind; kernels in channels_last."""
    def fresh() -> State:
        network = Pair(64).float().to(memory_format=torch.channels_last)
        state = State.fresh(network, build_optimizer(wish, network))
        state.losses = Memory(variances={"x": nn.Parameter(torch.tensor(0.3))})
        state.optimizer.add_param_group({"params": state.losses.parameters(), "weight_decay": 0.0})
        return state

    def go(state: State, steps: range) -> None:
        for step in steps:
            state.losses.variances["x"].grad = torch.tensor(0.1 * step - 0.3)
            advance(state.network, state.optimizer, range(step, step + 1))
            state.step += 1

    whole, first, second = fresh(), fresh(), fresh()
    go(whole, range(STEPS))
    go(first, range(stop))
    checkpoints.save(tmp_path, first)
    assert checkpoints.restore(tmp_path, second) and second.step == stop
    go(second, range(stop, STEPS))
    theirs = dict(second.network.named_parameters())
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in whole.network.named_parameters())
    assert torch.equal(whole.losses.variances["x"], second.losses.variances["x"])
    assert all(torch.equal(tensor, second.tensors()[name]) for name, tensor in whole.tensors().items())
    assert whole.counters() == second.counters()


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: wish.name + "-slow" * bool(wish.lookahead.every))
def test_an_optimizer_finds_its_way_down(wish: Optimizer) -> None:
    """A fit of a line through points that lie on one."""
    chance = torch.Generator().manual_seed(0)
    points = torch.randn(64, 5, 1, 1, generator=chance)
    goal = points.flatten(1) @ torch.randn(5, 4, generator=chance)
    network = nn.Module()
    network.backbone = nn.Sequential(nn.Conv2d(5, 6, 1, bias=False), nn.Flatten())
    network.heads = nn.ModuleDict({"x": nn.Linear(6, 4)})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in (network.backbone[0], network.heads["x"]):
            module.reset_parameters()
    optimizer, losses = build_optimizer(wish.model_copy(update={"weight_decay": 0.0}), network), []
    for step in range(100):
        set_rate(optimizer, wish.lr * 3 * (1 - step / 100))
        loss = ((network.heads["x"](network.backbone(points)) - goal) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


def test_layer_decay_lowers_the_rate_towards_the_pixels_and_spares_the_heads() -> None:
    network = build_network(TINY, (), (32, 32), 0)
    network.heads["x"] = nn.Linear(16, 3)
    optimizer = build_optimizer(Optimizer(layer_decay=0.1), network)
    set_rate(optimizer, 0.5)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    rates = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups
             for p in group["params"]}
    assert set(rates) == set(names.values())
    assert rates["heads.x.weight"] == (0.5, 0.05) and rates["heads.x.bias"] == (0.5, 0.0)
    first, *_ = (name for name in rates if name.endswith("conv1.weight") and "layer" not in name)
    assert rates[first] == (pytest.approx(0.05), 0.05)
    ladder = [next(rate for name, (rate, _) in rates.items() if f"layer{k}.0.conv1" in name) for k in (1, 2, 3, 4)]
    assert ladder == sorted(ladder) and ladder[0] > 0.05 and ladder[-1] < 0.5
    ratios = np.array(ladder[1:]) / np.array(ladder[:-1])
    assert np.allclose(ratios, ratios[0])


@pytest.mark.parametrize(("given", "told"), [
    ({"name": "sgd", "eps": 1e-3}, "no eps, which the optimizer sgd does not read"),
    ({"name": "sgd", "second": 0.9}, "no second"),
    ({"name": "adamw", "nesterov": False}, "no nesterov"),
    ({"name": "lion", "eps": 1e-3}, "no eps"),
    ({"name": "sdg"}, "name"),
    ({"name": ["sgd"]}, "name"),
])
def test_a_setting_that_the_optimizer_does_not_read_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Optimizer.model_validate_json(json.dumps(given))


def test_what_is_not_given_is_as_usual_for_the_optimizer() -> None:
    found = Optimizer.model_validate_json('{"name": "sgd", "momentum": 0.8}')
    assert (found.lr, found.weight_decay, found.momentum, found.nesterov) == (0.05, 5e-4, 0.8, True)
    assert Optimizer().model_dump() == Optimizer(name="adamw", lr=2e-3, weight_decay=0.05, momentum=0.9).model_dump()
    assert Optimizer.model_validate_json(found.model_dump_json()) == found
    assert Optimizer(name="ranger").slow.every == 6 and Optimizer(name="radam").slow.every == 0
