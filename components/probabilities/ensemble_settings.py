"""How several teachers become one: the `teachers` part of `distill`."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Mean: TypeAlias = Literal["probabilities", "logits"]


class Ensemble(Settings):
    """Which teachers are heard, and what each counts."""

    mean: Mean = Field("probabilities", description=(
        "of what: probabilities, or logits, which is a mean in which one who is sure a class is wrong rules it out"))
    weights: dict[str, float] = Field({}, description="weight of a teacher where it is not 1; 0 leaves it out")
    tasks: dict[str, dict[str, float]] = Field({}, description=(
        "weights of teachers for one task, in the place of those above, e.g. {colour: {deep: 2}}"))
    fit: bool = Field(False, description="weights of each task that make the log-loss on val least, in place of given "
                      "ones; teachers of weight 0 stay out")
    calibrate: bool = Field(True, description="divide each teacher's logits by the temperature that fits it to val")
    force: bool = Field(False, description=(
        "hear teachers that are no better than the plain student on val too; else they are left out, task by task"))

    @model_validator(mode="after")
    def _counted(self) -> "Ensemble":
        for weights in (self.weights, *self.tasks.values()):
            if any(weight < 0 for weight in weights.values()):
                raise ValueError("weights of at least 0, such as {deep: 2, broad: 1}")
        return self

    def weight(self, task: str, source: str) -> float:
        """What a teacher counts for a task, before weights are fitted or made to sum to 1."""
        return self.tasks.get(task, self.weights).get(source, 1.0)
