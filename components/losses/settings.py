"""What an error costs: the `loss` part of a training section."""

from typing import Literal

from pydantic import Field, model_validator

from components.settings import Settings

LOW, HIGH = -0.1, 1.1  # bounds that every probability is between


class Table(Settings):
    """A number for each pair of true class (row) and predicted class (column)."""

    diagonal: float = Field(1.0, description="where the predicted class is the true one")
    other: float = Field(1.0, description="everywhere else")
    cells: dict[str, dict[str, float]] = Field(
        {}, description="single pairs by the names of their classes, {TRUE: {PREDICTED: NUMBER}}")
    rows: tuple[tuple[float, ...], ...] = Field((), description=(
        "instead of the others: all numbers, a row a true class, a column a predicted one, in the order of classes"))

    @model_validator(mode="after")
    def _square(self) -> "Table":
        if any(len(row) != len(self.rows) for row in self.rows):
            lengths = ", ".join(str(len(row)) for row in self.rows)
            raise ValueError(f"as many columns as rows; {len(self.rows)} rows have {lengths}")
        others = [name for name in ("diagonal", "other", "cells")
                  if getattr(self, name) != type(self).model_fields[name].default]
        if self.rows and others:
            raise ValueError(f"rows, or else {', '.join(others)}")
        return self

    @property
    def numbers(self) -> list[float]:
        """Every number that is given."""
        rows = [number for row in self.rows for number in row]
        return [self.diagonal, self.other, *rows, *(number for row in self.cells.values() for number in row.values())]


class Cost(Table):
    """What it costs to say the column's class where the row's is true; 1 everywhere is the plain loss."""

    diagonal: float = Field(1.0, description="weight of the true class; with equal costs beside it, of samples")
    other: float = Field(1.0, description="what it costs to say another class than the true one, e.g. 2")

    @model_validator(mode="after")
    def _costs(self) -> "Cost":
        if min(self.numbers) < 0:
            raise ValueError("costs of at least 0")
        return self


class Low(Table):
    """Probabilities above which a class counts, by true class (row) and predicted class (column)."""

    diagonal: float = Field(LOW, description="a true class counts above this probability; -0.1: always")
    other: float = Field(LOW, description="another class counts above this probability, e.g. 0.05; -0.1: always")


class Up(Table):
    """Probabilities below which a class counts, by true class (row) and predicted class (column)."""

    diagonal: float = Field(HIGH, description="a true class counts below this probability, e.g. 0.95; 1.1: always")
    other: float = Field(HIGH, description="another class counts below this probability; 1.1: always")


class Threshold(Settings):
    """Only what is not yet good enough counts: classes whose probability is between two bounds."""

    low: Low = Low()
    up: Up = Up()


class Ohem(Settings):
    """Only the hardest share of each batch teaches; the loss is the mean over it."""

    ratio: float = Field(1.0, gt=0, le=1, description="share of a batch that teaches, the hardest, e.g. 0.7; 1: all")
    by: Literal["loss", "gradient"] = Field(
        "loss", description="what is hard: a large loss, or a probability far from its target")
    unit: Literal["sample", "problem"] = Field(
        "sample", description="keep whole samples, or single ones of a sigmoid's binary problems")

    @model_validator(mode="after")
    def _effective(self) -> "Ohem":
        if self.ratio == 1 and (self.by, self.unit) != ("loss", "sample"):
            raise ValueError("a ratio below 1 beside by or unit: a ratio of 1 keeps all")
        return self


class Ghm(Settings):
    """Gradients are harmonised: what has a gradient that many others have counts less (GHM-C)."""

    bins: int = Field(0, ge=0, le=1000, description=(
        "bins of gradient lengths; terms of a full bin count less (GHM-C), e.g. 30; 0 harmonises nothing"))
    momentum: float = Field(0.75, ge=0, lt=1, description="share of the earlier steps in what a bin holds")

    @model_validator(mode="after")
    def _effective(self) -> "Ghm":
        if self.bins == 1:
            raise ValueError("bins of at least 2, or 0 to harmonise nothing")
        if self.bins == 0 and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError("bins above 0 beside momentum, e.g. 30: 0 harmonises nothing")
        return self


class Focal(Settings):
    """What is already right counts less (focal loss)."""

    gamma: float = Field(0.0, ge=0, description="focal loss: power of the missing probability, e.g. 2; 0: none")
    alpha: float = Field(0.0, ge=0, lt=1, description=(
        "of a sigmoid: weight of true labels, e.g. 0.25, against 1 - alpha of others; 0: both 1"))


class Asymmetric(Settings):
    """Labels that are true and labels that are not are focussed differently (asymmetric loss, of a sigmoid)."""

    positive: float = Field(0.0, ge=0, description="focal power for labels that are true, e.g. 1")
    negative: float = Field(0.0, ge=0, description="focal power for labels that are not, e.g. 4")
    margin: float = Field(0.0, ge=0, lt=1, description="probability from which on a wrong label counts, e.g. 0.05")


class Parts(Settings):
    """The loss of a task: a base and any product of what weighs its terms."""

    base: Literal["softmax", "sigmoid"] = Field(
        "softmax", description="of single tasks: cross-entropy of classes, or a binary problem each; multi is sigmoid")
    cost: Cost = Cost()
    threshold: Threshold = Threshold()
    ohem: Ohem = Ohem()
    ghm: Ghm = Ghm()
    focal: Focal = Focal()
    asymmetric: Asymmetric = Asymmetric()
    adjust: float = Field(0.0, ge=0, description=(
        "logit adjustment of a softmax: factor on the logarithms of class frequencies that logits are moved by in "
        "training, e.g. 1; 0 moves nothing"))
    balance: float = Field(0.0, ge=0, lt=1, description=(
        "class-balanced loss of single tasks: beta of the effective number of images of a class, by whose inverse it "
        "weighs, e.g. 0.999; 0 weighs all alike"))

    @model_validator(mode="after")
    def _one_focus(self) -> "Parts":
        if self.focal != Focal() and self.asymmetric != Asymmetric():
            raise ValueError("focal or asymmetric: both weigh terms by the probability that they miss")
        return self


class Loss(Parts):
    """What an error costs, in all tasks alike or in some differently."""

    tasks: dict[str, Parts] = Field({}, description="the whole loss of a task, where it is not that of all")
    task_weighting: Literal["fixed", "learnt"] = Field("fixed", description=(
        "fixed: tasks weigh as task_weights says; learnt: also by how uncertain each turns out to be"))

    def of(self, task: str) -> Parts:
        """The parts of a task's loss."""
        shared = {name: getattr(self, name) for name in Parts.model_fields}
        return self.tasks.get(task) or Parts(**shared)
