"""Going on from an earlier Model when classes or tasks were added."""

import pytest
import torch

from components.data.tasks import Task
from components.errors import UserError
from components.models.artifact import save_model
from components.models.network import build_network
from components.models.preprocessing import geometry_head
from components.models.settings import Architecture, Head
from components.models.starting import start_from

OLD = (Task("shade", "single", ("dark", "light")), Task("hue", "multi", ("red", "green", "blue")))
NEW = (Task("cut", "single", ("a", "b")), Task("shade", "single", ("grey", "light", "dark")))
OPTIONS = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}


def saved(folder, architecture):
    network = build_network(architecture, OLD, (32, 32), 1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(folder, {"name": "old", "architecture": architecture.model_dump(mode="json"),
                        "tasks": [task.to_json() for task in OLD], "geometry": geometry_head((32, 32), (32, 32), 0),
                        "calibration": {}}, network.state_dict())
    return network


@pytest.mark.parametrize("kind", ["linear", "embedding"])
def test_old_rows_are_kept_where_their_class_now_stands_and_new_ones_begin_anew(tmp_path, kind):
    architecture = Architecture(name="resnet18", options=OPTIONS, head=Head(kind=kind))
    old, network = saved(tmp_path / "old", architecture), build_network(architecture, NEW, (32, 32), 2)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    notes = start_from(network, architecture, NEW, tmp_path / "old")
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        before, now = old.eval()(images), network.eval()(images)
    assert torch.equal(now.embedding, before.embedding)
    assert torch.allclose(now.logits["shade"][:, [2, 1]], before.logits["shade"], atol=1e-6)
    layer = network.heads["shade"] if kind == "linear" else network.heads["shade"].last
    name = "heads.shade.weight" if kind == "linear" else "heads.shade.last.weight"
    assert torch.equal(layer.weight[0], fresh[name][0])
    assert all(torch.equal(tensor, fresh[key]) for key, tensor in network.state_dict().items()
               if key.startswith("heads.cut."))
    assert notes == ["cut is a new task; its head begins anew", "shade keeps 2 of 2 classes; new: grey",
                     "hue is no task any more; its head is left out"]


def test_another_architecture_or_kind_of_task_is_refused_by_name(tmp_path):
    architecture = Architecture(name="resnet18", options=OPTIONS)
    saved(tmp_path / "old", architecture)
    other = Architecture(name="resnet18", options=OPTIONS | {"channels": [8, 8, 16, 24]})
    with pytest.raises(UserError, match=r"has options .*16, 16.*here it is .*16, 24"):
        start_from(build_network(other, NEW, (32, 32), 2), other, NEW, tmp_path / "old")
    multi = (Task("shade", "multi", ("dark", "light")),)
    with pytest.raises(UserError, match="shade was single and is multi now"):
        start_from(build_network(architecture, multi, (32, 32), 2), architecture, multi, tmp_path / "old")
