"""What a sample counts that is hard or easy: the `curriculum` part of `distill`."""

from itertools import pairwise

from pydantic import Field, model_validator

from components.settings import Settings

EXAMPLE = "such as thresholds: [0.7, 0.5, 0.3, 0.0] and weights: [1.0, 0.7, 0.4, 0.1]"


class Curriculum(Settings):
    """Weights of samples by the probability of their true class; nothing is weighed where no threshold is given."""

    thresholds: tuple[float, ...] = Field((), description=(
        "falling probabilities of the true class, down to 0; a sample gets the weight of the first that it reaches"))
    weights: tuple[float, ...] = Field((), description="weight of a sample's loss, one for each threshold")
    missing: float | None = Field(None, ge=0, description="weight of a sample without a probability; null is an error")
    ramp: int = Field(0, ge=0, description="epochs over which every weight moves in a line to 1; 0 keeps it")

    @model_validator(mode="after")
    def _ordered(self) -> "Curriculum":
        steps = self.thresholds
        if any(not 0 <= step <= 1 for step in steps) or any(a <= b for a, b in pairwise(steps)):
            raise ValueError(f"thresholds in [0, 1], each below the one before, {EXAMPLE}")
        if steps and steps[-1] != 0:
            raise ValueError(f"thresholds that end with 0, so that every probability reaches one, {EXAMPLE}")
        if len(self.weights) != len(steps) or any(weight < 0 for weight in self.weights):
            raise ValueError(f"a weight of at least 0 for each of {len(steps)} thresholds, {EXAMPLE}")
        return self
