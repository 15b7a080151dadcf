"""Copies of the project for tests that run the whole pipeline, and a server for those that submit it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest
from copies import TINY, Project, kill, make_project

from components.settings import Params

if TYPE_CHECKING:
    from kubeflow_server import State

P = ParamSpec("P")
R = TypeVar("R")


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


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """The function for threads that play two processes: kfp's compiler keeps what it builds in one global place."""
    lock = threading.Lock()

    def locked(*arguments: P.args, **named: P.kwargs) -> R:
        with lock:
            return function(*arguments, **named)

    return locked


def compiled_once(compile_pipeline: Callable[..., None], known: dict[str, bytes]) -> Callable[..., None]:
    """The compiler, which takes seconds, with a memory: the same settings give the same bytes."""
    def compiled(params: Params, shape: object, cluster: object, output: Path) -> None:
        key = repr((params.values, shape, cluster))
        if key not in known:
            compile_pipeline(params, shape, cluster, output)
            known[key] = output.read_bytes()
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(known[key])

    return compiled


@pytest.fixture(scope="session")
def known_files() -> dict[str, bytes]:
    """What was compiled for a desk, by what it follows from."""
    return {}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_files: dict[str, bytes]) -> Path:
    """The current folder: settings and facts of a cluster, and nothing of a server in the environment."""
    from kubeflow_server import IMAGE

    from pipeline import kubeflow, package

    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_TOKEN", "KF_PIPELINES_COOKIES",
                 "KF_PIPELINES_SA_TOKEN_PATH", "KUBERNETES_SERVICE_HOST", "SSL_CERT_FILE", "STILLHOUSE_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STILLHOUSE_COMMIT", "3f2a9c1d4e5f60718293a4b5c6d7e8f901234567")
    monkeypatch.setattr("pipeline.api.connection.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("pipeline.waiting.POLL", 0.02)
    monkeypatch.setattr("pipeline.api.calls.SECOND", 0.05)
    monkeypatch.setattr("pipeline.package.changed_files", lambda: 0)
    monkeypatch.setattr("pipeline.package.package_of", one_at_a_time(package.package_of))
    monkeypatch.setattr("pipeline.kubeflow.compile_pipeline", compiled_once(kubeflow.compile_pipeline, known_files))
    (tmp_path / "params.yaml").write_text(TINY)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/kubeflow.yaml").write_text(f"image: {{name: '{IMAGE}'}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def state() -> "State":
    """What a loopback server of Kubeflow Pipelines knows."""
    from kubeflow_server import State

    return State()


@pytest.fixture
def host(state: "State", desk: Path) -> Iterator[str]:
    """The address of that server."""
    from kubeflow_server import serving

    with serving(state) as address:
        yield address
