"""Weights that a backbone starts from: a local safetensors file, or one in timm's cache; nothing is fetched."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from components.errors import UserError
from components.models.preprocessing import NORMALISATIONS
from components.models.settings import Architecture, Pretrained
from components.models.torchvision_backbones import TorchvisionBackbone, resampled
from components.storage.digests import file_digest

COLOURS = 3
SPREAD = 0.02  # standard deviation of weights for channels that are no colours
WHOLE = "model.safetensors"
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar", ".pickle")


def pretrained_file(wish: Pretrained, name: str) -> Path:
    """The file of pretrained weights; UserError where it is not here, not pinned, pinned otherwise or pickled."""
    path = Path(wish.file) if wish.file else cached_file(wish.cache, name)
    if path.suffix in PICKLED:
        raise UserError(f"{path} is a pickle, which can run code when it is read; only safetensors are taken",
                        "convert it where you trust it: python -c \"import torch; from safetensors.torch import "
                        f"save_file as s; s(torch.load('{path.name}', weights_only=True), '{path.stem}.safetensors')\"")
    if not path.is_file():
        raise UserError(f"model.pretrained.file is {path}, which is no file here",
                        "copy the safetensors file of the weights there, or correct the path")
    found = file_digest(path)
    if found != wish.sha256:
        pinned = f"which is not the pinned {wish.sha256}" if wish.sha256 else "and model.pretrained.sha256 pins none"
        raise UserError(f"{path} has SHA-256 {found}, {pinned}",
                        f"if these are the weights that you mean, set model.pretrained.sha256: {found}")
    return path


def cached_file(wish: str, name: str) -> Path:
    """The file of a name in timm's cache; UserError that tells how to get it."""
    from huggingface_hub import constants, try_to_load_from_cache

    repository = wish if "/" in wish else f"timm/{wish}"
    found = try_to_load_from_cache(repository, WHOLE)
    if isinstance(found, str):
        return Path(found)
    raise UserError(f"timm's cache ({constants.HF_HUB_CACHE}) has no {WHOLE} of {repository}; nothing is fetched here"
                    + known_tags(name), f"where there is a network: hf download {repository} {WHOLE}; then copy that "
                    "cache here (HF_HUB_CACHE names it), or set model.pretrained.file to the file")


def known_tags(name: str) -> str:
    """The weights that timm knows of a network, as the end of a sentence."""
    import timm

    tags = [] if name.startswith("torchvision/") else timm.list_pretrained(f"{name}.*")
    return f" (timm knows {', '.join(tags[:4])}{', ...' if tags[4:] else ''})" if tags else ""


def load_pretrained(backbone: Any, architecture: Architecture, seed: int) -> list[str]:
    """Fill a backbone from its pretrained file; what a user should know of it, UserError where the weights do not fit.

    The classes of the file's own classifier do not matter: it is left out.
    """
    path = pretrained_file(architecture.pretrained, architecture.name)
    names: dict[str, str] = backbone.original_names()
    wanted = {names[own]: (own, tensor) for own, tensor in backbone.state_dict().items()}
    given, notes = fitting(backbone, read(path), {name: tensor for name, (_, tensor) in wanted.items()}, seed)
    refuse_misfit(path, given, {name: tensor for name, (_, tensor) in wanted.items()}, learnt(backbone, names))
    backbone.load_state_dict({own: given[name] for name, (own, _) in wanted.items() if name in given}, strict=False)
    rest = sorted(given.keys() - wanted.keys())
    if rest:
        shown = ", ".join(rest[:4]) + (f", ... ({len(rest)} in all)" if rest[4:] else "")
        notes.append(f"the file's {shown} are left out: a classifier of its own")
    return notes + normalisation_notes(backbone, architecture)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; UserError where it is damaged or no safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}", "only whole safetensors files are taken") from None


