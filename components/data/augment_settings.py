"""How views of an image differ: the `augment` part of a training section."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Policy: TypeAlias = Literal["none", "randaugment", "trivialaugment", "autoaugment_imagenet", "autoaugment_cifar10",
                            "autoaugment_svhn", "augmix", "myaugment"]


class Overlay(Settings):
    """Images laid over one another; the loss is shared between their labels alike."""

    mixup: float = Field(0.0, ge=0, le=1, description="probability that images are blended with partners")
    cutmix: float = Field(0.0, ge=0, le=1, description="probability that a rectangle is taken from partners")
    alpha: float = Field(1.1, gt=0, description="the share of blended images comes from Beta(alpha, alpha)")
    cutmix_alpha: float = Field(1.0, gt=0, description="the area of rectangles comes from Beta(alpha, alpha)")

    @model_validator(mode="after")
    def _at_most_certain(self) -> "Overlay":
        if self.mixup + self.cutmix > 1:
            raise ValueError("mixup and cutmix that add up to at most 1: they are probabilities of the same draw")
        return self

    @property
    def on(self) -> bool:
        """Whether anything is ever mixed."""
        return self.mixup + self.cutmix > 0


class Augment(Settings):
    """Random views: geometry, colour and erasing as one batched resampling, and a per-sample policy before it.

    mix: other training images as part of a view, chosen by its key, so that a store can hold what teachers say of the
    mixed image; the setting `mix` of a recipe lays the images of a batch over one another instead.
    """

    crop: tuple[float, float] = Field((0.35, 1.0), description="share of the image's area that a crop keeps")
    ratio: tuple[float, float] = Field((0.75, 1.333), description="width to height of a crop, relative to the image's")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image")
    vertical_flip: float = Field(0.0, ge=0, le=1, description="probability of an image upside down")
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, degrees")
    shear: float = Field(0.0, ge=0, le=45, description="largest shear, degrees")
    translate: float = Field(0.0, ge=0, le=1, description="largest shift along each axis, share of the image's side")
    zoom: tuple[float, float] = Field((1.0, 1.0), description="enlargement; below 1 the background shows")
    background: Literal["reflect", "grey"] = Field("reflect", description="what stands outside the image")
    brightness: float = Field(0.3, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(0.3, ge=0, le=1, description="largest relative change of contrast")
    saturation: float = Field(0.3, ge=0, le=1, description="largest relative change of saturation")
    hue: float = Field(0.0, ge=0, le=180, description="largest turn of the hue, degrees")
    erase: float = Field(0.25, ge=0, le=1, description="probability of an erased rectangle")
    erase_area: tuple[float, float] = Field((0.02, 0.2), description="share of the image that is erased")
    policy: Policy = Field("none", description="what is done to a sample before everything else, in loader workers")
    operations: int = Field(2, ge=1, le=14, description="of randaugment: operations one after the other")
    magnitude: int = Field(9, ge=0, le=30, description="of randaugment: their strength")
    mix: Overlay = Overlay()
    device: Literal["cpu", "gpu"] = Field("cpu", description=(
        "where pixels wait for their views; cpu: each batch is read as it is due; gpu: all of the training split stay "
        "on the GPU, which has to have room for them; a student can replay what was judged in the same place"))

    @model_validator(mode="after")
    def _ordered(self) -> "Augment":
        for name, low, high in (("crop", *self.crop), ("erase_area", *self.erase_area)):
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} as two shares in order, 0 < low <= high <= 1, such as [0.35, 1.0]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError("ratio as two positive numbers in order, such as [0.75, 1.333]")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError("zoom as two positive numbers in order, such as [0.9, 1.1]")
        return self

    @model_validator(mode="after")
    def _effective(self) -> "Augment":
        if self.policy != "randaugment" and (self.operations, self.magnitude) != (2, 9):
            raise ValueError("operations and magnitude only beside policy: randaugment")
        if self.device == "gpu" and self.policy != "none":
            raise ValueError(f"policy: none beside device: gpu; {self.policy} is made by loader workers on the CPU")
        return self
