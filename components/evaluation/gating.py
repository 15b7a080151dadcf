"""A gate put to use: which samples, both models asked about them, the verdict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.errors import UserError
from components.evaluation import gate, gate_verdict
from components.evaluation.calibration import labelled
from components.evaluation.gate_settings import Rule
from components.evaluation.metrics import measure
from components.evaluation.pairing import Pair, Side, asked, pairs, units
from components.evaluation.weighted import figure_name
from components.storage.receipts import digest


@dataclass(frozen=True)
class Question:
    """What is asked: whether a model may take the champion's place (None: there is none), by which rule."""

    dataset: Path
    model: Path
    champion: Path | None
    rule: Rule
    seed: int


@dataclass(frozen=True)
class Answer:
    """The judgement, and what it was made from. figures: what decides, of the challenger by task."""

    judgement: gate_verdict.Judgement
    dataset: Dataset
    sides: tuple[Side, ...]
    figures: dict[str, float]
    samples: int
    pairs: tuple[Pair, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was adjusted so that a model could be asked."""
        return tuple(note for side in self.sides for note in side.notes)

    def to_json(self) -> dict[str, Any]:
        """The judgement as verdict.json holds it, what was adjusted and the sizes included."""
        sizes = {side.name: {"parameters": side.judged.parameters, "megabytes": side.judged.megabytes}
                 for side in self.sides}
        return self.judgement.to_json() | {"notes": list(self.notes), "sizes": sizes, "samples": self.samples,
                                           "challenger": self.figures}


def judged(question: Question, device: torch.device) -> Answer:
    """Ask and judge; UserError where no sample of the split has a label."""
    samples = Dataset.open(question.dataset)
    rows = samples.rows(question.rule.split)
    challenger = asked("challenger", question.model, samples, rows, device)
    figures = own_figures(challenger, samples, rows, question.rule)
    if not figures:
        raise UserError(f"no sample of {question.rule.split} has a label of a task that the model knows",
                        "name another split: compare.split in params.yaml")
    if question.champion is None:
        return Answer(gate_verdict.first(figures, question.rule), samples, (challenger,), figures, len(rows))
    if (own := digest(question.model)) == digest(question.champion):
        return Answer(gate_verdict.same(own), samples, (challenger,), figures, len(rows))
    champion = asked("champion", question.champion, samples, rows, device)
    found = pairs(samples, rows, champion, challenger)
    compared = gate.compare(found, units(samples, rows), question.rule, question.seed) if found else None
    judgement = gate_verdict.judge(compared, (champion, challenger), figures, question.rule)
    return Answer(judgement, samples, (champion, challenger), figures, len(rows), tuple(found))


def own_figures(side: Side, dataset: Dataset, rows: NDArray[np.int64], rule: Rule) -> dict[str, float]:
    """What decides, of one model in every task that it knows as the Dataset does and a sample has a label of."""
    found = {}
    for task in dataset.tasks:
        labels = dataset.labels(task)[rows]
        if side.tasks.get(task.name) == task and labelled(labels).any():
            values = measure(side.judged.said[task.name], labels, task.kind).values
            found[task.name] = values[figure_name(rule.metric, task.kind)]
    return found
