"""Copies of the project for tests that run the whole pipeline."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from copies import Project, kill, make_project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """A fresh copy of the same code as the finished one's; whatever still runs in it at the end is ended."""
    made = make_project(tmp_path / "project", finished.path)
    yield made
    for process in made.processes():
        kill(process)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which everything was run once, without interruption; tests leave it as it is."""
    made = make_project(tmp_path_factory.mktemp("finished") / "project")
    made.repro()
    return made


@pytest.fixture
def changeable(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project that a test may change."""
    shutil.copytree(finished.path, tmp_path / "copy", symlinks=True)
    return Project((tmp_path / "copy").resolve())
