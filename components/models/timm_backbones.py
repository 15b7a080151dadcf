"""timm's networks, their last map and their pooled embedding."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from components.errors import UserError
from components.models.refusals import blind, unknown

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
