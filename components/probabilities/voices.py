"""Who of a store is heard about a task, and what each counts, by what they say of the validation split's images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.data.dataset import Dataset
from components.data.tasks import Task
from components.errors import UserError, near
from components.evaluation.calibration import fit_temperature, labelled
from components.evaluation.metrics import log_probabilities, measure
from components.probabilities.ensemble_settings import Ensemble, Mean
from components.probabilities.mixing import LARGEST, Voice
from components.probabilities.simplex import Floats, least
from components.probabilities.store import Store

Labels: TypeAlias = NDArray[np.int64] | NDArray[np.float32]

TINY = 1e-12  # least probability whose logarithm counts when weights are fitted
DIGITS = 6  # of fitted weights


@dataclass(frozen=True)
class Trial:
    """What the validation split says of one source about one task.

    said: calibrated log-probabilities, float64 [n, C]. score: accuracy, or for `multi` macro F1. loss: log-loss.
    """

    source: str
    temperature: float
    said: Floats
    score: float
    loss: float


@dataclass(frozen=True)
class Choir:
    """The voices of each task, none where nobody is worth hearing; how they are averaged; what a user should know."""

    mean: Mean
    voices: Mapping[str, tuple[Voice, ...]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, dict[str, dict[str, float]]]:
        """Weight and temperature of every voice by task and source."""
        return {task: {one.source: {"weight": one.weight, "temperature": one.temperature} for one in voices}
                for task, voices in self.voices.items()}


def choose(store: Store, dataset: Dataset, wish: Ensemble, bar: Mapping[str, float]) -> Choir:
    """The voices of every task of a Dataset.

    bar: figures of the plain student on val as its model's head has them, `val/TASK/accuracy` and `val/TASK/loss`.
    UserError for weights of what is not there, and where no task has a voice left.
    """
    refuse_strangers(store, wish)
    voices, notes = dict[str, tuple[Voice, ...]](), list[str]()
    for task in dataset.tasks:
        if task.name not in store.forms:
            voices[task.name] = ()
            notes.append(f"the store says nothing of {task.name}, which is learnt from labels alone")
            continue
        counted = [source for source in store.sources if wish.weight(task.name, source) > 0]
        trials, labels = tried(store, dataset, task, counted, wish.calibrate)
        if len(labels):
            passed, said = gated(task, trials, bar, wish.force)
            notes += said
            voices[task.name] = weighed(task, passed, labels, wish)
        else:
            notes.append(f"{task.name} has no labelled image in val that the store speaks of: its teachers are heard "
                         "as they are")
            voices[task.name] = shares([Voice(source, wish.weight(task.name, source)) for source in counted])
    if not any(voices.values()):
        raise UserError("no teacher is better than the plain student on val, or none has a weight: there is nothing to "
                        "learn from them", "train better teachers, or hear these: distill.teachers.force: true")
    return Choir(wish.mean, voices, tuple(notes))


def refuse_strangers(store: Store, wish: Ensemble) -> None:
    """UserError where a weight is given to a task or teacher that the store does not hold."""
    tasks = [task.name for task in store.tasks]
    for task in wish.tasks:
        if task not in tasks:
            raise UserError(f"distill.teachers.tasks names {task}, which is no task.{near(task, tasks)}",
                            f"expected some of {', '.join(tasks)}")
    for weights in (wish.weights, *wish.tasks.values()):
        for source in weights:
            if source not in store.sources:
                raise UserError(f"distill.teachers gives a weight to {source}, which {store.path} does not hold."
                                f"{near(source, store.sources)}", f"expected some of {', '.join(store.sources)}")


def tried(store: Store, dataset: Dataset, task: Task, sources: Sequence[str],
          calibrate: bool) -> tuple[list[Trial], Labels]:
    """Every source on the labelled samples of val, and their labels."""
    rows = dataset.rows("val")
    places, labels = store.rows_of(dataset.ids[rows]), dataset.labels(task)[rows]
    known = labelled(labels) & (places >= 0)
    if not known.any():
        return [], labels[:0]
    column = np.zeros(int(known.sum()), np.int64)
    asked = [(source, store.one_view(source, task.name, places[known], column)) for source in sources]
    return [trial(source, values, labels[known], task, calibrate) for source, values in asked], labels[known]


def trial(source: str, values: NDArray[np.float32], labels: Labels, task: Task,
          calibrate: bool = True) -> Trial:
    """What labels say of log-probabilities at temperature 1, [n, C]."""
    logits = logits_of(values, task.kind)
    temperature = fit_temperature(logits, labels, task.kind, f"{source}, {task.name}") if calibrate else 1.0
    said = log_probabilities(logits, temperature, task.kind)
    figures = measure(said, labels, task.kind).values
    return Trial(source, temperature, said, figures["accuracy" if task.kind == "single" else "f1_macro"],
                 figures["log_loss"])


def logits_of(values: NDArray[np.float32], kind: str) -> Floats:
    """Logits from log-probabilities [n, C]; of a `single` task up to a constant that no softmax sees."""
    wide = values.astype(np.float64)
    if kind == "single":
        return wide
    wide = np.minimum(wide, LARGEST)
    return wide - np.log(-np.expm1(wide))


def gated(task: Task, trials: Sequence[Trial], bar: Mapping[str, float],
          force: bool) -> tuple[list[Trial], list[str]]:
    """Who beats the plain student: by accuracy (macro F1 for `multi`), of equals by log-loss; all where forced."""
    name = "accuracy" if task.kind == "single" else "macro F1"
    if f"val/{task.name}/accuracy" not in bar:
        return list(trials), [f"the plain student has no figures of {task.name} on val: its teachers are not held "
                              "against it"]
    score, loss = bar[f"val/{task.name}/accuracy"], bar[f"val/{task.name}/loss"]
    passed, notes = [], []
    for one in trials:
        if (one.score, -one.loss) > (score, -loss):
            passed.append(one)
            continue
        fate = "is heard all the same (distill.teachers.force)" if force else "is left out (distill.teachers.force)"
        notes.append(f"{one.source} is no better than the plain student at {task.name}, with {name} {one.score:.4f} to "
                     f"{score:.4f} and log-loss {one.loss:.4f} to {loss:.4f} on val: it {fate}")
    if not passed and not force:
        notes.append(f"{task.name} has no teacher left and is learnt from labels alone")
    return list(trials) if force else passed, notes


def weighed(task: Task, trials: Sequence[Trial], labels: Labels,
            wish: Ensemble) -> tuple[Voice, ...]:
    """The voices of those who passed, with given or fitted weights."""
    if wish.fit and trials:
        weights = fitted([one.said for one in trials], labels, task.kind, wish.mean).tolist()
    else:
        weights = [wish.weight(task.name, one.source) for one in trials]
    return shares([Voice(one.source, weight, one.temperature) for one, weight in zip(trials, weights, strict=True)])


def shares(voices: Sequence[Voice]) -> tuple[Voice, ...]:
    """The voices that count, their weights made to sum to 1."""
    total = sum(one.weight for one in voices)
    return tuple(Voice(one.source, one.weight / total, one.temperature) for one in voices if one.weight > 0)


def fitted(said: Sequence[Floats], labels: Labels, kind: str, mean: Mean) -> Floats:
    """Weights that make the log-loss of the mean least, to six digits, float64 [K].

    said: of each source, log-probabilities [n, C]. labels: of all samples. The loss is convex in the weights for both
    means, so that there is one best value.
    """
    if mean == "probabilities":
        loss = partial(linear_loss, np.stack([given(one, labels, kind) for one in said], axis=-1))
    else:
        single = np.stack(said, axis=-1), labels.astype(np.int64)
        logits, truth = binary(said, labels) if kind == "multi" else single
        loss = partial(logarithmic_loss, logits, truth)
    return np.round(least(loss, len(said)), DIGITS)


def given(said: Floats, labels: Labels, kind: str) -> Floats:
    """The probability of the true answers: of each sample [n], or for `multi` of each label of each sample [n * C]."""
    if kind == "single":
        return np.exp(said[np.arange(len(said)), labels.astype(np.int64)])
    return np.where(labels > 0.5, np.exp(said), -np.expm1(said)).ravel()


def binary(said: Sequence[Floats], labels: Labels) -> tuple[Floats, NDArray[np.int64]]:
    """The labels of a `multi` task as questions with two answers: logits [n * C, 2, K] and the true ones [n * C]."""
    present = np.stack([logits_of(one.astype(np.float32), "multi").ravel() for one in said], axis=-1)
    return np.stack([np.zeros_like(present), present], axis=1), (labels > 0.5).ravel().astype(np.int64)


def linear_loss(right: Floats, weights: Floats) -> tuple[float, Floats]:
    """Log-loss of the mean of probabilities and its gradient; right: of the true answers, [n, K]."""
    right = np.maximum(right, TINY)
    mean = right @ weights
    return -float(np.log(mean).mean()), -(right / mean[:, None]).mean(axis=0)


def logarithmic_loss(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> tuple[float, Floats]:
    """Log-loss of the mean of logits [n, C, K] and its gradient; labels: int64 [n]."""
    pooled = logits @ weights
    said = log_probabilities(pooled, 1.0, "single")
    rows = np.arange(len(labels))
    expected = np.einsum("nc,nck->k", np.exp(said), logits) / len(labels)
    return -float(said[rows, labels].mean()), expected - logits[rows, labels].mean(axis=0)
