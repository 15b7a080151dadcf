"""How weights follow gradients: the `optimizer` part of a training section."""

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from components.settings import Settings

Name: TypeAlias = Literal["adamw", "sgd", "adam", "amsgrad", "radam", "ranger", "lamb", "ralamb", "novograd", "rmsprop",
                          "lion", "muon"]

# What each optimiser reads beside the rate, and what stands where the file is silent; any other one is refused.
_ADAM = {"lr": 2e-3, "weight_decay": 0.05, "momentum": 0.9, "second": 0.999, "eps": 1e-8}
USUAL: dict[Name, dict[str, float]] = {
    "adamw": _ADAM,
    "sgd": {"lr": 0.05, "weight_decay": 5e-4, "momentum": 0.9, "nesterov": True},
    "adam": _ADAM | {"weight_decay": 0.0},
    "amsgrad": _ADAM,
    "radam": _ADAM,
    "ranger": _ADAM,
    "lamb": _ADAM | {"lr": 4e-3, "weight_decay": 0.02, "eps": 1e-6},
    "ralamb": _ADAM | {"lr": 4e-3, "weight_decay": 0.02, "eps": 1e-6},
    "novograd": {"lr": 0.01, "weight_decay": 1e-3, "momentum": 0.95, "second": 0.98, "eps": 1e-8},
    "rmsprop": {"lr": 5e-4, "weight_decay": 1e-5, "momentum": 0.9, "second": 0.99, "eps": 1e-8},
    "lion": {"lr": 3e-4, "weight_decay": 0.3, "momentum": 0.9, "second": 0.99},
    "muon": {"lr": 2e-3, "weight_decay": 0.05, "momentum": 0.95, "second": 0.999, "eps": 1e-8},
}


def _told(setting: str) -> str:
    """The usual values of a setting by optimiser, in words."""
    first = USUAL["adamw"].get(setting)
    others = [f"{name} {values[setting]:g}" for name, values in USUAL.items()
              if setting in values and values[setting] != first]
    return f"if not given: {', '.join(others)}, else {first:g}"


class Lookahead(Settings):
    """Slow weights go a part of the way after the optimiser's, every few steps, and it goes on from there."""

    every: int = Field(0, ge=0, description="steps between; 0: none, but 6 for ranger")
    share: float = Field(0.5, gt=0, lt=1, description="part of the way that the slow weights go")


class Optimizer(Settings):
    """How weights follow gradients; biases and norms are not decayed."""

    name: Name = Field("adamw", description=(
        "adamw: Adam with decoupled decay; sgd: momentum, of Nesterov's kind; adam: Adam with classic decay; amsgrad: "
        "AdamW that never forgets a large gradient; radam: AdamW without leaps while its averages are young; ranger: "
        "radam under lookahead; lamb: Adam, each layer's step as long as its weights ask for; ralamb: radam with such "
        "steps; novograd: momentum of gradients of length 1, layer by layer; rmsprop: gradients over their mean "
        "length; lion: signs of a momentum; muon: orthogonal steps of matrices and kernels, as long as AdamW's, and "
        "AdamW for the rest and the heads"))
    lr: float = Field(2e-3, gt=0, description=f"peak learning rate; {_told('lr')}")
    weight_decay: float = Field(0.05, ge=0, description=(
        "decoupled (times the rate) but for sgd, adam and rmsprop, which add it to the gradient, and lamb, ralamb and "
        f"novograd, which add it to the step; {_told('weight_decay')}"))
    momentum: float = Field(0.9, ge=0, lt=1, description=(
        f"share of the earlier steps in a direction (beta 1); {_told('momentum')}"))
    second: float = Field(0.999, gt=0, lt=1, description=(
        f"share of the earlier steps in the length of gradients (beta 2), not of sgd; {_told('second')}"))
    eps: float = Field(1e-8, gt=0, description=f"added to that length, not of sgd and lion; {_told('eps')}")
    nesterov: bool = Field(True, description="sgd: look ahead along the momentum")
    lookahead: Lookahead = Lookahead()
    layer_decay: float = Field(1.0, gt=0, le=1, description=(
        "rate of the first layer as a share of that of the heads, geometric between; 1: all layers alike"))

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:
        name = given.get("name", "adamw") if isinstance(given, dict) else None
        return {**USUAL[name], **given} if isinstance(name, str) and name in USUAL else given

    @model_validator(mode="after")
    def _read(self) -> "Optimizer":
        for name in ("second", "eps", "nesterov"):
            if name not in USUAL[self.name] and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"no {name}, which the optimizer {self.name} does not read")
        return self

    @property
    def slow(self) -> Lookahead:
        """The lookahead that is meant: that of ranger where none is asked for."""
        asked = self.name == "ranger" and not self.lookahead.every
        return self.lookahead.model_copy(update={"every": 6}) if asked else self.lookahead
