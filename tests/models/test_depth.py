import pytest

from components.data.tasks import Task
from components.models.depth import block_count, blocks_of, depth_of
from components.models.network import build_network
from components.models.settings import Architecture

TASKS = (Task("shade", "single", ("dark", "light")), Task("hue", "multi", ("red", "green", "blue")))


@pytest.mark.parametrize(("name", "options", "count"), [
    ("resnet18", {}, 1 + 8), ("torchvision/resnet18", {}, 1 + 8), ("mobilenetv3_small_050", {}, 14),
    ("torchvision/mobilenet_v2", {}, 1 + 17 + 1), ("poolformer_s12", {}, 1 + 12 + 3),
    ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}, None)])
def test_depth_rises_from_the_stem_to_the_heads(name, options, count):
    network = build_network(Architecture(name=name, options=options), TASKS, (64, 64), 0)
    depth, blocks = depth_of(network), blocks_of(network)
    names = [name for name, _ in network.named_parameters()]
    assert list(depth) == names and depth[names[0]] == 0.0
    assert all((value == 1.0) == one.startswith("heads.") for one, value in depth.items())
    assert set(blocks.values()) == set(range(block_count(blocks)))
    assert count is None or block_count(blocks) == count
    if "resnet" in name:  # the order in which resnets declare their parts is that of their blocks
        assert sorted(depth.values()) == list(depth.values())
