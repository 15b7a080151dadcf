"""A user's own repository, made, run and upgraded with Stillhouse from a wheel, where nothing else of this tree is."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from copies import TINY
from wheels import Installed, build, copy_source, install

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Own:
    """A repository and the environment that its programs come from."""

    path: Path
    installed: Installed

    def run(self, *command: str | Path, code: int = 0) -> str:
        return self.installed.run(*command, cwd=self.path, code=code)

    def repro(self) -> list[str]:
        """Bring everything up to date and return the stages that ran."""
        lines = self.run("dvc", "repro").splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "-qm", message)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    return install(build(source, folder / "wheels"), folder / "venv")


@pytest.fixture(scope="module")
def own(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A repository around images that lie elsewhere, in which everything was run once."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "params.yaml").write_text(TINY)
    installed.run("stillhouse", "sample", "--data", "images", cwd=folder)
    said = installed.run("stillhouse", "init", "own", "--from", "images", cwd=folder)
    assert "layout labels_csv" in said and "task colour" in said
    made = Own(folder / "own", installed)
    (made.path / "params.yaml").write_text(TINY.replace("data/raw", str(folder / "images")))
    made.commit("tiny settings")
    made.repro()
    made.commit("first results")
    return made


def test_everything_runs_and_a_second_time_nothing_does(own: Own) -> None:
    assert own.repro() == []
    assert "distilled" in own.run("stillhouse", "summary")
    assert "images" in own.run("stillhouse", "trace", "exported")
    assert json.loads(own.run("dvc", "status", "--json")) == {}


def test_git_keeps_settings_and_figures_and_none_of_the_data(own: Own) -> None:
    kept = own.run("git", "ls-files").split()
    assert {"dvc.lock", "stillhouse.lock", "params.yaml", "reports/evaluate/metrics.json"} <= set(kept)
    assert not [name for name in kept if name.startswith(("data/", "models/", "exported/", ".stillhouse/"))]
    assert own.run("git", "status", "--porcelain") == ""


def test_the_pipeline_of_the_wheel_compiles_for_kubeflow(own: Own, tmp_path: Path) -> None:
    own.run("stillhouse", "pipeline", "compile", "--output", tmp_path / "pipeline.yaml")
    assert "name: stillhouse" in (tmp_path / "pipeline.yaml").read_text()


def test_an_upgrade_runs_again_what_it_changed_and_nothing_else(own: Own, source: Path, tmp_path: Path) -> None:
    newer = copy_source(tmp_path / "newer")
    project = newer / "pyproject.toml"
    project.write_text(project.read_text().replace('\nversion = "', '\nversion = "9.'))
    same = build(newer, tmp_path / "same")
    export = newer / "components/export.py"
    export.write_text(export.read_text() + "\n# another release\n")
    project.write_text(project.read_text().replace('\nversion = "9.', '\nversion = "10.'))
    other = build(newer, tmp_path / "other")

    own.installed.install(same)
    assert "was written for Stillhouse" in own.run("stillhouse", "init", "--check", code=1)
    assert "no stage has other code" in own.run("stillhouse", "init", "--upgrade")
    assert own.repro() == []

    own.installed.install(other)
    refused = own.run("dvc", "repro", "--force", "--single-item", "export", code=255)
    assert "whose export is not that of the 10." in refused and "stillhouse init --upgrade" in refused
    assert own.run("stillhouse", "init", "--upgrade").strip().endswith("what hangs on it: export")
    assert own.repro() == ["export"]
    assert own.repro() == []
