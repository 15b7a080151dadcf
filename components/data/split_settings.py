"""Who trains, who validates and who tests: the `split` part of `index`."""

from typing import Literal

from pydantic import Field, model_validator

from components.settings import Settings


class Fractions(Settings):
    """Shares of the images that have no split yet."""

    train: float = Field(0.8, ge=0, le=1, description="share that is learnt from")
    val: float = Field(0.1, ge=0, le=1, description="share that picks the epoch and fits the calibration")
    test: float = Field(0.1, ge=0, le=1, description="share that only `evaluate` reads")

    @model_validator(mode="after")
    def _whole(self) -> "Fractions":
        if abs(self.train + self.val + self.test - 1) > 1e-6 or self.train == 0:
            raise ValueError("train, val and test that add up to 1, train above 0")
        return self


class Split(Settings):
    """How images without a split get one, and what to do about given splits that leak."""

    method: Literal["stable", "stratified"] = Field(
        "stable", description="stable: drawn by the name of each group, so that images added later move none; "
        "stratified: balanced over all classes of all tasks, around the splits that are given")
    fractions: Fractions = Fractions()
    groups: tuple[str, ...] = Field(
        ("group", "identity"), description="columns whose equal values stay in one split (person, sender, recording)")
    near_duplicates: bool = Field(True, description="keep near duplicates, as `validate` found them, in one split")
    repair: bool = Field(False, description="move groups that given splits tear apart, as wholes, as little as needed")
    seed: int = Field(0, ge=0, lt=2**63, description="another number, another division; not the seed at the top, so "
                      "that training under another seed keeps its test images")
