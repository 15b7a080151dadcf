"""What a network is made of, and what one image costs it, part by part."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from components.models.artifact import count_parameters
from components.models.network import Network

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # whose outputs are counted as activations


@dataclass(frozen=True)
class Part:
    """A module of a network, what is inside it included.

    path: dotted, "" the whole. shape: of its last output for one image, () where it is never called or gives several.
    macs: multiply-accumulates for one image, of convolutions and matrix products. activations: numbers that its
    convolutions and linear layers put out for one image.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    activations: int

    @property
    def depth(self) -> int:
        """How many modules it is inside of."""
        return self.path.count(".") + 1 if self.path else 0


def parts_of(network: Network, size: tuple[int, int], channels: int = 3) -> list[Part]:
    """Every module in the order of declaration, the whole first, from one blank image of a height and width."""
    shapes: dict[str, tuple[int, ...]] = {}
    numbers: dict[str, int] = {}

    def seen(path: str, module: nn.Module, given: Any) -> None:
        if isinstance(given, Tensor):
            shapes[path] = tuple(given.shape[1:])
            if isinstance(module, WEIGHTED):
                numbers[path] = numbers.get(path, 0) + given[0].numel()

    hooks = [module.register_forward_hook(lambda module, _, given, path=path: seen(path, module, given))
             for path, module in network.named_modules()]
    training, place = network.training, next(network.parameters())
    try:
        # Attention as plain matrix products: what is fused for the CPU would not be counted.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network.eval()(torch.zeros(1, channels, *size, device=place.device, dtype=place.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
    macs = {name.partition(".")[2]: sum(by_kind.values()) // 2 for name, by_kind in counter.get_flop_counts().items()}
    macs[""] = counter.get_total_flops() // 2
    return [Part(path, type(module).__name__, shapes.get(path, ()), count_parameters(module),
                 work(network, path, macs), sum(count for name, count in numbers.items() if within(name, path)))
            for path, module in network.named_modules()]


def work(network: nn.Module, path: str, macs: dict[str, int]) -> int:
    """What was counted of a module, or of those inside it where it was not called itself."""
    if path in macs:
        return macs[path]
    inside = [name for name, _ in network.get_submodule(path).named_children()]
    return sum(work(network, f"{path}.{name}", macs) for name in inside)


def within(name: str, path: str) -> bool:
    """Whether a dotted name is a path or below it."""
    return not path or name == path or name.startswith(f"{path}.")


def whole(network: Network, size: tuple[int, int]) -> Part:
    """The network as one part."""
    return parts_of(network, size)[0]


def bytes_of(network: nn.Module) -> int:
    """Bytes of all weights and statistics, as a file holds them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
