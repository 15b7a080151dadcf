"""`retrain --on kubeflow` against a loopback server: submitted, followed, and told by the registry that pods share."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from copies import wait_for
from kubeflow_server import IMAGE, State
from registries import candidate

from components.deployment.promotion import publish
from components.errors import Exit, UserError
from components.storage.places import Folder
from pipeline.__main__ import main
from pipeline.retraining import cluster as kubeflow


@pytest.fixture
def shared(desk: Path) -> Path:
    """A folder that pods see, with the registry in it."""
    place = desk / "work"
    place.mkdir(exist_ok=True)
    (desk / "infra/kubeflow.yaml").write_text(
        f"image: {{name: '{IMAGE}'}}\npods: {{volumes: [{{claim: work, path: '{place}'}}]}}\n"
        f"params: {{promote: {{registry: '{place}/registry'}}}}\n")
    return place


def ended(state: State, how: str, desk: Path, publishes: str = "") -> threading.Thread:
    """A cluster that runs what is submitted and, where it goes well, may publish a model."""
    def play() -> None:
        wait_for(lambda: state.things["runs"], "a run")
        if publishes:
            publish(Folder(desk / "work/registry"), candidate(desk, publishes), force=True)
        state.only("runs").update(state=how)

    thread = threading.Thread(target=play)
    thread.start()
    return thread


def names_of(package: bytes) -> set[str]:
    """The names of the components of an uploaded pipeline."""
    return {name.removeprefix("comp-") for name in next(yaml.safe_load_all(package))["components"]}


def outcome(desk: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((desk / "reports/retrain/outcome.json").read_text())
    return found


def test_a_run_that_publishes_is_told_with_its_model(host: str, state: State, shared: Path, desk: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    playing = ended(state, "SUCCEEDED", desk, publishes="first")
    assert main(["retrain", "--on", "kubeflow", "--host", host, "--promote"]) == Exit.OK
    playing.join()
    said = capsys.readouterr()
    assert "retrain: yes  (champion none)" in said.out and "the model was published" in said.out
    assert "#/runs/details/" in said.err
    digest = json.loads((shared / "registry/latest.json").read_text())["digest"]
    assert outcome(desk) == {"schema": 1, "kind": "outcome", "where": "kubeflow", "model": digest, "promoted": True,
                             "verdict": None, "note": outcome(desk)["note"]}
    assert digest[:12] in outcome(desk)["note"]


@pytest.mark.slow
def test_a_run_that_publishes_nothing_is_no_error(host: str, state: State, shared: Path, desk: Path) -> None:
    playing = ended(state, "SUCCEEDED", desk)
    assert main(["retrain", "--on", "kubeflow", "--host", host, "--promote"]) == Exit.OK
    playing.join()
    assert outcome(desk)["promoted"] is False and "had before" in outcome(desk)["note"]


def test_a_run_publishes_only_where_that_was_asked_for(host: str, state: State, shared: Path, desk: Path) -> None:
    (desk / "infra/kubeflow.yaml").write_text((desk / "infra/kubeflow.yaml").read_text().replace(
        "promote: {", "promote: {when: always, "))
    tasks = []
    for options in (["--promote"], []):
        playing = ended(state, "SUCCEEDED", desk)
        assert main(["retrain", "--on", "kubeflow", "--host", host, "--force", *options]) == Exit.OK
        playing.join()
        tasks.append(names_of(*state.packages.values()))
        for made in (state.things["runs"], state.things["versions"], state.packages):
            made.clear()
    assert tasks[0] - tasks[1] == {"promote"}
    assert "was not to be published" in outcome(desk)["note"]


@pytest.mark.slow
def test_a_run_that_fails_is_an_error_and_leaves_no_outcome(host: str, state: State, shared: Path, desk: Path) -> None:
    playing = ended(state, "FAILED", desk)
    assert main(["retrain", "--on", "kubeflow", "--host", host]) == Exit.USER
    playing.join()
    assert not (desk / "reports/retrain/outcome.json").exists()
    assert (desk / "reports/retrain/decision.json").exists()


@pytest.mark.slow
def test_a_cluster_that_is_away_means_try_again(desk: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["retrain", "--on", "kubeflow", "--host", "http://127.0.0.1:9"]) == Exit.TRY_AGAIN
    assert not (shared / "registry").exists()


def test_a_warm_start_needs_a_champion_that_pods_can_read() -> None:
    for registry, seen in (("s3://bucket/models", True), ("registry", False)):
        with pytest.raises(UserError, match="--warm"):
            kubeflow.warm_settings(True, registry, None, seen)
    assert kubeflow.warm_settings(False, "registry", None, False) == []


def test_a_registry_that_no_pod_sees_is_said(desk: Path) -> None:
    assert "do not see the same registry" in kubeflow.outcome("registry", None, same=False).note


def test_a_registry_that_only_pods_see_does_not_count_as_empty(
        host: str, state: State, shared: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = desk / "infra/kubeflow.yaml"
    file.write_text(file.read_text().replace(str(shared), "/mnt/claim"))
    assert main(["retrain", "--on", "kubeflow", "--host", host]) == Exit.USER
    said = capsys.readouterr().err
    assert "/mnt/claim/registry lies in a claim" in said and "mount it at /mnt/claim" in said and "--force" in said
    assert not state.things["runs"]

    playing = ended(state, "SUCCEEDED", desk)
    assert main(["retrain", "--on", "kubeflow", "--host", host, "--force", "--promote"]) == Exit.OK
    playing.join()
    assert not outcome(desk)["promoted"] and "is not known here" in outcome(desk)["note"]
