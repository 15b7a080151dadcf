"""Which network: the `model` part of a training section."""

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Normalisation: TypeAlias = Literal["imagenet", "advprop", "unit"]


class Head(Settings):
    """What stands between the embedding and the logits of a task; every task has one of its own."""

    kind: Literal["linear", "embedding"] = Field("linear", description=(
        "linear: one layer; embedding: linear, batch norm of the task's labelled samples, ReLU, dropout, linear"))
    width: int = Field(0, ge=0, description="of an embedding head: numbers in its hidden layer; 0 takes the backbone's")
    dropout: float = Field(0.0, ge=0, lt=1, description="of an embedding head: dropout before its last layer")

    @model_validator(mode="after")
    def _of_an_embedding(self) -> "Head":
        if self.kind == "linear" and (self.width or self.dropout):
            raise ValueError("kind: embedding where width or dropout is given")
        return self


class Architecture(Settings):
    """A backbone by name, with one parallel head a task."""

    name: str = Field("resnet18", description="a timm name, or torchvision/NAME")
    options: dict[str, Any] = Field(
        {}, description="arguments of the constructor, e.g. {layers: [1, 1, 1, 1], channels: [32, 64, 128, 256]}")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the heads")
    head: Head = Head()
    normalisation: Normalisation = Field(
        "imagenet", description="pixels by ImageNet's mean and spread, advprop: from -1 to 1, unit: from 0 to 1")
