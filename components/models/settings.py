"""Which network: the `model` part of a training section."""

from typing import Any, Literal, TypeAlias

from pydantic import Field

from components.settings import Settings

Normalisation: TypeAlias = Literal["imagenet", "advprop", "unit"]


class Architecture(Settings):
    """A backbone by name, with one parallel head a task."""

    name: str = Field("resnet18", description="a timm name, or torchvision/NAME")
    options: dict[str, Any] = Field(
        {}, description="arguments of the constructor, e.g. {layers: [1, 1, 1, 1], channels: [32, 64, 128, 256]}")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the heads")
    normalisation: Normalisation = Field(
        "imagenet", description="pixels by ImageNet's mean and spread, advprop: from -1 to 1, unit: from 0 to 1")
