"""How views of an image differ: the `augment` part of a training section."""

from typing import Literal

from pydantic import Field, model_validator

from components.settings import Settings

Share = Field(ge=0.0, le=1.0)


class Augment(Settings):
    """Random views: geometry, colour and erasing as one batched resampling, and a per-sample policy before it."""

    crop: tuple[float, float] = Field((0.35, 1.0), description="share of the image's area that a crop keeps")
    ratio: tuple[float, float] = Field((0.75, 1.333), description="width to height of a crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image")
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, degrees")
    shear: float = Field(0.0, ge=0, le=45, description="largest shear, degrees")
    brightness: float = Field(0.3, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(0.3, ge=0, le=1, description="largest relative change of contrast")
    saturation: float = Field(0.3, ge=0, le=1, description="largest relative change of saturation")
    hue: float = Field(0.0, ge=0, le=180, description="largest turn of the hue, degrees")
    erase: float = Field(0.25, ge=0, le=1, description="probability of an erased rectangle")
    erase_area: tuple[float, float] = Field((0.02, 0.2), description="share of the image that is erased")
    policy: Literal["none", "randaugment", "trivialaugment", "autoaugment"] = Field(
        "none", description="per-sample policy of torchvision, before everything else")

    @model_validator(mode="after")
    def _ordered(self) -> "Augment":
        for name, low, high in (("crop", *self.crop), ("erase_area", *self.erase_area)):
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} as two shares in order, 0 < low <= high <= 1, such as [0.35, 1.0]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError("ratio as two positive numbers in order, such as [0.75, 1.333]")
        return self
