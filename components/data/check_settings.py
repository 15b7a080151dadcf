"""What counts as odd in an image: the `thresholds` part of the `validate` section."""

from pydantic import Field

from components.settings import Settings


class Thresholds(Settings):
    """From where on an image is found odd; luma is 0 for black and 1 for white."""

    short_side: int = Field(8, ge=0, description="too_small: a side of fewer pixels")
    aspect: float = Field(6.0, ge=1, description="extreme_aspect: long side more than so many times the short one")
    contrast: float = Field(0.01, ge=0, description="near_uniform: standard deviation of luma below this")
    dark: float = Field(0.2, ge=0, le=1, description="dark: mean luma plus twice its standard deviation below this")
    bright: float = Field(0.8, ge=0, le=1, description="bright: mean luma less twice its deviation above this")
    sharpness: float = Field(0.3, ge=0, description="blurred: deviation of luma's Laplacian in luma's, below this")
    entropy: float = Field(2.0, ge=0, le=8, description="low_information: bits a pixel below this")
