"""The one forward contract: what every network returns."""

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """logits: [N, C] by task; embedding: [N, D]; features: [N, F, h, w], the last map before pooling."""

    logits: dict[str, Tensor]
    embedding: Tensor
    features: Tensor
