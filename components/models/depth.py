"""How deep each weight of a network stands: its blocks, from the pixels to the heads."""

from collections.abc import Iterator, Mapping

from torch import nn

# What holds blocks in a row: modules of these very types, and those that have a child of such a name.
HOLDERS = (nn.Sequential, nn.ModuleList)
ROWS = ("body", "features", "stages", "blocks", "layers")


def depth_of(network: nn.Module) -> dict[str, float]:
    """The depth of every parameter by name: 0 the first block of the backbone, 1 the heads.

    Blocks are evenly apart: with n of them, a parameter of block b (from 0) is b / n deep.
    """
    blocks = blocks_of(network)
    count = block_count(blocks)
    return {name: blocks[name] / count if name in blocks else 1.0 for name, _ in network.named_parameters()}


def block_count(blocks: Mapping[str, int]) -> int:
    """The number of blocks."""
    return max(blocks.values(), default=0) + 1


def blocks_of(network: nn.Module) -> dict[str, int]:
    """The block of every parameter of the backbone, by its name in the network; the stem is block 0.

    timm says for nearly all of its networks what a block is; of others, what stands in a row is a block each, and a
    single norm belongs to what is before it.
    """
    backbone = network.get_submodule("backbone")
    body = getattr(backbone, "body", None)
    if body is not None and hasattr(body, "group_matcher"):
        from timm.models import group_parameters

        found: dict[str, int] = group_parameters(body, body.group_matcher(coarse=False), reverse=True)
        return {f"backbone.body.{name}": block for name, block in found.items()}
    return {f"backbone.{name}": block for name, block in in_a_row(backbone).items()}


def in_a_row(module: nn.Module) -> dict[str, int]:
    """The place of every parameter among the units of a network that are one after the other."""
    found: dict[str, int] = {}
    block = 0
    for name, unit in _units("", module):
        inside = [own for own, _ in unit.named_parameters(prefix=name)]
        if inside and not _is_norm(unit) and found:
            block += 1
        found |= dict.fromkeys(inside, block)
    return {name: found.get(name, 0) for name, _ in module.named_parameters()}  # loose ones, such as tokens, are first


def _units(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules in order, with their names; what holds blocks in a row is gone into."""
    if type(module) not in HOLDERS and not any(hasattr(module, row) for row in ROWS):
        yield name, module
        return
    for own, child in module.named_children():
        yield from _units(f"{name}.{own}" if name else own, child)


def _is_norm(module: nn.Module) -> bool:
    return next(module.children(), None) is None and all(one.ndim == 1 for one in module.parameters())
