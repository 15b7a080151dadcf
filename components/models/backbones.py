"""From a name to a backbone: timm's, or torchvision's as `torchvision/NAME`. Nothing falls back silently."""

import difflib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from components.errors import UserError

# What a network that is built for one size of images takes, so that it is built for ours and looks at others too; the
# first that its constructor knows is used.
SIZED: tuple[tuple[str, ...], ...] = (("img_size", "dynamic_img_size"), ("img_size",), ())


class TimmBackbone(nn.Module):
    """A timm network without its classifier."""

    def __init__(self, name: str, channels: int, options: dict[str, Any], size: tuple[int, int]) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise unknown(name)
        self.body = _timm_body(name, channels, options, size)
        self.prefix_tokens: int | None = getattr(self.body, "num_prefix_tokens", None)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to (embedding [N, D], features [N, F, h, w])."""
        raw = self.body.forward_features(images)
        embedding = self.body.forward_head(raw, pre_logits=True)
        return embedding, self._as_map(raw, images.shape[-2:])

    def _as_map(self, raw: Tensor | Sequence[Tensor], size: Sequence[int]) -> Tensor:
        if not isinstance(raw, Tensor):
            return self._as_map(raw[0], size)
        if raw.ndim == 4:
            last = getattr(self.body, "output_fmt", "NCHW")
            return raw.permute(0, 3, 1, 2) if str(last).upper().endswith("NHWC") else raw
        given = (int(size[0]), int(size[1]))
        prefix = self.prefix_tokens if self.prefix_tokens is not None else loose_tokens(int(raw.shape[1]), given)
        tokens = raw[:, prefix:]
        height, width = token_grid(int(tokens.shape[1]), given)
        count = tokens.shape[0]  # len() would be a plain number, and an exported graph fixed to it
        return tokens.transpose(1, 2).reshape(count, -1, height, width)

    def original_names(self) -> dict[str, str]:
        """The library's own name of each weight by ours."""
        return {name: name.removeprefix("body.") for name in self.state_dict()}


def token_grid(count: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of so many tokens, in the proportions of the image [H, W] that they cover.

    >>> token_grid(12, (64, 48)), token_grid(49, (224, 224))
    ((4, 3), (7, 7))
    """
    fits = [(height, count // height) for height in range(1, count + 1) if count % height == 0]
    return min(fits, key=lambda grid: abs(grid[0] * size[1] - grid[1] * size[0]))


def loose_tokens(count: int, size: tuple[int, int]) -> int:
    """How many of so many tokens stand before those of the image [H, W], where the network does not say it.

    >>> loose_tokens(50, (224, 224)), loose_tokens(12, (64, 48))
    (1, 0)
    """
    def skewed(prefix: int) -> float:
        height, width = token_grid(count - prefix, size)
        return abs(math.log(height * size[1] / (width * size[0])))

    return min(range(min(count, 3)), key=skewed)


def _timm_body(name: str, channels: int, options: dict[str, Any], size: tuple[int, int]) -> Any:
    import timm

    settings = timm.get_pretrained_cfg(name)
    fixed = settings is not None and settings.fixed_input_size and "img_size" not in options
    values = {"img_size": size, "dynamic_img_size": True}
    for keys in SIZED if fixed else ((),):
        ours = {key: values[key] for key in keys} | options
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels, **ours)
        except (TypeError, ValueError, KeyError) as error:
            if any(repr(key) in str(error) for key in keys):
                continue  # the constructor does not know it; nothing was drawn yet
            raise UserError(f"{name} cannot be built with options {options}: {error}",
                            "see the constructor in timm") from None
        except (AssertionError, RuntimeError) as error:
            raise blind(size, str(error)) from None
    raise AssertionError("the last of SIZED asks for nothing")


def unknown(name: str) -> UserError:
    """The error for a name that neither library knows, with near names of both."""
    import timm
    from torchvision import models

    bare = name.removeprefix("torchvision/")
    close = difflib.get_close_matches(bare, timm.list_models(), n=3)
    others = difflib.get_close_matches(bare, models.list_models(module=models), n=2)
    close += [f"torchvision/{one}" for one in others]
    remedy = f"near names: {', '.join(close)}" if close else "see timm.list_models()"
    return UserError(f"no network is called {name}", remedy)


def build_backbone(name: str, channels: int, options: dict[str, Any],
                   size: tuple[int, int] = (224, 224)) -> nn.Module:
    """The backbone of a name: images [N, C, H, W] -> (embedding [N, D], features [N, F, h, w]).

    size: of the images that it will mostly see; networks with one weight a position are built for it.
    """
    if name.startswith("torchvision/"):
        from components.models.torchvision_backbones import TorchvisionBackbone

        return TorchvisionBackbone(name, channels, options, size)
    return TimmBackbone(name, channels, options, size)


def embedding_width(backbone: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """D of a backbone, found by showing it one blank image; UserError where it takes none of that size."""
    step = patch(backbone)
    if any(side % part for side, part in zip(size, step, strict=True)):
        why = f"it cuts them into patches of {step[0]} x {step[1]}, which leave a remainder"
        raise blind(size, why, step)
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            embedding, features = backbone(torch.zeros(1, channels, *size))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise blind(size, str(error), divisor(backbone), own_size(backbone)) from None
    backbone.train(training)
    assert embedding.ndim == 2 and features.ndim == 4, f"{embedding.shape}, {features.shape}: not the forward contract"
    return int(embedding.shape[1])


def patch(backbone: nn.Module) -> tuple[int, int]:
    """The sides that height and width are multiples of, lest pixels be dropped; (1, 1) where any will do."""
    embed = getattr(getattr(backbone, "body", None), "patch_embed", None)
    given = getattr(embed, "patch_size", None) or getattr(getattr(backbone, "features", None), "patch", None)
    if given is None or getattr(embed, "dynamic_img_pad", False):
        return 1, 1
    return (given, given) if isinstance(given, int) else (int(given[0]), int(given[1]))


def divisor(backbone: nn.Module) -> tuple[int, int]:
    """The factors by which a network makes images smaller: sides that are multiples of them are safest."""
    stages = getattr(getattr(backbone, "body", None), "feature_info", None)
    last = stages[-1].get("reduction", 1) if isinstance(stages, list) and stages else 1
    own = patch(backbone)
    return max(own[0], int(last)), max(own[1], int(last))


def own_size(backbone: nn.Module) -> tuple[int, int] | None:
    """Height and width that a timm network was made for; None where it does not say."""
    settings = getattr(getattr(backbone, "body", None), "pretrained_cfg", None) or {}
    found = settings.get("input_size")
    return (int(found[1]), int(found[2])) if found else None


def blind(size: tuple[int, int], why: str, step: tuple[int, int] = (1, 1),
          known: tuple[int, int] | None = None) -> UserError:
    """The error for a size that a network cannot look at; it names the divisor, or a size that does."""
    near = tuple(max(round(side / part), 1) * part for side, part in zip(size, step, strict=True))
    wish = f" to multiples of {step[0]} x {step[1]}, such as [{near[0]}, {near[1]}]" if near != size else ""
    wish = wish or (f"; this network was made for [{known[0]}, {known[1]}]" if known and known != size else "")
    return UserError(f"the network cannot look at {size[0]} x {size[1]} pixels: {why or 'its blocks do not fit'}",
                     f"change sizes or scales in params.yaml{wish}, or choose another network")
