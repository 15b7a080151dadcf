"""What several rooms' tests need: a small Dataset, and torch on one thread."""

from pathlib import Path

import pytest
import torch
from noisy_dataset import write_dataset

from components.data.dataset import Dataset

torch.set_num_threads(1)  # two threads on a shared machine wait for each other


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.open(write_dataset(tmp_path / "dataset"))
