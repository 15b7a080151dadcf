"""Learning where teachers see images: embeddings that, mapped linearly, are led to the teachers' own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from components.data.loader import Batch
from components.losses.case import wide
from components.losses.imitation_settings import Likeness
from components.losses.objective import Objective, Remembering, memory_of, taught_by
from components.losses.projection import Projection
from components.models.outputs import Outputs

# (teacher, batch) -> its embeddings of the samples, [N, D]; rows of NaN where there are none
Vectors: TypeAlias = Callable[[str, Batch], Tensor]


@dataclass(frozen=True)
class Seen:
    """What teachers see: vectors by name and batch, and the map from the student's embedding to each one's."""

    vectors: Vectors
    maps: Mapping[str, Projection]


def likened(objective: Objective, seen: Seen, wish: Likeness) -> Objective:
    """An objective with the likeness of embeddings added to its losses; their mean over teachers is `embedding`."""

    def judge(outputs: Outputs, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        losses, parts = objective(outputs, batch)
        embedding = wide(outputs.embedding)
        apart = [distance(embedding @ one.weight.T, seen.vectors(name, batch).to(embedding), wish.by)
                 for name, one in seen.maps.items()]
        mean = torch.stack(apart).mean(dim=0)
        return losses + wish.weight * mean, parts | {"embedding": mean}

    return Remembering(judge, replace(memory_of(objective), maps=dict(seen.maps)),
                       lambda batch: taught_by(objective, batch))


def distance(student: Tensor, teacher: Tensor, by: str) -> Tensor:
    """1 less the cosine of vectors [N, D], or their mean squared difference (FitNets: Romero et al. 2015,
    https://arxiv.org/abs/1412.6550, equation 3), [N]; 0 where the teacher's are NaN."""
    silent = teacher.isnan().any(dim=1)
    there = torch.where(silent[:, None], 0.0, teacher)
    apart = 1 - cosine_similarity(student, there) if by == "cosine" else (student - there).square().mean(dim=1)
    return torch.where(silent, 0.0, apart)


def projections(widths: Mapping[str, int], width: int, seed: int) -> dict[str, Projection]:
    """A freshly drawn map for each teacher: from a student's embedding of some width to the teacher's own."""
    found = {name: Projection(nn.Parameter(torch.empty(theirs, width)), seed, name) for name, theirs in widths.items()}
    for one in found.values():
        one.draw()
    return found
