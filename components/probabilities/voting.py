"""Members made one: by votes, by the mean of their probabilities, or by that of their logits."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from components.data.tasks import Task
from components.evaluation.metrics import HALF
from components.probabilities.ensemble_settings import Mean
from components.probabilities.mixing import Voice, pooled
from components.probabilities.text_files import finite_logarithms
from components.probabilities.topk import FLOOR
from components.probabilities.voices import Labels, fitted, trial

Floats = NDArray[np.float64]
By: TypeAlias = Literal["vote", "probability", "logit"]

MEANS: dict[By, Mean] = {"probability": "probabilities", "logit": "logits"}
NUDGE = 0.01  # of the least weight: what the mean of probabilities counts among votes


def learnt(by: By, said: Mapping[str, Floats], labels: Labels, task: Task) -> tuple[Voice, ...]:
    """Weights from labelled samples of val; said: log-probabilities [n, C] by member.

    Votes: the logarithm of the odds of being right against any one other class, which is best where members err apart
    (Nitzan and Paroush 1982, https://doi.org/10.2307/2526438), none below 0, with one hit and one miss added. Means:
    those of the least log-loss, after each member's temperature.
    """
    if by == "vote":
        odds = [vote_weight(one, labels, task) for one in said.values()]
        total = sum(odds)
        weights = [one / total for one in odds] if total > 0 else [1 / len(odds)] * len(odds)
        return tuple(Voice(name, round(weight, 6)) for name, weight in zip(said, weights, strict=True))
    trials = [trial(name, values.astype(np.float32), labels, task) for name, values in said.items()]
    weights = fitted([one.said for one in trials], labels, task.kind, MEANS[by]).tolist()
    return tuple(Voice(one.source, weight, one.temperature) for one, weight in zip(trials, weights, strict=True))


def vote_weight(said: Floats, labels: Labels, task: Task) -> float:
    """What the vote of a member weighs whose answers are known to be right or wrong."""
    right = answers(said, task.kind)
    truth = np.eye(len(task.classes))[labels.astype(np.int64)] if task.kind == "single" else labels
    hits = (right * truth).sum() if task.kind == "single" else float((right == truth).mean(axis=1).sum())
    share = (hits + 1) / (len(labels) + 2)
    others = len(task.classes) - 1 if task.kind == "single" else 1
    return max(0.0, math.log(max(others, 1) * share / (1 - share)))


def answers(said: Floats, kind: str) -> Floats:
    """What is named, as 0 and 1, [n, C]: the likeliest class, the first of equals, or labels of one half and more."""
    if kind == "multi":
        return np.where(said >= HALF, 1.0, 0.0)
    named: Floats = np.eye(said.shape[1])[said.argmax(axis=1)]
    return named


def together(by: By, said: Sequence[Floats], bare: Sequence[bool], voices: Sequence[Voice], task: Task) -> Floats:
    """The log-probabilities of an ensemble, float64 [n, C]; NaN where none of its members speaks.

    said: of each member, [n, C], NaN where it says nothing. Where members are silent, the weights of the others count.
    """
    counted = [(values, one, voice) for values, one, voice in zip(said, bare, voices, strict=True) if voice.weight > 0]
    spoken = np.stack([~np.isnan(values[:, 0]) for values, _, _ in counted], axis=1)
    found = np.full(said[0].shape, np.nan)
    patterns, which = np.unique(spoken, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == number)
        heard = [one for one, speaks in zip(counted, pattern, strict=True) if speaks]
        if heard:
            found[rows] = one_pattern(by, [(values[rows], one, voice) for values, one, voice in heard], task)
    return found


def one_pattern(by: By, heard: Sequence[tuple[Floats, bool, Voice]], task: Task) -> Floats:
    """The same for samples of which all members speak."""
    if by == "vote":
        return counted_votes(heard, task)
    total = sum(voice.weight for _, _, voice in heard)
    voices = [Voice(voice.source, voice.weight / total, voice.temperature) for _, _, voice in heard]
    values = [torch.from_numpy(np.maximum(said, FLOOR)) for said, _, _ in heard]
    return finite_logarithms(pooled(values, voices, 1.0, task.kind, MEANS[by]).numpy())


def counted_votes(heard: Sequence[tuple[Floats, bool, Voice]], task: Task) -> Floats:
    """Shares of votes as log-probabilities, [n, C].

    Beside the votes, the mean of the probabilities counts a hundredth of the least weight: so of equal votes the
    likelier class wins, and no class is impossible. Of equals even then, the first in the order of classes. A member
    that names classes alone finds all equally likely.
    """
    total = sum(voice.weight for _, _, voice in heard)
    nudge = NUDGE * min(voice.weight for _, _, voice in heard)
    even = 1 / len(task.classes) if task.kind == "single" else 0.5
    votes, likely = np.zeros(heard[0][0].shape), np.zeros(heard[0][0].shape)
    for said, bare, voice in heard:
        votes += voice.weight * answers(said, task.kind)
        likely += voice.weight / total * (even if bare else np.exp(said))
    return finite_logarithms(np.round((votes + nudge * likely) / (total + nudge), 12))

