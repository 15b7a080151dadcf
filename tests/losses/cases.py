"""What tests of losses share: reproducible numbers, tasks, one task's criterion from its settings, ranks in threads."""

import json
import threading

import numpy as np
import torch

from components.data.tasks import Task
from components.losses.criterion import About, build_criterion
from components.losses.densities import Densities
from components.losses.ranks import ALONE, Ranks
from components.losses.settings import Parts

KIND = Task("kind", "single", ("coat", "dress", "shirt", "skirt"))
TAGS = Task("tags", "multi", ("red", "torn", "new"))
COUNTS = (400, 30, 7, 1)
NAN = float("nan")
COSTS = [[1.0, 0.5, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0], [0.2, 5.0, 1.0, 0.5]]

# Every part of a loss alone and some together, by the spelling of params.yaml; of which tasks it may be.
SINGLE = {
    "softmax": {},
    "sigmoid": {"base": "sigmoid"},
    "cost": {"cost": {"other": 0.5, "cells": {"coat": {"dress": 4.0}}}},
    "sigmoid_cost": {"base": "sigmoid", "cost": {"rows": COSTS}},
    "threshold": {"base": "sigmoid", "threshold": {"low": {"other": 0.2}, "up": {"diagonal": 0.7}}},
    "ohem": {"ohem": {"ratio": 0.5}},
    "ohem_gradient": {"ohem": {"ratio": 0.5, "by": "gradient"}},
    "ohem_problem": {"base": "sigmoid", "ohem": {"ratio": 0.5, "unit": "problem"}},
    "ghm": {"ghm": {"bins": 10}},
    "sigmoid_ghm": {"base": "sigmoid", "ghm": {"bins": 10, "momentum": 0.5}},
    "focal": {"focal": {"gamma": 2.0}},
    "sigmoid_focal": {"base": "sigmoid", "focal": {"gamma": 2.0, "alpha": 0.25}},
    "asymmetric": {"base": "sigmoid", "asymmetric": {"positive": 1.0, "negative": 4.0, "margin": 0.05}},
    "adjust": {"adjust": 1.0},
    "balance": {"balance": 0.99},
    "many": {"cost": {"other": 2.0}, "ohem": {"ratio": 0.7}, "ghm": {"bins": 5}, "focal": {"gamma": 1.0},
             "adjust": 0.5, "balance": 0.9},
}
MULTI = {
    "multi": {},
    "multi_cost": {"cost": {"diagonal": 2.0, "other": 0.5}},
    "multi_threshold": {"threshold": {"low": {"other": 0.2}, "up": {"diagonal": 0.7}}},
    "multi_ohem": {"ohem": {"ratio": 0.5, "unit": "problem", "by": "gradient"}},
    "multi_ghm": {"ghm": {"bins": 10}},
    "multi_focal": {"focal": {"gamma": 1.5, "alpha": 0.4}},
    "multi_asymmetric": {"asymmetric": {"negative": 3.0, "margin": 0.1}},
}
EVERY = [(KIND, parts) for parts in SINGLE.values()] + [(TAGS, parts) for parts in MULTI.values()]
NAMES = [*SINGLE, *MULTI]


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(task, seed, count, soft=False):
    """Labels of labelled samples, hard or soft."""
    drawn = numbers(seed, count, len(task.classes))
    if task.kind == "multi":
        return torch.sigmoid(drawn) if soft else (drawn > 0).double()
    return torch.softmax(drawn, dim=1) if soft else drawn.argmax(dim=1)


def about_of(task, smoothing=0.0, ranks=ALONE, counts=COUNTS, **parts):
    """What is asked of a task, by the spelling of params.yaml."""
    wish = Parts.model_validate_json(json.dumps(parts))
    densities = Densities.of(wish.ghm.bins, wish.ghm.momentum) if wish.ghm.bins else None
    return About(task, wish, smoothing, np.array(counts[: len(task.classes)]), ranks, densities)


def judged(about, logits, labels, weight=None):
    """The loss of samples, [N]."""
    weight = torch.ones(len(logits)) if weight is None else torch.as_tensor(weight, dtype=torch.float32)
    return build_criterion(about)(logits, labels, weight)


def loss_of(task, logits, labels, smoothing=0.0, weight=None, counts=COUNTS, **parts):
    """As `judged`, from settings."""
    return judged(about_of(task, smoothing, counts=counts, **parts), logits, labels, weight)


def on_ranks(works):
    """What functions of Ranks return that run side by side, one a rank, in the order given."""
    barrier, table, found = threading.Barrier(len(works), timeout=20), [None] * len(works), [None] * len(works)

    def exchanged(rank, tensor):
        barrier.wait()
        table[rank] = tensor
        barrier.wait()
        return list(table)

    def everyone(rank, tensor):
        all_of = exchanged(rank, tensor)
        return torch.cat(all_of), sum(len(one) for one in all_of[:rank])

    def run(rank):
        ranks = Ranks(lambda tensor: torch.stack(exchanged(rank, tensor)).sum(dim=0),
                      lambda tensor: everyone(rank, tensor))
        found[rank] = works[rank](ranks)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
