"""How a network is trained: what `teachers.NAME`, `student` and `distill` have in common."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from components.data.augment_settings import Augment
from components.data.batch_settings import Mix, Scales
from components.data.sampler_settings import Sampler
from components.losses.settings import Loss
from components.models.settings import Architecture
from components.settings import Settings
from components.training.averaging_settings import Averaging
from components.training.optimizer_settings import Optimizer
from components.training.schedule_settings import Schedule

LEAST = 8  # pixels


def _checked_size(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    whole = all(type(part) is int and part >= LEAST for part in parts)
    if not whole or (isinstance(value, list | tuple) and len(parts) != 2):
        raise ValueError(f"a height or [height, width], each at least {LEAST} pixels")
    return tuple(value) if isinstance(value, list) else value


# A height, the width then in the stored proportion, or [height, width].
Size: TypeAlias = Annotated[int | tuple[int, int], BeforeValidator(_checked_size)]


class Recipe(Settings):
    """A network and how it is trained."""

    model: Architecture = Architecture()
    epochs: int = Field(20, ge=1, description="passes over the training split")
    batch: int = Field(64, ge=2, description="images a step")
    accumulate: int = Field(1, ge=1, description="parts that a batch goes through the network in, for want of memory; "
                            "BatchNorm, ohem and ghm see parts")
    sync_batchnorm: bool = Field(False, description="with several GPUs: BatchNorm of the backbone sees all images of a "
                                 "batch, not those of its own GPU alone")
    sizes: tuple[Size, ...] = Field((64,), min_length=1, description="heights or [height, width] in pixels, a phase "
                                    "each; the last is kept")
    freeze: int = Field(0, ge=0, description="first blocks of the backbone, from the stem on, that stay as they began")
    heads_first: int = Field(0, ge=0, description="epochs at the start in which the heads alone learn")
    sampler: Sampler = Sampler()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 does not clip")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing: share of a target that all classes get")
    averaging: Averaging = Averaging()
    loss: Loss = Loss()
    slimming: float = Field(0.0, ge=0, description=(
        "factor of an L1 penalty on the scales of batch norms, e.g. 1e-4: channels to prune show in slimming.json"))
    task_weights: dict[str, float] = Field({}, description="weight of a task's loss where it is not 1")
    select: Literal["best", "last"] = Field("best", description="keep the epoch that was best on val, or the last")
    augment: Augment = Augment()
    mix: Mix = Mix()
    scales: Scales = Scales()
    precision: Literal["auto", "fp64", "fp32", "bf16", "fp16"] = Field("auto", description=(
        "arithmetic of convolutions in training; fp16, with scaled gradients, on GPUs; fp64 to compare exactly; "
        "`stillhouse tune` measures"))
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field("auto", description="layout of images")
    compile: Literal["auto", "off", "on"] = Field("auto", description=(
        "let torch.compile make the network's code, which costs minutes and pays on GPUs; auto: off"))

    @model_validator(mode="after")
    def _batch_fits(self) -> "Recipe":
        self.sampler.refuse_batch(self.batch)
        if self.batch < 2 * self.accumulate and self.accumulate > 1:
            raise ValueError(f"accumulate of at most {self.batch // 2}, so that each part has two images of the batch "
                             f"of {self.batch}")
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> "Recipe":
        if self.heads_first > self.epochs:
            raise ValueError(f"heads_first of at most {self.epochs}, the epochs that there are")
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> "Recipe":
        self.schedule.refuse_epochs(self.epochs)
        return self

    @model_validator(mode="after")
    def _mixed_once(self) -> "Recipe":
        if self.mix.on and self.augment.mix.on:
            raise ValueError("mix or augment.mix: images are mixed once, with partners from the batch (mix) or as part "
                             "of a view that teachers can judge (augment.mix)")
        return self

    @model_validator(mode="after")
    def _scales_vary(self) -> "Recipe":
        heights = [size if isinstance(size, int) else size[0] for size in self.sizes]
        if self.scales.share > 0 and all(len(self.scales.heights(height)) == 1 for height in heights):
            raise ValueError(f"scales that leave more than one multiple of {self.scales.grid} near heights {heights}; "
                             "raise share or lower grid")
        return self
