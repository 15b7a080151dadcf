"""torchvision's networks, cut where their features are pooled."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from components.errors import UserError
from components.models.refusals import blind, unknown

# Families whose way to the last map is spelt differently from `features`: the parts, one after the other.
STAGES: dict[str, tuple[str, ...]] = {
    "resnet": ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "shufflenet": ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
    "mnasnet": ("layers",),
    "regnet": ("stem", "trunk_output"),
    "maxvit": ("stem", "blocks"),
    "googlenet": ("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3",
                  "inception4a", "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4",
                  "inception5a", "inception5b"),
    "inception": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3",
                  "maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d",
                  "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
}
# Options that a family needs where the user gives none: auxiliary classifiers would be thrown away.
OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception": {"aux_logits": False, "init_weights": True},
}


class TorchvisionBackbone(nn.Module):
    """A torchvision network without its classifier."""

    def __init__(self, name: str, channels: int, options: dict[str, Any], size: tuple[int, int]) -> None:
        super().__init__()
        from torchvision import models

        bare = name.removeprefix("torchvision/")
        if bare not in models.list_models(module=models):
            raise unknown(name)
        defaults = [found for family, found in OPTIONS.items() if bare.startswith(family)]
        ours: dict[str, Any] = {"input_size": size} if bare.startswith("maxvit") and size != (224, 224) else {}
        try:
            network = models.get_model(bare, weights=None, **{**ours, **(defaults or [{}])[0], **options})
        except (TypeError, ValueError) as error:
            if ours:
                raise blind(size, str(error), (224, 224)) from None
            raise UserError(f"{name} cannot be built with options {options}: {error}",
                            "see the constructor in torchvision") from None
        if channels != 3:
            widen(network, channels)
        self._take(network, bare, name, size)

    def _take(self, network: nn.Module, bare: str, name: str, size: tuple[int, int]) -> None:
        names = {id(tensor): original for original, tensor in network.state_dict(keep_vars=True).items()}
        if bare.startswith("vit"):
            self.features: nn.Module = _Tokens(network, size)
            self.pool: nn.Module = nn.Identity()
        else:
            self.features = _stages(network, bare, name)
            self.pool = _pool(network, bare)
        own = self.state_dict(keep_vars=True)
        self.names = {ours: names.get(id(tensor), "encoder.pos_embedding") for ours, tensor in own.items()}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to (embedding [N, D], features [N, F, h, w])."""
        if isinstance(self.features, _Tokens):
            embedding, features = self.features(images)
            return embedding, features
        features = self.features(images)
        return self.pool(features), features

    def original_names(self) -> dict[str, str]:
        """The library's own name of each weight by ours."""
        return dict(self.names)


class _ChannelsFirst(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 3, 1, 2)


class _Tokens(nn.Module):
    """A vision transformer of any oblong size: its positions are a grid, resampled where images have another."""

    def __init__(self, network: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.patch = int(network.patch_size)
        self.embed, self.class_token = network.conv_proj, network.class_token
        self.layers, self.norm = network.encoder.layers, network.encoder.ln
        self.drop, positions = network.encoder.dropout, network.encoder.pos_embedding
        self.grid = (size[0] // self.patch, size[1] // self.patch)
        if self.grid != (network.image_size // self.patch,) * 2:
            rows = self.grid[0] * self.grid[1] + 1
            positions = nn.Parameter(torch.empty(1, rows, positions.shape[2]).normal_(std=0.02))
        self.positions = positions

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        refuse_remainder(tuple(images.shape[-2:]), self.patch)
        tokens = self.embed(images)
        height, width = int(tokens.shape[2]), int(tokens.shape[3])
        count = images.shape[0]
        tokens = torch.cat([self.class_token.expand(count, -1, -1), tokens.flatten(2).transpose(1, 2)], dim=1)
        tokens = self.norm(self.layers(self.drop(tokens + resampled(self.positions, self.grid, (height, width)))))
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).reshape(count, -1, height, width)


def refuse_remainder(size: tuple[int, ...], part: int) -> None:
    """ValueError where patches of a side do not fill height and width."""
    if any(side % part for side in size):
        raise ValueError(f"Input height and width are to be multiples of {part}")


def resampled(positions: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Positions [1, 1 + h w, D] of a grid for another one, bicubic; the first, of the class token, is kept."""
    if grid == wanted:
        return positions
    plane = positions[:, 1:].transpose(1, 2).reshape(1, -1, *grid)
    plane = interpolate(plane, size=wanted, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], plane.flatten(2).transpose(1, 2)], dim=1)


def widen(network: nn.Module, channels: int) -> None:
    """Give a network's first convolution another number of input channels, freshly drawn."""
    path, first = next((path, module) for path, module in network.named_modules() if isinstance(module, nn.Conv2d))
    size, stride, padding = first.kernel_size, first.stride, first.padding
    assert not isinstance(padding, str)
    new = nn.Conv2d(channels, first.out_channels, (size[0], size[1]), (stride[0], stride[1]),
                    (padding[0], padding[1]), bias=first.bias is not None)
    owner, _, last = path.rpartition(".")
    setattr(network.get_submodule(owner), last, new)


def _pool(network: nn.Module, bare: str) -> nn.Module:
    average = nn.AdaptiveAvgPool2d(1)
    if bare.startswith("convnext"):  # its norm stands between the pool and the classifier
        return nn.Sequential(average, network.get_submodule("classifier.0"), nn.Flatten())
    return nn.Sequential(average, nn.Flatten())


def _stages(network: nn.Module, bare: str, name: str) -> nn.Sequential:
    for family, parts in STAGES.items():
        if all(hasattr(network, part) for part in parts) and (family in bare or family == "resnet"):
            found = [getattr(network, part) for part in parts]
            return nn.Sequential(*(nn.Sequential(*one) if isinstance(one, nn.ModuleList) else one for one in found))
    if not isinstance(getattr(network, "features", None), nn.Module):
        raise UserError(f"{name} has no feature map to cut at", f"timm has many of the same family: {bare}")
    features: list[nn.Module] = [network.features]  # type: ignore[list-item]
    if bare.startswith("swin"):
        features += [network.norm, _ChannelsFirst()]  # type: ignore[list-item]
    elif bare.startswith("densenet"):
        features.append(nn.ReLU())
    return nn.Sequential(*features)
