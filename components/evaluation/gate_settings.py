"""The rule by which a new model is let past the one that serves."""

from typing import Literal

from pydantic import Field

from components.settings import Settings

Metric = Literal["accuracy", "balanced_accuracy", "f1_macro", "log_loss"]


class Rule(Settings):
    """When a challenger may take the champion's place; both judge the same samples."""

    split: Literal["train", "val", "test"] = Field("test", description="the samples that both judge")
    metric: Metric = Field("accuracy", description=(
        "what decides; where several labels may be true: accuracy is all labels right, balanced_accuracy is macro F1"))
    margin: float = Field(0.01, ge=0, lt=1, description=(
        "a difference this small does not matter: equal is what is surely not worse by more (log_loss: in nats)"))
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    resamples: int = Field(2000, ge=100, le=100_000, description=(
        "draws behind an interval; samples of one group or identity go together"))
    hold: tuple[str, ...] = Field((), description="tasks that must not get worse; empty: every one that both know")
    class_drop: float = Field(0.1, ge=0, le=1, description=(
        "largest loss of a class's recall that passes, where it is no chance; 1 lets everything pass"))
    class_support: int = Field(30, ge=1, description="samples that a class needs for that")
    growth: float = Field(0.0, ge=0, description="most times the champion's parameters; 0: any size")
    floor: dict[str, float] = Field({}, description=(
        "least value of the metric by task that any model must reach, the first too; of log_loss the largest"))
    promote_equal: bool = Field(False, description="whether an equal challenger takes the place as well")
