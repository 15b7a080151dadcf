"""The whole pipeline in a tiny copy of the project: what runs again, what survives a kill, what stays the same."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copies import Project, kill, wait_for
from PIL import Image

pytestmark = pytest.mark.slow

AFTER_STUDENT = ["student", "distill", "evaluate", "compare", "export"]


def test_a_second_run_does_nothing_within_three_seconds(changeable: Project) -> None:
    seconds = []
    for _ in range(3):  # the quickest of three: the machine may be busy with something else for a moment
        started = time.monotonic()
        assert changeable.repro() == []
        changeable.run("stillhouse", "summary")
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 3


def test_a_new_budget_of_the_student_reruns_only_what_hangs_on_it(changeable: Project) -> None:
    changeable.change("epochs: 2\n  sizes: [32]\n  augment", "epochs: 3\n  sizes: [32]\n  augment")
    assert set(json.loads(changeable.run("dvc", "status", "--json"))) == {"student", "distill"}
    assert changeable.repro() == AFTER_STUDENT


def test_other_views_are_judged_again_by_the_teachers_and_nothing_else_is(changeable: Project) -> None:
    changeable.change("augment: {flip: 0.5}", "augment: {flip: 0.25}")
    assert set(json.loads(changeable.run("dvc", "status", "--json"))) == {"student", "teach", "distill"}


def test_a_published_model_is_the_champion_that_the_next_is_held_against(changeable: Project) -> None:
    assert verdict(changeable)["verdict"] == "first"
    changeable.run("stillhouse", "publish", "--tag", "good")
    assert set(json.loads(changeable.run("dvc", "status", "--json"))) == {"compare"}
    assert changeable.repro() == ["compare"] and verdict(changeable)["verdict"] == "same"
    digest = verdict(changeable)["champion"]
    assert changeable.run("git", "status", "--porcelain", "registry").split() == ["M", "registry/latest.json"]
    changeable.change("epochs: 2\n  sizes: [32]\n  augment", "epochs: 3\n  sizes: [32]\n  augment")
    assert changeable.repro() == AFTER_STUDENT
    found = verdict(changeable)
    assert found["champion"] == digest != found["model"] and found["tasks"]
    assert "verdict    " + found["verdict"] in changeable.run("stillhouse", "summary")
    assert f"{digest[:12]}  latest, good  distilled (resnet18)" in changeable.run("stillhouse", "pull-model", "--list")
    changeable.run("stillhouse", "publish", "--force")
    changeable.run("stillhouse", "pull-model", "good", "--to", "pulled")
    shutil.rmtree(changeable.path / "registry" / "models")
    traced = changeable.run("stillhouse", "trace", "pulled/export", "--verify")
    assert "pulled/model" in traced and "data/dataset" in traced and "data/raw" in traced


def verdict(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "reports/compare/verdict.json").read_text())
    return found


def test_settings_of_the_machine_rerun_nothing(changeable: Project) -> None:
    changeable.change("checkpoint_seconds: 0.0", "checkpoint_seconds: 7.0")
    assert json.loads(changeable.run("dvc", "status", "--json")) == {}


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("page", ["evaluate/report.html", "validate/page.html", "compare/report.html"])
def test_the_pages_show_themselves_in_a_browser(finished: Project, tmp_path: Path, page: str, width: int) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    picture = tmp_path / "page.png"
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"]
    subprocess.run([browser, *quiet, f"--window-size={width},1600", f"--screenshot={picture}",
                    (finished.path / "reports" / page).absolute().as_uri()],
                   check=True, capture_output=True, timeout=90)
    with Image.open(picture) as image:
        assert image.width == width
        colours = image.convert("RGB").getcolors(1 << 24)
    assert len(colours) > 500, "text, rules and pictures"
    assert max(colours)[0] < 0.98 * width * 1600, "more than a background"


def test_two_runs_from_scratch_seal_the_same_bytes(finished: Project, project: Project) -> None:
    project.repro()
    assert len(finished.receipts()) == 10
    assert project.receipts() == finished.receipts()
    for name in ("metrics.json", "curves.csv", "page.html", "report.html", "verdict.json"):
        files = sorted(file.relative_to(finished.path) for file in finished.path.glob(f"reports/*/{name}"))
        assert files
        assert all((project.path / file).read_bytes() == (finished.path / file).read_bytes() for file in files)


def test_killed_steps_go_on_and_end_with_the_bytes_of_an_undisturbed_run(finished: Project, project: Project) -> None:
    work = project.path / ".stillhouse/work"
    interrupted(project, "train teachers.deep", lambda: [one for one in work.glob("*/state-*") if step_of(one) > 3])
    assert not (project.path / "models/teachers/deep").exists()
    interrupted(project, "teach", lambda: list(work.glob("*/store/shards/deep/*/*.npy")))
    assert not (project.path / "data/probabilities").exists()
    project.repro()
    assert project.receipts() == finished.receipts()
    assert not list(work.glob("*")), "nothing is left of finished work"


def interrupted(project: Project, step: str, midway: Callable[[], list[Path]]) -> None:
    """Run the pipeline, end a step's own process without a chance to tidy up once it is midway, and see DVC fail."""
    running = project.start("dvc", "repro")
    wait_for(midway, f"the middle of {step}")
    found = project.processes("bin/stillhouse", *step.split())
    assert found, f"{step} had ended before it could be killed"
    for process in found:
        kill(process)
    assert running.wait() != 0
    assert midway(), "what was done is kept"


def step_of(state: Path) -> int:
    return int(state.name.split("-")[1])


def test_a_killed_dvc_leaves_no_step_behind_and_the_next_one_goes_on(finished: Project, project: Project) -> None:
    running = project.start("dvc", "repro", "train@deep")
    wait_for(lambda: list((project.path / ".stillhouse" / "work").glob("*/state-*")), "a checkpoint")
    assert project.processes("stillhouse", "train")
    kill(running.pid)
    running.wait()
    wait_for(lambda: not project.processes(), "the end of the step", seconds=10)
    project.run("dvc", "repro", "train@deep")
    assert project.receipts()["models/teachers/deep"] == finished.receipts()["models/teachers/deep"]
