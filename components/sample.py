"""The step that draws the embedded data set, planted faults and all."""

from pydantic import Field, model_validator

from components.contract import Output
from components.runtime import Runtime, SharedRuntime
from components.settings import Seed, Settings


class Faults(Settings):
    """How many faults of each kind are planted; faults.json says where."""

    truncated: int = Field(4, ge=0, description="files cut off in the middle")
    empty: int = Field(2, ge=0, description="files without a byte")
    mislabelled: int = Field(6, ge=0, description="rows whose category is wrong")
    duplicated: int = Field(4, ge=0, description="files of test or val that train has as well, under another name")
    wrong_extension: int = Field(3, ge=0, description="PNG files called .jpg and JPEG files called .png")


class Sample(Settings):
    """What the embedded data set is like."""

    seed: Seed = 0
    count: int = Field(1500, ge=48, le=200_000, description="images drawn; duplicates come on top")
    size: int = Field(96, ge=16, le=1024, description="height and width in pixels")
    pictures: int = Field(3, ge=1, le=100, description="images of one garment, each in another pose and light")
    unlabelled: float = Field(0.15, ge=0, lt=1, description="share of rows that lack the label of pattern")
    faults: Faults = Faults()
    runtime: SharedRuntime = Runtime()

    @model_validator(mode="after")
    def enough_for_faults(self) -> "Sample":
        """Refuse more faults than there are images to plant them in."""
        planted = sum(self.faults.model_dump().values())
        if planted > self.count // 2:
            raise ValueError(f"at most {self.count // 2} faults in {self.count} images; {planted} are asked for")
        if self.faults.duplicated > self.count // 5:  # the share of val and test is a little larger
            raise ValueError(f"at most {self.count // 5} duplicated in {self.count}, not {self.faults.duplicated}")
        if self.count // self.pictures < 24:
            raise ValueError(f"at least 24 garments, not count / pictures = {self.count // self.pictures}")
        return self


def sample(settings: Sample, /, *, data: Output) -> None:
    """Draw images of garments with their labels, and plant faults for `validate` to find."""
    from components.data.pool import processes
    from components.data.sampling import Plan, draw_all

    plan = Plan(settings.seed, settings.count, settings.size, settings.pictures, settings.unlabelled,
                settings.faults.model_dump())
    draw_all(plan, data, processes(settings.runtime.threads))
