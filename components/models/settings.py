"""Which network: the `model` part of a training section."""

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from components.errors import UserError
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


class Pretrained(Settings):
    """Weights that the backbone starts from, pinned by their digest; without file and cache they are drawn."""

    file: str = Field("", exclude=True, description="a safetensors file, its weights named as timm or torchvision does")
    cache: str = Field("", exclude=True, description=(
        "a name in timm's cache, such as resnet18.a1_in1k; nothing is fetched"))
    sha256: str = Field("", description="of that file; where it is left out, the refusal tells it")

    @property
    def given(self) -> bool:
        """Whether weights are asked for."""
        return bool(self.file or self.cache)

    @model_validator(mode="after")
    def _one_source(self) -> "Pretrained":
        if self.file and self.cache:
            raise ValueError("file or cache, not both")
        return self


class Start(Settings):
    """An earlier Model to go on from: rows of classes that it knew are kept, new ones begin anew."""

    model: str = Field("", exclude=True, description=(
        "folder of a sealed Model of the same architecture; of this stage's own a copy, as DVC removes that first"))
    digest: str = Field("", description=(
        "of that Model; left out, it is taken from the folder, and DVC does not see when it changes"))

    def refuse_other(self, digest: str) -> None:
        """UserError where the Model has another digest than the settings name."""
        if self.digest and self.digest != digest:
            raise UserError(f"model.start: {self.model} has digest {digest}; expected {self.digest}",
                            "correct model.start.digest, or fetch that Model (dvc checkout)")


class Architecture(Settings):
    """A backbone by name, with one parallel head a task."""

    name: str = Field("resnet18", description="a timm name, or torchvision/NAME")
    options: dict[str, Any] = Field(
        {}, description="arguments of the constructor, e.g. {layers: [1, 1, 1, 1], channels: [32, 64, 128, 256]}")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the heads")
    head: Head = Head()
    bias_init: Literal["zero", "prior"] = Field("zero", description=(
        "biases of the heads at the start: 0, or the logits of the classes' shares among the training samples"))
    pretrained: Pretrained = Pretrained()
    start: Start = Start()
    normalisation: Normalisation = Field(
        "imagenet", description="pixels by ImageNet's mean and spread, advprop: from -1 to 1, unit: from 0 to 1")

    @model_validator(mode="after")
    def _one_start(self) -> "Architecture":
        if self.pretrained.given and self.start.model:
            raise ValueError("pretrained or start: a Model to start from brings its backbone along")
        return self
