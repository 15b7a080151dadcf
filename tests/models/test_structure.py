"""Parameters, multiply-accumulates and activations against loops over the modules and closed forms."""

import pytest
import torch
from torch import nn

from components.data.tasks import Task
from components.models.network import build_network
from components.models.settings import Architecture
from components.models.structure import bytes_of, parts_of, whole

TASKS = (Task("shade", "single", ("dark", "light")),)


def built(name, size, **options):
    return build_network(Architecture(name=name, options=options), TASKS, size, 0)


def counted(network, size):
    """Multiply-accumulates and outputs of convolutions and linear layers, from their shapes alone."""
    found = []

    def look(module, given, out):
        if isinstance(module, nn.Conv2d):
            rows, columns = module.kernel_size
            found.append((out[0].numel() * rows * columns * module.in_channels // module.groups, out[0].numel()))
        elif isinstance(module, nn.Linear):
            found.append((out[0].numel() * module.in_features, out[0].numel()))

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    with torch.no_grad():
        network.eval()(torch.randn(1, 3, *size))
    for hook in hooks:
        hook.remove()
    return tuple(map(sum, zip(*found, strict=True)))


@pytest.mark.parametrize(("name", "options"), [
    ("resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}), ("mobilenetv3_small_050", {}),
    ("torchvision/shufflenet_v2_x0_5", {})])
def test_the_work_of_convolutions_is_that_of_their_shapes(name, options):
    network = built(name, (64, 48), **options)
    part = whole(network, (64, 48))
    assert (part.macs, part.activations) == counted(network, (64, 48))
    assert part.parameters == sum(one.numel() for one in network.parameters())


def test_a_transformer_is_charged_for_its_attention():
    network = built("vit_tiny_patch16_224", (64, 48), depth=1)
    count, width = 4 * 3 + 1, 192
    attention = 2 * count * count * width  # queries by keys, then weights by values
    linear, _ = counted(network, (64, 48))
    assert whole(network, (64, 48)).macs == linear + attention


def test_parts_add_up_and_looking_leaves_the_network_as_it_was():
    network = built("resnet18", (32, 32), layers=[1, 1, 1, 1], channels=[8, 8, 16, 16])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    parts = {part.path: part for part in parts_of(network, (32, 32))}
    for path, part in parts.items():
        inside = [one for one in parts.values() if one.path and one.depth == part.depth + 1
                  and (not path or one.path.startswith(f"{path}."))]
        if inside:
            assert part.macs == sum(one.macs for one in inside), path
            assert part.parameters == sum(one.parameters for one in inside), path
            assert part.activations == sum(one.activations for one in inside), path
    assert parts["backbone.body.layer4"].shape == (16, 1, 1) and parts["heads.shade"].shape == (2,)
    assert network.training and not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_bytes_are_those_of_the_file(tmp_path):
    from components.models.artifact import save_weights

    network = built("mobilenetv3_small_050", (64, 48))
    save_weights(tmp_path / "w.safetensors", network.state_dict())
    length = (tmp_path / "w.safetensors").stat().st_size
    assert 0 < length - bytes_of(network) < 200 * len(network.state_dict())  # names and shapes
