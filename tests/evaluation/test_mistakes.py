"""The surest mistakes, held against a plain loop over samples and models."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from components.data.tasks import Task
from components.evaluation.metrics import log_probabilities
from components.evaluation.mistakes import surest_mistakes
from components.evaluation.scoring import Judged, Scores

COUNT = 40


def scores(task: Task, labels: np.ndarray, logits: dict[str, np.ndarray]) -> Scores:
    samples = pd.DataFrame({"path": [f"{i}.png" for i in range(COUNT)]})
    dataset = SimpleNamespace(tasks=(task,), samples=samples, labels=lambda one: labels)
    judged = tuple(Judged(name, 1, 1.0, {task.name: 1.0}, {task.name: log_probabilities(values, 1.0, task.kind)})
                   for name, values in logits.items())
    places = np.arange(COUNT)
    known = {(one.name, "test", task.name): None for one in judged}
    return Scores(dataset, places, {"test": places}, judged, known)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_one_true_label(seed: int) -> None:
    chance = np.random.default_rng(seed)
    task = Task("kind", "single", ("a", "b", "c"))
    labels = chance.integers(-1, 3, COUNT)
    logits = {name: chance.normal(size=(COUNT, 3)) * 2 for name in ("one", "two")}
    expected = []
    for row in range(COUNT):
        wrong = []
        for values in logits.values():
            said = np.exp(values[row]) / np.exp(values[row]).sum()
            if labels[row] >= 0 and said.argmax() != labels[row]:
                wrong.append(said.max())
        if wrong:
            expected.append((-max(wrong), row))
    found = surest_mistakes(scores(task, labels, logits), task, 10)
    assert [one.row for one in found] == [row for _, row in sorted(expected)[:10]]
    for one in found:
        assert one.given == task.classes[labels[one.row]]
        for saying in one.sayings:
            assert saying.label == task.classes[logits[saying.model][one.row].argmax()]
            assert saying.wrong == (saying.label != one.given)


@pytest.mark.parametrize("seed", range(5))
def test_several_true_labels(seed: int) -> None:
    chance = np.random.default_rng(seed)
    task = Task("trim", "multi", ("x", "y", "z"))
    labels = (chance.uniform(size=(COUNT, 3)) < 0.4).astype(np.float32)
    labels[::6] = np.nan
    logits = {"one": chance.normal(size=(COUNT, 3)) * 2}
    expected = []
    for row in range(COUNT):
        said = 1 / (1 + np.exp(-logits["one"][row]))
        wrong = [max(p, 1 - p) for p, given in zip(said, labels[row], strict=True)
                 if not np.isnan(given) and (p >= 0.5) != (given == 1)]
        if wrong:
            expected.append((-max(wrong), row))
    found = surest_mistakes(scores(task, labels, logits), task, 100)
    assert [one.row for one in found] == [row for _, row in sorted(expected)]
    for one, (sure, _) in zip(found, sorted(expected), strict=True):
        assert one.sayings[0].confidence == pytest.approx(-sure)
        given = [name for name, there in zip(task.classes, labels[one.row], strict=True) if there]
        assert one.given == (", ".join(given) or "none")


def test_agreement_of_all_models_against_the_label_is_pointed_out() -> None:
    task = Task("kind", "single", ("a", "b"))
    labels = np.zeros(COUNT, np.int64)
    sure = np.tile([0.0, 5.0], (COUNT, 1))
    unsure = np.tile([5.0, 0.0], (COUNT, 1))
    assert surest_mistakes(scores(task, labels, {"one": sure, "two": sure}), task, 1)[0].suspicious
    assert not surest_mistakes(scores(task, labels, {"one": sure, "two": unsure}), task, 1)[0].suspicious
    assert not surest_mistakes(scores(task, labels, {"one": sure}), task, 1)[0].suspicious


def test_no_mistakes_are_none() -> None:
    task = Task("kind", "single", ("a", "b"))
    right = np.tile([5.0, 0.0], (COUNT, 1))
    assert surest_mistakes(scores(task, np.zeros(COUNT, np.int64), {"one": right}), task, 5) == []
