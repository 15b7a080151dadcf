"""How the learning rate runs: the `schedule` part of a training section."""

from itertools import pairwise
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Name: TypeAlias = Literal["cosine", "linear", "constant", "step", "multi_step", "every_n", "piecewise", "one_cycle"]

# The settings that each schedule reads; any other one that is set is refused.
READS: dict[Name, tuple[str, ...]] = {
    "cosine": ("warmup", "minimum", "hold"),
    "linear": ("warmup", "minimum", "hold"),
    "constant": ("warmup",),
    "step": ("warmup", "gamma", "phases"),
    "multi_step": ("warmup", "gamma", "steps"),
    "every_n": ("warmup", "gamma", "every"),
    "piecewise": ("warmup", "steps", "ratios"),
    "one_cycle": ("minimum", "rise", "start"),
}


class Schedule(Settings):
    """The share of the peak rate over the run: a warm-up times a curve, a function of the step alone."""

    name: Name = Field("cosine", description=(
        "cosine: half a cosine down to the minimum; linear: a line down to it; constant: the peak rate; step: lower by "
        "gamma from phase to phase, of equal lengths after the warm-up; multi_step: lower by gamma at given epochs; "
        "every_n: lower by gamma every so many epochs; piecewise: given ratios between given epochs; one_cycle: up "
        "from a start, then down to the minimum, each half a cosine"))
    warmup: float = Field(0.08, ge=0, lt=1, description=(
        "share of the run over which the rate rises in a line to where its curve begins; not of one_cycle"))
    minimum: float = Field(0.0, ge=0, lt=1, description="cosine, linear, one_cycle: share of the peak rate at the end")
    hold: float = Field(0.0, ge=0, lt=1, description=(
        "cosine, linear: share of the run, at its end, that stays at the minimum, e.g. while weights are averaged"))
    gamma: float = Field(0.1, gt=0, lt=1, description="step, multi_step, every_n: factor from one height to the next")
    phases: int = Field(3, ge=2, description="step: how many phases")
    every: float = Field(40.0, gt=0, description="every_n: epochs between drops, counted from the start of the run")
    steps: tuple[float, ...] = Field((), description=(
        "multi_step, piecewise: epochs after which the rate changes, counted from the start of the run, parts allowed"))
    ratios: tuple[float, ...] = Field((), description=(
        "piecewise: shares of the peak rate, one more than steps; empty: 1, .1, .01 and .001, changing at 3/8, 5/8 and "
        "7/8 of what follows the warm-up"))
    rise: float = Field(0.3, gt=0, lt=1, description="one_cycle: share of the run until the peak")
    start: float = Field(0.04, gt=0, le=1, description="one_cycle: share of the peak rate at the start")

    @model_validator(mode="after")
    def _read(self) -> "Schedule":
        for name, field in type(self).model_fields.items():
            if name not in ("name", *READS[self.name]) and getattr(self, name) != field.default:
                raise ValueError(f"no {name}, which the schedule {self.name} does not read")
        return self

    @model_validator(mode="after")
    def _sound(self) -> "Schedule":
        if any(step <= 0 for step in self.steps) or any(later <= step for step, later in pairwise(self.steps)):
            raise ValueError(f"steps above 0, each later than the one before; they are {list(self.steps)}")
        if any(ratio < 0 for ratio in self.ratios):
            raise ValueError(f"ratios of at least 0; they are {list(self.ratios)}")
        if self.name == "multi_step" and not self.steps:
            raise ValueError("steps, the epochs after which the rate drops, e.g. steps: [30, 60]")
        if self.name == "piecewise" and len(self.ratios) != len(self.steps) + bool(self.steps or self.ratios):
            raise ValueError(f"one more of ratios than of steps; {len(self.steps)} steps have {len(self.ratios)}")
        if self.warmup + self.hold >= 1:
            both = self.warmup + self.hold
            raise ValueError(f"warmup and hold to leave a part of the run; together they are {both:g}")
        return self

    def refuse_epochs(self, epochs: int) -> None:
        """ValueError where the rate would change while it still warms up, in a run of so many epochs."""
        end, changes = self.warmup * epochs, {"every_n": (self.every,)}.get(self.name, self.steps)
        if changes and 0 < end >= changes[0]:
            raise ValueError(f"a warm-up that ends before the first change of the rate, at epoch {changes[0]:g}; it "
                             f"lasts {end:g} of {epochs} epochs (schedule.warmup is {self.warmup:g})")

    def notes(self, epochs: int) -> list[str]:
        """What a user should know of the schedule of a run of so many epochs."""
        changes = {"every_n": (self.every,)}.get(self.name, self.steps)
        late = [f"{step:g}" for step in changes if step >= epochs]
        if not late:
            return []
        return [f"the rate is to change after epoch {', '.join(late)}, yet the run has {epochs}: it never does so"]
