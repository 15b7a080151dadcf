"""Every family that is named in the reference keeps the forward contract, at oblong sizes and for any channels."""

import pytest
import timm
import torch
from torchvision import models as torchvision_models

from components.errors import UserError
from components.models.backbones import build_backbone, embedding_width
from components.models.timm_backbones import token_grid

SMALL = {
    "resnext101_32x8d": {"layers": [1, 1, 1, 1]}, "densenet121": {"block_config": [1, 1, 1, 1]},
    "resnest50d": {"layers": [1, 1, 1, 1]}, "vit_tiny_patch16_224": {"depth": 1}, "convnext_atto": {"depths": [1] * 4},
    "swin_tiny_patch4_window7_224": {"depths": [1, 1, 1, 1]}, "mobilenetv3_large_100": {}, "mnasnet_100": {},
}
NAMED = ["shufflenet_v2_x1_0", "mnasnet1_0", "vit_b_32", "convnext_tiny", "googlenet"]
SLOW = [f"efficientnet_b{number}" for number in range(8)] + [
    *SMALL, "coat_lite_tiny", "poolformer_s12", "xcit_nano_12_p16_224", "mixer_s32_224", "eva02_tiny_patch14_224",
    "maxvit_pico_rw_256", "regnety_002", "levit_128s", "tnt_s_legacy_patch16_224", "test_resnet"]


def shown(name, options, size, channels=3, count=2):
    """Embedding and features of a backbone without memory: shapes alone are asked for."""
    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(name, channels, options, size).eval()
        return embedding_width(backbone, channels, size), *backbone(torch.zeros(count, channels, *size))


@pytest.mark.parametrize(("name", "options"), [*SMALL.items(), *((f"torchvision/{name}", {}) for name in NAMED)])
def test_a_family_looks_at_oblong_images_and_gives_a_map_in_their_proportions(name, options):
    width, embedding, features = shown(name, options, (128, 96))
    assert embedding.shape == (2, width)
    assert features.ndim == 4 and len(features) == 2
    height, across = features.shape[2:]
    assert 1 < height <= 32 and abs(128 / height - 96 / across) <= 128 / height / 3


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_networks_of_timm_keep_the_forward_contract_at_their_whole_size(name):
    size = (224, 224)
    width, embedding, features = shown(name, {}, size)
    assert embedding.shape == (2, width) and features.ndim == 4
    assert features.shape[2] == features.shape[3] <= 56


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in torchvision_models.list_models(module=torchvision_models)
                                  if not name.startswith("regnet")])  # they cannot be built without memory
def test_every_network_of_torchvision_keeps_the_forward_contract(name):
    width, embedding, features = shown(f"torchvision/{name}", {}, (224, 224))
    assert embedding.shape == (2, width) and features.ndim == 4
    assert features.shape[2] == features.shape[3] <= 28


def test_regnets_of_torchvision_keep_the_forward_contract():
    backbone = build_backbone("torchvision/regnet_y_400mf", 3, {}, (64, 48)).eval()
    embedding, features = backbone(torch.zeros(1, 3, 64, 48))
    assert embedding.shape == (1, 440) and features.shape == (1, 440, 2, 2)


@pytest.mark.parametrize(("name", "classifier"), [
    ("resnet18", "fc"), *(pytest.param(*one, marks=pytest.mark.slow) for one in [
        ("convnext_tiny", "classifier"), ("vit_b_32", "heads"), ("swin_t", "head"), ("mobilenet_v2", "classifier")])])
def test_the_embedding_of_a_torchvision_network_is_what_its_own_classifier_reads(name, classifier):
    torch.manual_seed(1)
    ours = build_backbone(f"torchvision/{name}", 3, {}, (224, 224)).eval()
    theirs = torchvision_models.get_model(name, weights=None).eval()
    own, names = ours.state_dict(), ours.original_names()
    theirs.load_state_dict({names[key]: tensor for key, tensor in own.items()}, strict=False)
    seen = []
    last = next(module for path, module in theirs.named_modules() if path.startswith(classifier)
                and isinstance(module, torch.nn.Linear))
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        embedding, _ = ours(images)
        theirs(images)
    assert torch.allclose(embedding, seen[0], atol=1e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18",
                                  pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)])
def test_at_its_own_size_a_network_of_timm_is_drawn_as_timm_draws_it(name):
    options = SMALL.get(name, {})
    torch.manual_seed(5)
    ours = build_backbone(name, 3, options, (224, 224)).eval()
    torch.manual_seed(5)
    theirs = timm.create_model(name, num_classes=0, **options).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        embedding, features = ours(images)
        assert torch.equal(embedding, theirs(images))
    assert all(torch.equal(tensor, theirs.state_dict()[ours.original_names()[key]])
               for key, tensor in ours.state_dict().items())
    if name.startswith("vit"):  # tokens, row by row
        tokens = theirs.forward_features(images)[0, 1:]
        assert torch.equal(features[0, :, 3, 5], tokens[3 * 14 + 5])


@pytest.mark.parametrize(("name", "channels"), [
    ("resnet18", 5), ("torchvision/resnet18", 1), ("torchvision/mobilenet_v2", 5), ("vit_tiny_patch16_224", 1)])
def test_images_may_have_any_number_of_channels(name, channels):
    width, embedding, _ = shown(name, {}, (64, 48), channels)
    assert embedding.shape == (2, width)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "torchvision/vit_b_16"])
def test_a_vision_transformer_looks_at_other_sizes_than_the_one_it_was_built_for(name):
    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(name, 3, {}, (64, 48)).eval()
        _, features = backbone(torch.zeros(2, 3, 96, 64))
    assert features.shape[2:] == (6, 4)


@pytest.mark.parametrize(("name", "size", "remedy"), [
    ("vit_tiny_patch16_224", (70, 64), "multiples of 16 x 16, such as [64, 64]"),
    ("torchvision/vit_b_16", (70, 64), "multiples of 16 x 16, such as [64, 64]"),
    ("torchvision/maxvit_t", (192, 128), "multiples of 224 x 224, such as [224, 224]"),
    ("halonet_h1", (224, 224), "made for [256, 256]")])
def test_a_size_that_does_not_fit_is_refused_with_one_that_does(name, size, remedy):
    with torch.device("meta"), pytest.raises(UserError, match=f"{size[0]} x {size[1]} pixels") as raised:
        embedding_width(build_backbone(name, 3, {}, size), 3, size)
    assert remedy in raised.value.remedy


def test_a_grid_of_tokens_has_the_proportions_of_its_image():
    for height in range(1, 12):
        for width in range(1, 12):
            assert token_grid(height * width, (16 * height, 16 * width)) == (height, width)
