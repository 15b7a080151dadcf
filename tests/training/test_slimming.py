"""Scales of batch norms pushed to zero, and what a report says of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.data.dataset import Dataset
from components.errors import UserError
from components.losses.objective import supervised
from components.models.artifact import load_model
from components.models.network import build_network
from components.models.settings import Architecture
from components.surroundings import write_fitted
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.optimizer_settings import Optimizer
from components.training.settings import Recipe
from components.training.slimming import norms_of, prunable, push_scales

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})


def fitted(dataset: Dataset, work: Path, factor: float, model: Architecture = TINY):
    wish = Recipe(model=model, epochs=6, batch=8, sizes=((16, 16),), precision="fp32", memory_format="contiguous",
                  slimming=factor, optimizer=Optimizer(name="sgd", lr=0.02))
    around = Surroundings(torch.device("cpu"), work, lambda: False, lambda metrics, epoch: None,
                          lambda batches, total: batches)
    return fit(Goal("x", wish, supervised(dataset.tasks), 0), dataset, around)


def test_the_push_is_the_gradient_of_the_sum_of_scales_by_autograd() -> None:
    network = build_network(TINY, (), (32, 32), 0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for number, (_, norm) in enumerate(norms_of(network)):
            norm.weight.mul_((-1.0) ** number)
            norm.weight[0] = 0
    loss = network(images).embedding.square().mean()
    penalty = sum(norm.weight.abs().sum() for _, norm in norms_of(network))
    expected = torch.autograd.grad(loss + 0.3 * penalty, list(network.parameters()), retain_graph=True)
    loss.backward()
    push_scales(network, 0.3)
    for parameter, theirs in zip(network.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, theirs, atol=1e-6)


def test_frozen_scales_and_other_norms_are_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.GroupNorm(2, 4),
                            nn.Flatten(), nn.BatchNorm1d(4))
    assert [name for name, _ in norms_of(network)] == ["1"]
    network[1].weight.requires_grad_(False)
    network(torch.randn(3, 3, 1, 1)).sum().backward()
    push_scales(network, 1.0)
    assert network[1].weight.grad is None


def test_the_report_counts_what_is_small_layer_by_layer() -> None:
    network = nn.Sequential(nn.BatchNorm2d(10), nn.BatchNorm2d(4))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([0.0, -5e-5, 5e-4, 0.002, -0.03, 0.2, 1.0, -1.1, 1.5, 2.0]))
        network[1].weight.copy_(torch.tensor([1e-5, 2e-5, 3e-5, 4e-5]))
    told = prunable(network)
    assert told["channels"] == 14 and told["layers"]["0"]["channels"] == 10
    assert told["layers"]["0"]["below"] == {"0.0001": 0.2, "0.001": 0.3, "0.01": 0.4, "0.05": 0.5, "0.1": 0.5}
    assert told["layers"]["1"]["below"] == dict.fromkeys(["0.0001", "0.001", "0.01", "0.05", "0.1"], 1.0)
    assert told["below"]["0.1"] == pytest.approx(9 / 14)
    every = np.abs(np.concatenate([norm.weight.detach().numpy() for norm in network]))
    for share, found in told["pruned"].items():
        assert (every < found["threshold"]).mean() == pytest.approx(float(share), abs=1 / 14)
        assert found["emptied"] == (["1"] if found["threshold"] > 4.1e-5 else [])
    counts, edges = told["histogram"]["counts"], told["histogram"]["edges"]
    assert sum(counts) == 14 and len(edges) == len(counts) + 1 and (edges[0], edges[-1]) == (0.0, 2.0)
    assert not prunable(nn.Linear(2, 2))


def test_a_slimmed_training_has_smaller_scales_and_leaves_a_report_of_its_weights(dataset: Dataset,
                                                                                  tmp_path: Path) -> None:
    plain, slim = fitted(dataset, tmp_path / "a", 0.0), fitted(dataset, tmp_path / "b", 0.5)
    for name, one in (("plain", plain), ("slim", slim)):
        write_fitted(one, tmp_path / name, tmp_path / f"{name}.json", tmp_path / f"{name}.csv")
    assert not (tmp_path / "plain" / "slimming.json").exists()
    told = json.loads((tmp_path / "slim" / "slimming.json").read_text())
    model = load_model(tmp_path / "slim")
    assert told == json.loads(json.dumps(prunable(model.network)))
    mean = {name: float(torch.cat([norm.weight.detach().abs() for _, norm in norms_of(one.network)]).mean())
            for name, one in (("plain", plain), ("slim", slim))}
    assert mean["slim"] < 0.95 * mean["plain"]
    metrics = json.loads((tmp_path / "slim.json").read_text())
    assert metrics["slimming/below_0.1"] == told["below"]["0.1"]
    assert not any(name.startswith("slimming") for name in json.loads((tmp_path / "plain.json").read_text()))


def test_a_network_without_batch_norms_cannot_be_slimmed(dataset: Dataset, tmp_path: Path) -> None:
    vit = Architecture(name="vit_tiny_patch16_224", options={"depth": 1, "embed_dim": 12, "num_heads": 2,
                                                                       "img_size": [16, 16], "patch_size": 8})
    with pytest.raises(UserError, match="vit_tiny_patch16_224 has no batch norm"):
        fitted(dataset, tmp_path, 1e-4, vit)
