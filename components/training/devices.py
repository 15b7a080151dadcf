"""Where a network runs and in what arithmetic: fixed tables, never a stopwatch."""

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from components.errors import UserError

if TYPE_CHECKING:  # steps that train nothing choose a device too, and need not run again when recipes gain a setting
    from components.training.settings import Recipe

DEPTHWISE = re.compile(r"mobile|efficient|mnas|shuffle|convnext|rexnet|ghost|xception|lcnet|hardcore")
TRANSFORMER = re.compile(r"vit|swin|deit|beit|cait|mixer|eva|xcit|pvt|maxvit")
# Backward of a strided 1x1 stem crashes in channels_last on the CPU of torch 2.14.
STRIDED_POINTWISE_STEM = re.compile(r"repvgg|mobileone")
COMPILERS = ("g++", "clang++", "gcc", "clang")  # what torch.compile and Triton look for


def pick_device(wish: str) -> torch.device:
    """The device of a wish: auto takes a GPU if there is one."""
    present = torch.cuda.is_available()
    if wish == "cuda" and not present:
        raise UserError("runtime.device is cuda, yet torch sees no GPU", "set it to auto, or mend the driver")
    return torch.device("cuda" if present and wish != "cpu" else "cpu")


def pick_precision(wish: str, device: str, name: str) -> str:
    """bf16 where the hardware has it and the family gains by it; measured in `benchmarks/`.

    UserError for fp16 without a GPU: on a CPU it is slower than fp32, and its small range is nowhere worth the trouble.
    """
    if wish == "fp16" and device != "cuda":
        raise UserError("precision is fp16, which is for GPUs", "set it to auto, bf16 or fp32")
    if wish != "auto":
        return wish
    if device == "cuda":
        return "bf16"
    return "bf16" if cpu_has_bf16() and not DEPTHWISE.search(name) else "fp32"


def pick_memory_format(wish: str, device: str, name: str) -> str:
    """channels_last for convolutions, the default layout for transformers."""
    if wish != "auto":
        return wish
    risky = device == "cpu" and STRIDED_POINTWISE_STEM.search(name)
    return "contiguous" if TRANSFORMER.search(name) or risky else "channels_last"


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^flags\s*:.*\b(avx512_bf16|amx_bf16)\b", flags, re.MULTILINE) is not None


def pick_compile(wish: str, device: str) -> str:
    """Nothing compiles unasked: on a CPU it never pays back, and every input size costs a minute anew."""
    return "off" if wish == "auto" else wish


def compiled(network: nn.Module, wish: str) -> Callable[..., Any] | None:
    """What stands for a network in training: its compiled form, which shares its weights, where it is asked for."""
    if wish != "on":
        return None
    if not any(os.environ.get(name) for name in ("CC", "CXX")) and not any(map(which, COMPILERS)):
        raise UserError(f"compile is on, and no compiler is installed here: none of {', '.join(COMPILERS)}",
                        "set compile: auto, or run where g++ is: the image has none, see docs/image.md")
    found: Callable[..., Any] = torch.compile(network)
    return found


def resolve(recipe: "Recipe", device: str) -> "Recipe":
    """A recipe with every `auto` replaced by what it stands for on a device."""
    name, kind = recipe.model.name, pick_device(device).type
    return recipe.model_copy(update={
        "precision": pick_precision(recipe.precision, kind, name),
        "memory_format": pick_memory_format(recipe.memory_format, kind, name),
        "compile": pick_compile(recipe.compile, kind),
    })


HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def arithmetic(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network computes in some precision."""
    return torch.autocast(device.type, HALF.get(precision), enabled=precision in HALF)


def use_threads(wish: int, sharers: int = 1) -> None:
    """Set the number of CPU threads; 0 takes all that this process may run on, or its part where others share them."""
    torch.set_num_threads(wish or max(len(os.sched_getaffinity(0)) // sharers, 1))


def place(network: nn.Module, device: torch.device, layout: str) -> nn.Module:
    """Move a network to its device and memory layout."""
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    return network.to(device=device, memory_format=form)  # type: ignore[call-overload,no-any-return]
