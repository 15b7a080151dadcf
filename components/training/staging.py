"""Stages of fine-tuning: which parts of a network an epoch leaves as they are."""

from torch import nn

from components.errors import UserError
from components.models.depth import block_count, blocks_of
from components.training.settings import Recipe


def refuse_stages(recipe: Recipe, network: nn.Module) -> None:
    """UserError where more blocks are to be frozen than there are."""
    count = block_count(blocks_of(network))
    if recipe.freeze > count:
        raise UserError(f"freeze is {recipe.freeze}, but {recipe.model.name} has {count} blocks",
                        f"set freeze to at most {count}, which leaves the heads alone to learn")


def stage_notes(recipe: Recipe) -> list[str]:
    """What a user should know: frozen blocks that never learnt anything."""
    begun = recipe.model.pretrained.sha256 or recipe.model.start.digest
    if begun or not (recipe.freeze or recipe.heads_first):
        return []
    return ["freeze and heads_first keep blocks as they were drawn: set model.pretrained or model.start"]


def set_stage(network: nn.Module, recipe: Recipe, epoch: int) -> None:
    """Make a network learn in an epoch what its stage lets learn, and nothing else.

    What is frozen takes no gradient, so that no optimiser moves or decays it, and is in evaluation mode: the statistics
    of its norms stay, and nothing of it is dropped. It depends on the epoch alone, and so is the same after a restart.
    """
    if not (recipe.freeze or recipe.heads_first):
        return
    first = block_count(blocks_of(network)) if epoch < recipe.heads_first else recipe.freeze
    frozen = {name for name, block in blocks_of(network).items() if block < first}
    network.train()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for name, module in network.named_modules():
        inside = [own for own, _ in module.named_parameters(prefix=name)]
        if inside and frozen.issuperset(inside):
            module.eval()
