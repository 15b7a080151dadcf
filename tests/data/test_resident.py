"""Pixels that stay on the device: the same images, and no training or judging where there is no such device."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from components.data.augment_settings import Augment
from components.data.loader import Batches, load
from components.data.resident import Resident, keep_pixels, refuse_without_gpu
from components.errors import UserError
from components.probabilities.judging import Program

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("chunk", [1, 5, 1024])
def test_kept_pixels_are_those_of_the_dataset_in_any_order(dataset, monkeypatch, chunk):
    monkeypatch.setattr("components.data.resident.CHUNK", chunk)
    rows = dataset.rows("train")
    kept = Resident.load(dataset, rows[::-1], CPU)
    asked = np.random.default_rng(2).choice(rows, 30)
    assert np.array_equal(kept.of(asked).numpy(), dataset.pixels(asked))


def test_batches_of_kept_pixels_are_those_that_are_read(dataset):
    rows = dataset.rows("train")
    plan = [(rows[:8], 1), (rows[[3, 3, 9]], np.array([1, 2, 1]))]
    augment = Augment(mix={"mixup": 0.5, "cutmix": 0.5})
    read = load(Batches(dataset, plan, 4, augment, rows))
    kept = load(Batches(dataset, plan, 4, augment, rows, Resident.load(dataset, rows, CPU)), workers=2)
    for one, other in zip(read, kept, strict=True):
        assert torch.equal(one.pixels, other.pixels) and np.array_equal(one.view, other.view)
        assert (one.partners is None) == (other.partners is None)
        assert one.partners is None or torch.equal(one.partners.pixels, other.partners.pixels)
        assert all(torch.equal(one.labels[name], other.labels[name]) for name in one.labels)


def test_without_a_gpu_nothing_is_kept_and_the_remedy_is_named(dataset):
    assert keep_pixels(Augment(), dataset, dataset.rows("train"), CPU) is None
    refuse_without_gpu(Augment(), CPU)
    with pytest.raises(UserError, match=r"augment.device is gpu, yet networks run on the CPU") as raised:
        keep_pixels(Augment(device="gpu"), dataset, dataset.rows("train"), CPU)
    assert "augment.device: cpu" in raised.value.remedy


def test_pixels_that_leave_no_room_for_the_network_are_refused(dataset, monkeypatch):
    rows = dataset.rows("train")
    need = len(rows) * 24 * 20 * 3
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(need / 0.8) - 1, 0))
    with pytest.raises(UserError, match=f"{len(rows)} images of 24 x 20 pixels take") as raised:
        keep_pixels(Augment(device="gpu"), dataset, rows, GPU)
    assert "index.size" in raised.value.remedy


def test_where_pixels_wait_is_part_of_what_a_store_is_bound_to():
    digests = {Program(Augment(device=device), 0, (24, 20)).digest() for device in ("cpu", "gpu")}
    assert len(digests) == 2


def test_policies_of_workers_are_refused_beside_the_gpu():
    with pytest.raises(ValidationError, match="policy: none beside device: gpu; augmix is made by loader workers"):
        Augment(device="gpu", policy="augmix")
