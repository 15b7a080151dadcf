"""A user's own repository, made, run and upgraded with Stillhouse from a wheel, where nothing else of this tree is."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from copies import TINY
from wheels import Installed, build, copy_source, install

from components.strict_yaml import parse_yaml

pytestmark = pytest.mark.slow

TINIER = TINY.replace("count: 120", "count: 104").replace("epochs: 6", "epochs: 1").replace("views: 12", "views: 2")


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
    (folder / "params.yaml").write_text(TINIER)
    installed.run("stillhouse", "sample", "--data", "images", cwd=folder)
    said = installed.run("stillhouse", "init", "own", "--from", "images", cwd=folder)
    assert "layout labels_csv" in said and "task colour" in said
    made = Own(folder / "own", installed)
    (made.path / "params.yaml").write_text(TINIER.replace("data/raw", str(folder / "images")))
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


def test_the_pipeline_of_the_wheel_is_written_for_kubeflow_and_argo(own: Own, tmp_path: Path) -> None:
    own.run("stillhouse", "pipeline", "compile", "--output", tmp_path / "pipeline.yaml")
    elsewhere = "fetch.repository=https://git.example.com/images.git"  # no pod sees a folder of this machine
    own.run("stillhouse", "pipeline", "argo", "--set", elsewhere, "--output", tmp_path / "argo.yaml")
    assert "name: stillhouse" in (tmp_path / "pipeline.yaml").read_text()
    assert "kind: WorkflowTemplate" in (tmp_path / "argo.yaml").read_text()


def test_plots_and_differences_of_figures_show_without_further_settings(own: Own, tmp_path: Path) -> None:
    own.run("dvc", "plots", "show", "-o", tmp_path / "plots")
    page = (tmp_path / "plots/index.html").read_text()
    titles = [title for plot in parse_yaml((own.path / "dvc.yaml").read_bytes(), "")["plots"] if isinstance(plot, dict)
              for title in (next(iter(plot.values()))["title"],)]
    assert len(titles) > 3 and all(title in page for title in titles)
    shown = {path.name.rpartition("pictures_")[2] for path in (tmp_path / "plots/static").iterdir()}
    made = {path.name for path in (own.path / "reports/evaluate/plots/pictures").iterdir()}
    assert shown == made and "confusion-colour-distilled.png" in made
    table = own.run("dvc", "metrics", "diff", "HEAD~1", "--md", "--targets", "reports/evaluate/metrics.json")
    assert "| reports/evaluate/metrics.json | distilled.test.colour.accuracy" in " ".join(table.split())


def test_the_lines_of_the_workflow_run_in_a_checkout(own: Own, tmp_path: Path) -> None:
    steps = parse_yaml((own.path / ".github/workflows/retrain.yaml").read_bytes(), "")["jobs"]["retrain"]["steps"]
    lines = [step["run"] for step in steps if "run" in step and "pip install" not in step["run"]]
    assert len(lines) == 4
    for line in lines:
        own.run("env", f"GITHUB_STEP_SUMMARY={tmp_path / 'summary.md'}", "bash", "-euo", "pipefail", "-c", line)
    assert (tmp_path / "summary.md").exists()


def test_no_image_is_tracked_one_by_one_behind_index(own: Own) -> None:
    stages = parse_yaml((own.path / "dvc.lock").read_bytes(), "dvc.lock")["stages"]
    read = {(name, one["path"]): one.get("nfiles", 1) for name, stage in stages.items() for one in stage["deps"]}
    made = {one["path"]: one.get("nfiles", 1) for stage in stages.values() for one in stage["outs"]}
    assert [place for place, count in read.items() if count > 100] == [("validate", str(own.path.parent / "images"))]
    assert max(made.values()) < 50 and sum(made.values()) < 150, "of 105 images, as of any number"


def test_with_a_manifest_a_run_that_has_nothing_to_do_opens_no_folder_of_images(own: Own, tmp_path: Path) -> None:
    copied = Own(tmp_path / "own", own.installed)
    shutil.copytree(own.path, copied.path, symlinks=True)
    shutil.copytree(own.path.parent / "images", tmp_path / "images")
    copied.run("stillhouse", "lists", tmp_path / "images", "--manifest", "images.csv")
    root = f'path: images.csv, root: "{tmp_path / "images"}"'
    (copied.path / "params.yaml").write_text(TINIER.replace('path: data/raw, root: ""', root))
    assert "Running stage 'validate'" in copied.run("dvc", "repro", "index")
    (tmp_path / "images").rename(tmp_path / "gone")
    assert "Running stage" not in copied.run("dvc", "repro", "index")
    with (copied.path / "images.csv").open("a") as manifest:
        manifest.write("images/new.jpg\n")
    assert "failed to reproduce 'validate'" in copied.run("dvc", "repro", "index", code=255)


def test_seeds_are_queued_and_run_in_copies_that_find_the_images(own: Own, tmp_path: Path) -> None:
    queued = Own(tmp_path / "own", own.installed)
    shutil.copytree(own.path, queued.path, symlinks=True)
    queued.run("dvc", "exp", "run", "--queue", "-S", "seed=4,5", "train@broad")
    assert queued.run("dvc", "queue", "status").count("Queued") >= 2
    queued.run("dvc", "exp", "run", "--run-all", "-j", "1")
    shown = json.loads(queued.run("dvc", "exp", "show", "--json"))
    found = [one["revs"][0]["data"] for commit in shown for one in commit["experiments"] or []]
    seeds = {one["params"]["params.yaml"]["data"]["seed"]: one["metrics"]["reports/teachers.broad/metrics.json"]["data"]
             for one in found}
    assert sorted(seeds) == [4, 5] and seeds[4] != seeds[5]
    assert queued.run("git", "status", "--porcelain") == "", "the folder itself stays as it was"


def test_an_image_path_that_is_relative_to_elsewhere_fails_in_a_queued_copy(own: Own, tmp_path: Path) -> None:
    queued = Own(tmp_path / "own", own.installed)
    shutil.copytree(own.path, queued.path, symlinks=True)
    shutil.copytree(own.path.parent / "images", tmp_path / "images")
    queued.run("dvc", "exp", "run", "--queue", "-S", "data.path=../images", "index")
    queued.run("dvc", "exp", "run", "--run-all", "-j", "1")
    assert "Failed" in queued.run("dvc", "queue", "status")


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
