import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from components.data.tasks import Task
from components.errors import UserError
from components.models.artifact import load_model, load_weights, save_model
from components.models.network import build_network
from components.models.preprocessing import Preprocess, geometry_head, resize_matrix
from components.models.settings import Architecture

TASKS = (Task("shade", "single", ("dark", "light")), Task("hue", "multi", ("red", "green", "blue")))
TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})
NAMES = [
    "resnet18",
    "torchvision/resnet18",
    "mobilenetv3_small_050",
    "torchvision/mobilenet_v3_small",
    "vit_tiny_patch16_224",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/densenet121",
    pytest.param("torchvision/swin_t", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_network_keeps_the_one_forward_contract(name):
    size = (224, 224) if "vit" in name or "swin" in name else (64, 48)
    network = build_network(Architecture(name=name), TASKS, size, 0).eval()
    with torch.no_grad():
        logits, embedding, features = network(torch.randn(2, 3, *size))
    assert {task: tuple(values.shape) for task, values in logits.items()} == {"shade": (2, 2), "hue": (2, 3)}
    assert embedding.ndim == 2 and features.ndim == 4 and len(features) == 2
    assert features.shape[2] < size[0] and features.shape[3] < size[1]
    if name.endswith("resnet18"):  # pooled features are the embedding
        assert torch.allclose(features.mean(dim=(2, 3)), embedding, atol=1e-5)


def test_the_order_of_tasks_changes_no_head():
    forward, backward = (build_network(TINY, tasks, (32, 32), 4) for tasks in (TASKS, TASKS[::-1]))
    ours, theirs = forward.state_dict(), backward.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_building_a_network_leaves_the_global_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build_network(TINY, TASKS, (32, 32), 4)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["resnet81", "torchvision/resnet81"])
def test_an_unknown_name_is_answered_with_near_names(name):
    with pytest.raises(UserError, match="resnet81") as raised:
        build_network(Architecture(name=name), TASKS, (32, 32), 0)
    assert "resnet18" in raised.value.remedy


@pytest.mark.parametrize("name", ["resnet18", "torchvision/resnet18"])
def test_wrong_options_are_a_user_error(name):
    with pytest.raises(UserError, match="chanels"):
        build_network(Architecture(name=name, options={"chanels": [1]}), TASKS, (32, 32), 0)


@pytest.mark.parametrize(("source", "target"), [(128, 112), (128, 64), (97, 64), (64, 64), (33, 50)])
def test_the_resize_is_the_antialiased_one_of_torch_and_pillow(source, target):
    image = np.random.default_rng(0).integers(0, 256, (source, source), dtype=np.uint8)
    matrix = resize_matrix(source, target)
    ours = matrix @ image.astype(np.float32) @ matrix.T
    theirs = interpolate(
        torch.from_numpy(image).float()[None, None], (target, target), mode="bilinear", antialias=True
    )[0, 0]
    assert np.abs(ours - theirs.numpy()).max() < 1e-2
    pillow = np.asarray(Image.fromarray(image).resize((target, target), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(ours - pillow).max() <= 1.01  # it rounds twice


def test_preprocessing_normalises_as_imagenet_does():
    pixels = torch.randint(0, 256, (3, 24, 20, 3), dtype=torch.uint8)
    out = Preprocess((24, 20), (24, 20))(pixels)
    expected = (pixels.numpy() / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(out.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)


def head(network):
    return {
        "name": "x",
        "architecture": TINY.model_dump(mode="json"),
        "tasks": [task.to_json() for task in TASKS],
        "geometry": geometry_head((40, 40), (32, 32), 128),
        "calibration": {t.name: {"temperature": 1.5} for t in TASKS},
        "parameters": 1,
        "training": {},
    }


def test_a_saved_model_says_the_same_after_loading(tmp_path):
    network = build_network(TINY, TASKS, (32, 32), 4).eval()
    save_model(tmp_path / "m", head(network), network.state_dict())
    model = load_model(tmp_path / "m")
    pixels = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(
            model.network(model.preprocess(pixels)).logits["hue"], network(model.preprocess(pixels)).logits["hue"]
        )
    assert model.temperatures == {"shade": 1.5, "hue": 1.5}


def test_weights_of_another_shape_or_a_damaged_file_are_refused(tmp_path):
    network = build_network(TINY, TASKS, (32, 32), 4)
    save_model(tmp_path / "m", head(network), network.state_dict())
    other = build_network(TINY, TASKS[:1], (32, 32), 4)
    with pytest.raises(UserError, match=r"heads\.hue"):
        load_weights(other, tmp_path / "m" / "model.safetensors")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(network, tmp_path / "m" / "model.safetensors")
