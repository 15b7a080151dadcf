"""How a student imitates its teachers: the losses of `distill`."""

from typing import Literal, TypeAlias

from pydantic import Field

from components.settings import Settings

Imitated: TypeAlias = Literal["kd", "dkd", "dist", "meal"]


class Decoupled(Settings):
    """Weights of the two halves of decoupled distillation."""

    target: float = Field(1.0, ge=0, description="of how sure teachers are of the label's class against all others")
    others: float = Field(8.0, ge=0, description="of how they share what is left among the other classes")


class Relations(Settings):
    """Weights of the two correlations of DIST."""

    classes: float = Field(1.0, ge=0, description="of the classes of a sample")
    samples: float = Field(1.0, ge=0, description="of the samples of a batch, class by class")


class Likeness(Settings):
    """The student's embedding is led to the teachers', through a linear map of its own that no model keeps."""

    weight: float = Field(0.0, ge=0, description="of this loss beside the others, e.g. 1; 0 leaves it out")
    by: Literal["cosine", "mse"] = Field("cosine", description="1 less the cosine, or the mean squared difference")
