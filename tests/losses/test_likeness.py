"""The likeness of embeddings by plain numpy and by finite differences."""

import math

import numpy as np
import pytest
import torch

from components.data.loader import Batch
from components.losses.imitation_settings import Likeness
from components.losses.likeness import Seen, distance, likened, projections
from components.losses.objective import memory_of
from components.models.outputs import Outputs

BATCH = Batch(np.arange(5), np.ones(5, np.int64), torch.zeros(5), {"kind": torch.zeros(5, dtype=torch.int64)},
              torch.ones(5))


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("by", ["cosine", "mse"])
def test_distances_are_what_numpy_makes_of_them_and_0_where_a_teacher_has_no_vector(by):
    student, teacher = drawn(0, 4, 6), drawn(1, 4, 6)
    teacher[2] = math.nan
    found = distance(student, teacher, by).numpy()
    for place, (ours, theirs) in enumerate(zip(student.numpy(), teacher.numpy(), strict=True)):
        cosine = 1 - ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        expected = 0.0 if place == 2 else cosine if by == "cosine" else np.mean((ours - theirs) ** 2)
        assert found[place] == pytest.approx(expected)


@pytest.mark.parametrize("by", ["cosine", "mse"])
def test_the_gradient_is_that_of_finite_differences_and_passes_by_what_is_not_there(by):
    student, teacher = drawn(0, 4, 6).requires_grad_(), drawn(1, 4, 6)
    teacher[2] = math.nan
    assert torch.autograd.gradcheck(lambda vectors: distance(vectors, teacher, by), (student,))
    distance(student, teacher, by).sum().backward()
    assert (student.grad[2] == 0).all() and (student.grad[3] != 0).any()


def test_the_mean_over_teachers_is_added_and_every_map_is_learnt():
    vectors = {"deep": drawn(1, 5, 3).float(), "wide": drawn(2, 5, 7).float()}
    maps = projections({name: one.shape[1] for name, one in vectors.items()}, 4, seed=0)
    base = torch.arange(5.0)
    objective = likened(lambda outputs, batch: (base, {"kind": base}),
                        Seen(lambda name, batch: vectors[name], maps), Likeness(weight=0.5))
    embedding = drawn(3, 5, 4).float()
    losses, parts = objective(Outputs({}, embedding, torch.zeros(1)), BATCH)
    apart = [distance(embedding @ maps[name].weight.T, vectors[name], "cosine") for name in vectors]
    assert torch.allclose(parts["embedding"], (apart[0] + apart[1]) / 2)
    assert torch.allclose(losses, base + 0.5 * parts["embedding"]) and torch.equal(parts["kind"], base)
    losses.sum().backward()
    learnt = memory_of(objective).parameters()
    assert len(learnt) == 2 and all(one.grad.abs().sum() > 0 for one in learnt)


def test_maps_are_drawn_from_the_seed_and_the_teachers_name_and_begin_anew_with_a_training():
    one, other = projections({"deep": 3, "wide": 3}, 4, 0), projections({"wide": 3}, 4, 0)
    assert torch.equal(one["wide"].weight, other["wide"].weight)
    assert not torch.equal(one["wide"].weight, one["deep"].weight)
    assert not torch.equal(one["wide"].weight, projections({"wide": 3}, 4, 1)["wide"].weight)
    objective = likened(lambda outputs, batch: (torch.zeros(5), {}), Seen(lambda name, batch: drawn(0, 5, 3), other),
                        Likeness(weight=1.0))
    other["wide"].weight.data.add_(1)
    memory_of(objective).forget()
    assert torch.equal(one["wide"].weight, other["wide"].weight)


def test_maps_stand_in_checkpoints_by_teacher():
    objective = likened(lambda outputs, batch: (torch.zeros(5), {}),
                        Seen(lambda name, batch: drawn(0, 5, 3), projections({"wide": 3}, 4, 0)), Likeness(weight=1.0))
    memory = memory_of(objective)
    tensors = {name: tensor + 1 for name, tensor in memory.tensors().items()}
    assert list(tensors) == ["map.wide"]
    memory.load(tensors)
    assert torch.equal(memory.maps["wide"].weight, tensors["map.wide"])