def fitting(backbone: nn.Module, given: dict[str, Tensor], wanted: Mapping[str, Tensor],
            seed: int) -> tuple[dict[str, Tensor], list[str]]:
    """The given tensors as the network wants them, other channels and image sizes adapted, and notes of what was."""
    notes = []
    for name, tensor in wanted.items():
        if name in given and differ_in_channels(given[name], tensor):
            given[name] = adapted(given[name], tensor.shape[1], seed)
            notes.append(f"{name} was adapted from {COLOURS} to {tensor.shape[1]} input channels")
    others = [name for name, tensor in wanted.items() if name in given and given[name].shape != tensor.shape]
    if isinstance(backbone, TorchvisionBackbone):
        given |= {name: positions_for(given[name], wanted[name], backbone) for name in others if "pos_embed" in name}
    elif others or not wanted.keys() & given.keys():
        given = by_timm(backbone, given)
    resized = [name for name in others if given[name].shape == wanted[name].shape]
    return given, notes + ([f"{', '.join(resized[:3])} resampled for this image size"] if resized else [])


def differ_in_channels(given: Tensor, wanted: Tensor) -> bool:
    """Whether weights of a convolution on colours are wanted on another number of channels."""
    alike = given.ndim == wanted.ndim == 4 and given.shape[0] == wanted.shape[0]
    return alike and given.shape[1] == COLOURS != wanted.shape[1]


def adapted(weight: Tensor, channels: int, seed: int) -> Tensor:
    """Weights [O, 3, h, w] on colours as [O, channels, h, w].

    Of fewer channels each is taken for grey: a grey image gives what it gave as a colour image. Channels beyond the
    colours begin with small random weights, N(0, .02).
    """
    if channels < COLOURS:
        return (weight.sum(dim=1, keepdim=True) / channels).repeat(1, channels, 1, 1)
    chance = torch.Generator().manual_seed(seed)
    more = torch.empty(len(weight), channels - COLOURS, *weight.shape[2:]).normal_(0.0, SPREAD, generator=chance)
    return torch.cat([weight, more.to(weight.dtype)], dim=1)


def positions_for(given: Tensor, wanted: Tensor, backbone: Any) -> Tensor:
    """Positions of a square grid, resampled; as given where they are none."""
    side = round((given.shape[1] - 1) ** 0.5)
    square = given.ndim == wanted.ndim == 3 and side * side == given.shape[1] - 1
    return resampled(given, (side, side), backbone.features.grid) if square else given


def by_timm(backbone: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as timm itself would rename and resample them for this network."""
    body = backbone.get_submodule("body")
    change = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
    return given if change is None else dict(change(given, body))


def learnt(backbone: nn.Module, names: Mapping[str, str]) -> set[str]:
    """The names of parameters and running statistics: what a file has to hold."""
    parameters = {names[own] for own, _ in backbone.named_parameters()}
    return parameters | {names[own] for own in backbone.state_dict() if "running_" in own}


def refuse_misfit(path: Path, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], needed: set[str]) -> None:
    """UserError where weights are missing or have another shape; it names the first."""
    remedy = "the weights are another network's: check model.name, its options and the file"
    missing = sorted(needed - given.keys())
    if missing:
        raise UserError(f"{path} lacks {len(missing)} of {len(needed)} weights, the first {missing[0]}; it holds "
                        f"{', '.join(sorted(given)[:3])}, ...", remedy)
    for name, tensor in wanted.items():
        shape, own = list(given.get(name, tensor).shape), list(tensor.shape)
        if shape != own:
            raise UserError(f"{path}: {name} is {shape}; the network has {own}", remedy)


def normalisation_notes(backbone: nn.Module, architecture: Architecture) -> list[str]:
    """A note where the weights were made for pixels that are normalised in another way."""
    settings = getattr(getattr(backbone, "body", None), "pretrained_cfg", None) or {}
    theirs = (tuple(settings.get("mean", ())), tuple(settings.get("std", ())))
    if not theirs[0] or theirs == NORMALISATIONS[architecture.normalisation]:
        return []
    better = [name for name, values in NORMALISATIONS.items() if values == theirs]
    return [f"timm's weights of {architecture.name} expect mean {list(theirs[0])} and spread {list(theirs[1])}, not "
            f"normalisation: {architecture.normalisation}{f'; set {better[0]}' if better else ''}"]
