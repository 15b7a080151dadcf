"""A small training for every choice that a training section offers: new ones join by being declared."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from components.settings import Settings
from components.training.settings import Recipe

TINY = {"name": "resnet18", "options": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}, "dropout": 0.1}
SMALL = {"model": TINY, "epochs": 2, "batch": 8, "sizes": [16], "precision": "fp32", "memory_format": "contiguous",
         "compile": "off"}

# What a choice needs beside it to be accepted, or to act at all.
BESIDE: dict[str, dict[str, Any]] = {
    "sampler.name=identities": {"sampler": {"task": "hue"}},
    "sampler.name=adaptive": {"sampler": {"refresh": 1, "max_base": 12}},
    "sampler.interleave=True": {"sampler": {"name": "balanced"}},
    "optimizer.name=ranger": {"optimizer": {"lookahead": {"every": 4}}},
    "optimizer.nesterov=False": {"optimizer": {"name": "sgd"}},
    "schedule.name=multi_step": {"schedule": {"steps": [0.5, 1.2]}},
    "schedule.name=every_n": {"schedule": {"every": 0.5}},
    "schedule.name=piecewise": {"schedule": {"steps": [0.7], "ratios": [1.0, 0.3]}},
    "averaging.name=swa": {"averaging": {"start": 0.0}},
    "loss.ohem.by=gradient": {"loss": {"ohem": {"ratio": 0.5}}},
    "loss.ohem.unit=problem": {"loss": {"base": "sigmoid", "ohem": {"ratio": 0.5}}},
    "mix.each=sample": {"mix": {"mixup": 0.5, "cutmix": 0.5}},
}

# What is no list of names, and yet changes how a step is made.
SWITCHES: dict[str, dict[str, Any]] = {
    "clip": {"clip": 0.1},
    "slimming": {"slimming": 1e-3},
    "lookahead": {"optimizer": {"name": "sgd", "lookahead": {"every": 2}}},
    "layer_decay": {"optimizer": {"layer_decay": 0.5}},
    "cost": {"loss": {"cost": {"other": 2.0}}},
    "threshold": {"loss": {"base": "sigmoid", "threshold": {"low": {"other": 0.2}}}},
    "ohem": {"loss": {"ohem": {"ratio": 0.5}}},
    "ghm": {"loss": {"ghm": {"bins": 5}}},
    "focal": {"loss": {"focal": {"gamma": 2.0}}},
    "asymmetric": {"loss": {"base": "sigmoid", "asymmetric": {"negative": 4.0, "margin": 0.05}}},
    "adjust": {"loss": {"adjust": 1.0}},
    "balance": {"loss": {"balance": 0.9}},
    "several losses": {"loss": {"task_weighting": "learnt", "ghm": {"bins": 5}, "tasks": {"hue": {"base": "sigmoid"}}}},
    "mixed": {"mix": {"mixup": 0.5, "cutmix": 0.5}},
    "mixed views": {"augment": {"mix": {"mixup": 0.5, "cutmix": 0.5}}},
    "scales": {"scales": {"share": 0.5, "every": 2, "grid": 8}},
    "phases": {"sizes": [16, 20]},
    "accumulate": {"accumulate": 2},
    "heads first": {"heads_first": 1},
    "frozen": {"freeze": 1},
}

ELSEWHERE = {
    "precision=fp16": "needs a GPU",
    "sync_batchnorm=True": "needs GPUs",
    "compile=on": "needs a compiler and a minute: a test of its own",
    "augment.device=gpu": "needs a GPU",
}


def declared(model: type[Settings] = Recipe, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of every list of names, and every truth value, by its dotted setting."""
    for name, field in model.model_fields.items():
        kind, path = field.annotation, above + name
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from declared(kind, f"{path}.")
        elif get_origin(kind) is Literal or kind is bool:
            yield from ((path, value) for value in (get_args(kind) or (False, True)))


def choices() -> dict[str, dict[str, Any]]:
    """What each choice sets, by a name that says which it is; nothing stands twice that means the same training."""
    found = {f"{path}={value}": merged(nested(path, value), BESIDE.get(f"{path}={value}", {}))
             for path, value in declared() if f"{path}={value}" not in ELSEWHERE and value != "auto"}
    distinct: dict[str, dict[str, Any]] = {}
    seen: list[Recipe] = []
    for name, changes in (found | SWITCHES).items():
        if (wish := recipe(changes)) not in seen:
            seen.append(wish)
            distinct[name] = changes
    return distinct


def recipe(changes: dict[str, Any]) -> Recipe:
    """The small training with some settings changed, read as params.yaml is."""
    return Recipe.model_validate_json(json.dumps(merged(SMALL, changes)))


def nested(path: str, value: Any) -> dict[str, Any]:
    """A value below the keys of its dotted setting."""
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two trees of settings as one; the other has the last word."""
    found = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found
