"""Which average of the weights is evaluated and kept: the `averaging` part of a training section."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Name: TypeAlias = Literal["ema", "swa", "none"]

# The settings that each average reads; any other one that is set is refused.
READS: dict[Name, tuple[str, ...]] = {"ema": ("decay",), "swa": ("start", "samples"), "none": ()}


class Averaging(Settings):
    """Which average of the weights is evaluated, kept and sealed."""

    name: Name = Field("ema", description=(
        "ema: of all steps, later ones more; swa: of the last epochs' ends, all alike, with statistics of batch norms "
        "estimated anew; none: the weights as they are"))
    decay: float = Field(0.998, ge=0, lt=1, description="ema: share of the earlier steps")
    start: float = Field(0.75, ge=0, lt=1, description="swa: share of the epochs after which the average begins")
    samples: int = Field(4096, ge=0, description=(
        "swa: images of train, in views of the epoch, that statistics are estimated from, in whole batches; 0: all"))

    @model_validator(mode="after")
    def _read(self) -> "Averaging":
        for name, field in type(self).model_fields.items():
            if name not in ("name", *READS[self.name]) and getattr(self, name) != field.default:
                raise ValueError(f"no {name}, which the average {self.name} does not read")
        return self

    def first(self, epochs: int) -> int:
        """The epoch, from 0, whose end an average by epochs begins with."""
        return min(round(self.start * epochs), epochs - 1)
