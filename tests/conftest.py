"""What several rooms' tests need: a small Dataset, an S3 server, and torch on one thread."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import object_store
import pytest
import torch
from noisy_dataset import write_dataset

from components.data.dataset import Dataset

os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # programs that tests start anywhere import this tree
torch.set_num_threads(1)  # two threads on a shared machine wait for each other


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.open(write_dataset(tmp_path / "dataset"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server that lives as long as the tests."""
    with object_store.server() as endpoint:
        yield endpoint


NUMBERS = itertools.count()


@pytest.fixture
def bucket_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket of a test's own, which the environment leads to."""
    object_store.use(monkeypatch, s3_server)
    name = f"bucket-{next(NUMBERS)}"
    object_store.make_bucket(s3_server, name)
    return f"s3://{name}"
