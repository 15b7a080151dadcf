"""From a name to a backbone: timm's, or torchvision's as `torchvision/NAME`. Nothing falls back silently."""

from typing import Any

import torch
from torch import nn

from components.models.refusals import blind
from components.models.timm_backbones import TimmBackbone
from components.models.torchvision_backbones import TorchvisionBackbone


def build_backbone(name: str, channels: int, options: dict[str, Any],
                   size: tuple[int, int] = (224, 224)) -> nn.Module:
    """The backbone of a name: images [N, C, H, W] -> (embedding [N, D], features [N, F, h, w]).

    size: of the images that it will mostly see; networks with one weight a position are built for it.
    """
    if name.startswith("torchvision/"):
        return TorchvisionBackbone(name, channels, options, size)
    return TimmBackbone(name, channels, options, size)


def embedding_width(backbone: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """D of a backbone, found by showing it one blank image; UserError where it takes none of that size."""
    step = patch(backbone)
    if any(side % part for side, part in zip(size, step, strict=True)):
        why = f"it cuts them into patches of {step[0]} x {step[1]}, which leave a remainder"
        raise blind(size, why, step)
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            embedding, features = backbone(torch.zeros(1, channels, *size))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise blind(size, str(error), divisor(backbone), own_size(backbone)) from None
    backbone.train(training)
    assert embedding.ndim == 2 and features.ndim == 4, f"{embedding.shape}, {features.shape}: not the forward contract"
    return int(embedding.shape[1])


def patch(backbone: nn.Module) -> tuple[int, int]:
    """The sides that height and width are multiples of, lest pixels be dropped; (1, 1) where any will do."""
    embed = getattr(getattr(backbone, "body", None), "patch_embed", None)
    given = getattr(embed, "patch_size", None) or getattr(getattr(backbone, "features", None), "patch", None)
    if given is None or getattr(embed, "dynamic_img_pad", False):
        return 1, 1
    return (given, given) if isinstance(given, int) else (int(given[0]), int(given[1]))


def divisor(backbone: nn.Module) -> tuple[int, int]:
    """The factors by which a network makes images smaller: sides that are multiples of them are safest."""
    stages = getattr(getattr(backbone, "body", None), "feature_info", None)
    last = stages[-1].get("reduction", 1) if isinstance(stages, list) and stages else 1
    own = patch(backbone)
    return max(own[0], int(last)), max(own[1], int(last))


def own_size(backbone: nn.Module) -> tuple[int, int] | None:
    """Height and width that a timm network was made for; None where it does not say."""
    settings = getattr(getattr(backbone, "body", None), "pretrained_cfg", None) or {}
    found = settings.get("input_size")
    return (int(found[1]), int(found[2])) if found else None
