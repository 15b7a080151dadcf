"""Pretrained weights: from a pinned local file or timm's cache, whatever its classes, channels and image size."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models as torchvision_models

from components.data.tasks import Task
from components.errors import UserError
from components.models.network import build_network
from components.models.pretrained import adapted, load_pretrained, pretrained_file
from components.models.settings import Architecture, Pretrained
from components.storage.digests import file_digest

TASKS = (Task("shade", "single", ("dark", "light")),)
OPTIONS = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
VIT = {"depth": 1, "embed_dim": 24, "num_heads": 2}


def written(path, network):
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def asked(path, name="resnet18", options=OPTIONS, **changes):
    wish = Pretrained(file=str(path), sha256=file_digest(path))
    return Architecture(name=name, options=options, pretrained=wish, **changes)


def test_the_whole_backbone_is_taken_whatever_the_classes_of_the_file(tmp_path):
    source = timm.create_model("resnet18", num_classes=7, **OPTIONS).eval()
    architecture = asked(written(tmp_path / "w.safetensors", source))
    network = build_network(architecture, TASKS, (32, 32), 0).eval()
    notes = load_pretrained(network.backbone, architecture, 0)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = source.forward_head(source.forward_features(images), pre_logits=True)
        assert torch.equal(network(images).embedding, expected)
    assert any("fc.bias, fc.weight" in note for note in notes)


def test_a_torchvision_network_takes_the_names_of_torchvision(tmp_path):
    source = torchvision_models.squeezenet1_1(weights=None, num_classes=5).eval()
    architecture = asked(written(tmp_path / "w.safetensors", source), "torchvision/squeezenet1_1", {})
    network = build_network(architecture, TASKS, (64, 48), 0).eval()
    load_pretrained(network.backbone, architecture, 0)
    images = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        assert torch.equal(network(images).features, source.features(images))


def test_a_vision_transformer_resamples_its_positions_to_the_grid_of_other_images(tmp_path):
    source = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, **VIT)
    architecture = asked(written(tmp_path / "w.safetensors", source), "vit_tiny_patch16_224", VIT)
    network = build_network(architecture, TASKS, (96, 32), 0)
    notes = load_pretrained(network.backbone, architecture, 0)
    positions = network.backbone.body.pos_embed
    assert positions.shape[1] == 1 + 6 * 2 and any("pos_embed resampled" in note for note in notes)
    assert torch.allclose(positions[:, 1:].mean(), source.pos_embed[:, 1:].mean(), atol=1e-2)
    assert torch.equal(network.backbone.body.blocks[0].mlp.fc1.weight, source.blocks[0].mlp.fc1.weight)


def test_positions_of_a_torchvision_transformer_follow_the_grid(tmp_path):
    from components.models.torchvision_backbones import resampled

    ramp = torch.arange(4.0).repeat(4, 1)[None, None]  # rises from left to right, alike in every row
    given = torch.cat([torch.full((1, 1, 1), 9.0), ramp.flatten(2).transpose(1, 2)], dim=1)
    out = resampled(given, (4, 4), (2, 8))
    assert out[0, 0, 0] == 9.0
    plane = out[0, 1:, 0].reshape(2, 8)
    assert torch.equal(plane[0], plane[1]) and (plane[0].diff() > 0).all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_input_channels_are_adapted(tmp_path, channels):
    source = timm.create_model("resnet18", num_classes=0, **OPTIONS).eval()
    architecture = asked(written(tmp_path / "w.safetensors", source))
    network = build_network(architecture, TASKS, (32, 32), 0, channels).eval()
    notes = load_pretrained(network.backbone, architecture, 3)
    assert any(f"conv1.weight was adapted from 3 to {channels}" in note for note in notes)
    grey = torch.randn(2, 1, 32, 32)
    images = grey.expand(-1, channels, -1, -1).clone()
    if channels > 3:
        images[:, 3:] = 0
    with torch.no_grad():
        assert torch.allclose(network(images).embedding, source(grey.expand(-1, 3, -1, -1)), atol=1e-4)


def test_weights_of_new_channels_are_small_and_drawn_from_their_seed():
    weight = torch.randn(64, 3, 7, 7)
    wide = adapted(weight, 16, 1)
    assert torch.equal(wide[:, :3], weight) and torch.equal(wide, adapted(weight, 16, 1))
    assert wide[:, 3:].std().item() == pytest.approx(0.02, rel=0.02)


def test_weights_that_are_not_pinned_or_pinned_otherwise_are_refused_with_their_digest(tmp_path):
    path = written(tmp_path / "w.safetensors", torch.nn.Linear(2, 2))
    for sha256 in ("", "0" * 64):
        with pytest.raises(UserError, match="SHA-256") as raised:
            pretrained_file(Pretrained(file=str(path), sha256=sha256), "resnet18")
        assert f"model.pretrained.sha256: {file_digest(path)}" in raised.value.remedy
    assert pretrained_file(Pretrained(file=str(path), sha256=file_digest(path)), "resnet18") == path


@pytest.mark.parametrize("name", ["resnet18.pth", "pytorch_model.bin", "best.ckpt"])
def test_a_pickle_is_refused_unread_and_the_remedy_converts_it(tmp_path, name):
    canary = tmp_path / "canary"
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.")
    with pytest.raises(UserError, match="is a pickle") as raised:
        pretrained_file(Pretrained(file=str(tmp_path / name)), "resnet18")
    assert "save_file" in raised.value.remedy and not canary.exists()


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"\x00" * 40)
    architecture = asked(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="cannot be read"):
        load_pretrained(build_network(architecture, TASKS, (32, 32), 0).backbone, architecture, 0)


def test_weights_of_another_network_are_refused_by_the_first_that_is_missing_or_of_another_shape(tmp_path):
    narrow = timm.create_model("resnet18", num_classes=0, layers=[1, 1, 1, 1], channels=[8, 8, 16, 24])
    architecture = asked(written(tmp_path / "narrow.safetensors", narrow))
    network = build_network(architecture, TASKS, (32, 32), 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match=r"layer4\.0\..* is \[24.*the network has \[16"):
        load_pretrained(network.backbone, architecture, 0)
    other = asked(written(tmp_path / "other.safetensors", torch.nn.Linear(2, 2)))
    with pytest.raises(UserError, match=r"lacks \d+ of \d+ weights, the first bn1\.bias"):
        load_pretrained(network.backbone, other, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_cache_of_timm_is_read_offline_and_its_absence_tells_how_to_fill_it(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    told = r"no model\.safetensors of timm/resnet18\.a1_in1k.*timm knows resnet18\."
    with pytest.raises(UserError, match=told) as raised:
        pretrained_file(Pretrained(cache="resnet18.a1_in1k"), "resnet18")
    assert "hf download timm/resnet18.a1_in1k" in raised.value.remedy
    store = tmp_path / "models--timm--resnet18.a1_in1k"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("abc")
    (store / "snapshots" / "abc").mkdir(parents=True)
    path = written(store / "snapshots" / "abc" / "model.safetensors", torch.nn.Linear(2, 2))
    found = pretrained_file(Pretrained(cache="resnet18.a1_in1k", sha256=file_digest(path)), "resnet18")
    assert found == path


def test_other_normalisation_than_that_of_the_weights_is_said(tmp_path):
    source = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    architecture = asked(written(tmp_path / "w.safetensors", source), "vit_tiny_patch16_224", VIT)
    network = build_network(architecture, TASKS, (224, 224), 0)
    assert any("set advprop" in note for note in load_pretrained(network.backbone, architecture, 0))
    better = asked(tmp_path / "w.safetensors", "vit_tiny_patch16_224", VIT, normalisation="advprop")
    assert not any("set advprop" in note for note in load_pretrained(network.backbone, better, 0))


def test_where_the_weights_lie_is_in_no_digest_but_which_they_are_is():
    here, there = (Architecture(pretrained=Pretrained(file=path, sha256="a" * 64)) for path in ("a.x", "b.x"))
    assert here.digestible() == there.digestible()
    assert here.digestible()["pretrained"] == {"sha256": "a" * 64}
    assert Architecture.model_validate_json(here.model_dump_json()).pretrained.sha256 == "a" * 64
