"""From a name to a backbone: timm's, or torchvision's as `torchvision/NAME`. Nothing falls back silently."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from components.errors import UserError

# torchvision networks whose forward pass before pooling is spelt differently from `features`.
STAGES = {
    "resnet": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "shufflenet": ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
    "mnasnet": ("layers",),
}


class TimmBackbone(nn.Module):
    """A timm network without its classifier."""

    def __init__(self, name: str, channels: int, options: dict[str, Any]) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise unknown(name)
        try:
            self.body = timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels, **options)
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"{name} cannot be built with options {options}: {error}",
                            "see the constructor in timm") from None
        self.prefix_tokens: int = getattr(self.body, "num_prefix_tokens", 0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to (embedding [N, D], features [N, F, h, w])."""
        raw = self.body.forward_features(images)
        return self.body.forward_head(raw, pre_logits=True), self._as_map(raw)

    def _as_map(self, raw: Tensor) -> Tensor:
        if raw.ndim == 4:
            last = getattr(self.body, "output_fmt", "NCHW")
            return raw.permute(0, 3, 1, 2) if str(last).upper().endswith("NHWC") else raw
        tokens = raw[:, self.prefix_tokens :]
        height, width = self.body.patch_embed.grid_size
        count = tokens.shape[0]  # len() would be a plain number, and an exported graph fixed to it
        return tokens.transpose(1, 2).reshape(count, -1, height, width)


class TorchvisionBackbone(nn.Module):
    """A torchvision network, cut where its features are pooled."""

    def __init__(self, name: str, channels: int, options: dict[str, Any]) -> None:
        super().__init__()
        from torchvision import models

        bare = name.removeprefix("torchvision/")
        if bare not in models.list_models(module=models):
            raise unknown(name)
        if channels != 3:
            raise UserError(f"{name} takes 3 channels, not {channels}", "choose a timm network")
        try:
            network = models.get_model(bare, weights=None, **options)
        except (TypeError, ValueError) as error:
            raise UserError(f"{name} cannot be built with options {options}: {error}",
                            "see the constructor in torchvision") from None
        self.features = _stages(network, bare, name)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, 3, H, W] to (embedding [N, D], features [N, F, h, w])."""
        features = self.features(images)
        return self.pool(features), features


class _ChannelsFirst(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 3, 1, 2)


def _stages(network: nn.Module, bare: str, name: str) -> nn.Sequential:
    for family, parts in STAGES.items():
        if all(hasattr(network, part) for part in parts) and (family in bare or family == "resnet"):
            return nn.Sequential(*(getattr(network, part) for part in parts))
    if not isinstance(getattr(network, "features", None), nn.Module):
        raise UserError(f"{name} has no feature map to cut at", f"timm has many of the same family: {bare}")
    features: list[nn.Module] = [network.features]  # type: ignore[list-item]
    if bare.startswith("swin"):
        features += [network.norm, _ChannelsFirst()]  # type: ignore[list-item]
    elif bare.startswith("densenet"):
        features.append(nn.ReLU())
    return nn.Sequential(*features)


def unknown(name: str) -> UserError:
    """The error for a name that neither library knows, with near names of both."""
    import timm
    from torchvision import models

    bare = name.removeprefix("torchvision/")
    close = difflib.get_close_matches(bare, timm.list_models(), n=3)
    others = difflib.get_close_matches(bare, models.list_models(module=models), n=2)
    close += [f"torchvision/{one}" for one in others]
    remedy = f"near names: {', '.join(close)}" if close else "see timm.list_models()"
    return UserError(f"no network is called {name}", remedy)


def build_backbone(name: str, channels: int, options: dict[str, Any]) -> nn.Module:
    """The backbone of a name: images [N, C, H, W] -> (embedding [N, D], features [N, F, h, w])."""
    kind = TorchvisionBackbone if name.startswith("torchvision/") else TimmBackbone
    return kind(name, channels, options)


def embedding_width(backbone: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """D of a backbone, found by showing it one blank image; UserError where it takes none of that size."""
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            embedding, _ = backbone(torch.zeros(1, channels, *size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(f"the network cannot look at {size[0]} x {size[1]} pixels: {error}",
                        "change sizes or scales in params.yaml, or choose another network") from None
    backbone.train(training)
    return int(embedding.shape[1])
