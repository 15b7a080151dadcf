"""Which images a training step sees next: the `sampler` part of a training section."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Name: TypeAlias = Literal["shuffled", "balanced", "adaptive", "tasks", "identities"]

# The settings that each sampler reads; any other one that is set is refused.
READS: dict[Name, tuple[str, ...]] = {
    "shuffled": (),
    "balanced": ("task", "power", "samples_per_epoch", "interleave", "weights"),
    "adaptive": ("task", "max_base", "refresh", "smoothing", "samples_per_epoch", "interleave", "weights"),
    "tasks": ("weights",),
    "identities": ("task", "images"),
}


class Sampler(Settings):
    """Which images make up a batch; every draw follows from the seed, so a resumed run sees the same ones."""

    name: Name = Field("shuffled", description=(
        "shuffled: each image once; balanced: classes alike; adaptive: more of the classes that val shows to be hard; "
        "tasks: each batch about one task; identities: several images of each of several identities"))
    task: str = Field("", description=(
        "balanced, adaptive: the task whose classes count, empty for all; identities: the task whose classes are the "
        "identities, empty for the column identity"))
    power: float = Field(1.0, ge=0, le=1, description=(
        "balanced: a class of n images gets a share of n**(1 - power); 1: all alike, 0: as they are"))
    max_base: int = Field(5000, ge=1, description=(
        "adaptive: most images an epoch for a class without errors, of the task that has fewest classes"))
    refresh: int = Field(20, ge=1, description="adaptive: epochs between looks at the recall of classes on val")
    smoothing: float = Field(0.5, ge=0, lt=1, description="adaptive: share of the earlier epochs in a class's recall")
    samples_per_epoch: int = Field(0, ge=0, description=(
        "balanced: images an epoch; adaptive: images an epoch if no class had an error; 0: as many as there are"))
    interleave: bool = Field(False, description="balanced, adaptive: each batch about one task, not about all at once")
    weights: dict[str, float] = Field({}, description="balanced, adaptive, tasks: factor on a task's share where not 1")
    images: int = Field(4, ge=2, description="identities: images of each identity in a batch; it divides `batch`")

    @model_validator(mode="after")
    def _read(self) -> "Sampler":
        for name, field in type(self).model_fields.items():
            if name not in ("name", *READS[self.name]) and getattr(self, name) != field.default:
                raise ValueError(f"no {name}, which the sampler {self.name} does not read")
        return self

    @model_validator(mode="after")
    def _sound(self) -> "Sampler":
        if any(not weight > 0 for weight in self.weights.values()):
            raise ValueError("weights above 0; leave a task out of data.tasks to not train it")
        if self.interleave and self.task:
            raise ValueError("interleave without task: it takes all tasks in turn")
        return self

    @property
    def together(self) -> int:
        """How many images of a batch that stand behind each other belong together."""
        return self.images if self.name == "identities" else 1

    def refuse_batch(self, size: int) -> None:
        """ValueError where batches of some size cannot be made."""
        if self.name == "identities" and (size % self.images or size < 2 * self.images):
            raise ValueError(f"a batch of {self.images} images each of two or more identities (sampler.images), "
                             f"such as batch: {max(size // self.images, 2) * self.images}; batch is {size}")
