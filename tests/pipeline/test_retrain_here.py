"""A champion, more images, a retraining with its comparison and promotion, and then nothing to do."""

import json
from typing import Any

import pytest
from copies import Project

pytestmark = pytest.mark.slow

LENIENT = "compare: {metric: accuracy, margin: 0.9, promote_equal: true, class_drop: 1.0}"


def told(project: Project, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "reports/retrain" / name).read_text())
    return found


def test_more_images_are_trained_on_compared_and_promoted_once(changeable: Project) -> None:
    changeable.run("stillhouse", "publish")
    first = json.loads((changeable.path / "registry/latest.json").read_text())["digest"]
    assert "retrain: no" in changeable.run("stillhouse", "pipeline", "retrain", "--promote")
    assert not (changeable.path / "reports/retrain/outcome.json").exists()
    changeable.change("count: 120", "count: 140")
    changeable.change("compare: {metric: accuracy}", LENIENT)
    said = changeable.run("stillhouse", "pipeline", "retrain", "--promote")
    assert "retrain: yes" in said and "data      yes" in said
    decision, outcome = told(changeable, "decision.json"), told(changeable, "outcome.json")
    assert next(one["name"] for one in decision["reasons"] if one["answer"] == "yes") == "data"
    assert decision["champion"] == first
    verdict = json.loads((changeable.path / "reports/compare/verdict.json").read_text())
    assert verdict["champion"] == first and outcome["verdict"] == verdict["verdict"]
    latest = json.loads((changeable.path / "registry/latest.json").read_text())
    assert outcome["promoted"] is verdict["promote"] is True
    assert latest == {"digest": outcome["model"], "previous": first}
    page = (changeable.path / "reports/retrain/comparison.md").read_text()
    assert "| task | figure | champion |" in page and "The model was published." in page
    assert "retrain: no" in changeable.run("stillhouse", "pipeline", "retrain", "--promote")
    assert json.loads((changeable.path / "registry/latest.json").read_text()) == latest
    assert not (changeable.path / "reports/retrain/outcome.json").exists()
    warm_start(changeable, latest["digest"])


def warm_start(project: Project, champion: str) -> None:
    """Go on from the champion; the receipt of what comes of it says so, and nothing is published unasked."""
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "-qm", "second")
    assert "the model was not published" in project.run("stillhouse", "pipeline", "retrain", "--force", "--warm")
    receipt = json.loads((project.path / "models/distilled/receipt.json").read_text())
    assert receipt["settings"]["student"]["model"]["start"]["digest"] == champion
    assert json.loads((project.path / "registry/latest.json").read_text())["digest"] == champion


def test_a_stage_that_fails_leaves_the_champion_and_exit_code_1(changeable: Project) -> None:
    changeable.run("stillhouse", "publish")
    before = (changeable.path / "registry/latest.json").read_bytes()
    with (changeable.path / "components/evaluation/report.py").open("a") as stream:
        stream.write("\nraise ValueError('broken on purpose')\n")
    said = changeable.run("bash", "-c", "stillhouse pipeline retrain --promote --force; echo code $?")
    assert "code 1" in said and "failed in stage evaluate" in said and "nothing was published" in said
    assert "retrain: no, but it was asked for" in said, "what only judges models asks for no training"
    assert (changeable.path / "registry/latest.json").read_bytes() == before
    assert not (changeable.path / "reports/retrain/outcome.json").exists()
