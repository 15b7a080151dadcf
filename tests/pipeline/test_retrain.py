"""`retrain --decide-only` on what lies in a folder: which champion, which data, what is said and where."""

import json
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from copies import TINY
from imports import ROOT
from noisy_dataset import write_dataset
from repositories import begin, commit

from components.deployment import registry
from components.deployment.promotion import Candidate, publish
from components.errors import Exit
from components.fetch import digest_at
from components.settings import Params
from components.storage import receipts
from components.storage.digests import tree_digests
from components.storage.locks import locked
from components.storage.places import Folder
from pipeline.__main__ import main
from pipeline.retraining import champion as champions
from pipeline.retraining import laptop, tree

TASKS = [{"name": "shade", "kind": "single", "classes": ["dark", "light"]},
         {"name": "hue", "kind": "single", "classes": ["red", "green", "blue"]}]


def sealed(folder: Path, step: str, settings: dict[str, Any], inputs: dict[str, str], roots: dict[str, str]) -> str:
    """Write a receipt; the digest."""
    (folder / receipts.NAME).unlink(missing_ok=True)
    receipt = receipts.Receipt(step, step, settings, inputs, tree_digests(folder), roots)
    (folder / receipts.NAME).write_text(receipt.text())
    return receipts.digest(folder)


def whole_dataset(folder: Path, tasks: list[dict[str, Any]] = TASKS, word: str = "") -> str:
    """A sealed Dataset with what a comparison reads of its head; the digest."""
    if not folder.exists():
        write_dataset(folder)
    head = json.loads((folder / "dataset.json").read_text())
    counts = {task["name"]: {split: dict.fromkeys(task["classes"], 5) for split in ("train", "val", "test")}
              for task in tasks}
    head |= {"tasks": tasks, "splits": {"train": 24, "val": 16, "test": 8}, "counts": counts, "word": word}
    (folder / "dataset.json").write_text(json.dumps(head))
    return sealed(folder, "index", {}, {}, {})


def make_champion(desk: Path, dataset: str, tasks: list[dict[str, Any]] = TASKS, **roots: str) -> str:
    """Publish a model that was trained with the settings here; its digest."""
    settings = Params.load(desk / "params.yaml").section("distill").digestible()
    folder = desk / "made"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    values = {f"val/{task['name']}/accuracy": 0.9 for task in tasks}
    (folder / "model.json").write_text(json.dumps({"tasks": tasks, "training": {"val": values}}))
    sealed(folder, "distill", settings, {"dataset": dataset}, roots)
    return publish(Folder(desk / "registry"), Candidate(folder, None, None), force=True)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and a Dataset that is up to date, where no stage can run."""
    (tmp_path / "params.yaml").write_text(TINY)
    (tmp_path / "data").mkdir()
    whole_dataset(tmp_path / "data/dataset")
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tree, "stale_stages", dict)
    return tmp_path


def decided(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The decision: its reasons by name, and `retrain`."""
    capsys.readouterr()
    assert main(["retrain", "--decide-only", "--json", *options]) == Exit.OK
    found = json.loads(capsys.readouterr().out)["decision"]
    return {one["name"]: one for one in found["reasons"]} | {"retrain": found["retrain"]}


def yes(found: dict[str, Any]) -> list[str]:
    return [name for name, one in found.items() if name != "retrain" and one["answer"] == "yes"]


def test_without_a_champion_there_is_one_reason(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = decided(capsys)
    assert found.keys() == {"champion", "retrain"} and found["retrain"]
    assert found["champion"]["why"] == "registry holds no model yet"


def test_where_nothing_changed_the_answer_is_no_and_no_error(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_champion(desk, receipts.digest(desk / "data/dataset"))
    found = decided(capsys)
    assert not found["retrain"] and yes(found) == []
    assert [found[name]["answer"] for name in ("data", "classes", "change", "settings", "code")] == ["no"] * 5
    assert main(["retrain"]) == Exit.OK, "nor is anything trained"
    assert "retrain: no  (champion" in capsys.readouterr().out


def test_other_images_other_classes_and_other_labels_are_told_apart(
        desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_champion(desk, receipts.digest(desk / "data/dataset"))
    assert yes(decided(capsys)) == []
    whole_dataset(desk / "data/dataset", word="changed")
    found = decided(capsys)
    assert yes(found) == ["data"] and found["change"]["answer"] == "no", "compared with what was kept of the former"
    more = [TASKS[0], TASKS[1] | {"classes": ["red", "green", "blue", "purple"]}]
    whole_dataset(desk / "data/dataset", more)
    found = decided(capsys)
    assert yes(found) == ["data", "classes", "change"]
    assert "task hue since the champion: 1 class appeared (purple)" in found["classes"]["why"]
    (desk / "infra").mkdir()
    (desk / "infra/retrain.yaml").write_text("data: never\n")
    assert yes(decided(capsys)) == ["classes"]


def test_a_named_reference_is_compared_with_and_a_wrong_one_is_said(
        desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole_dataset(tmp_path / "former", word="former")
    make_champion(desk, "c" * 64)
    assert decided(capsys)["change"]["answer"] == "unknown"
    assert main(["retrain", "--decide-only", "--reference", "former"]) == Exit.OK
    said = capsys.readouterr()
    assert "former is not the Dataset that the champion learnt from (cccccccccccc)" in said.err
    assert "change    no " in said.out
    assert main(["retrain", "--decide-only", "--reference", "nowhere"]) == Exit.USER


def test_without_a_current_dataset_raw_images_tell(desk: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tree, "stale_stages", lambda: None)
    (desk / "data/raw").mkdir()
    (desk / "data/raw/a.png").write_bytes(b"an image")
    make_champion(desk, "c" * 64, source=receipts.folder_digest(desk / "data/raw"))
    found = decided(capsys)
    assert [found[name]["answer"] for name in ("data", "classes", "change", "code")] == ["no", *["unknown"] * 3]
    (desk / "data/raw/b.png").write_bytes(b"another")
    assert yes(decided(capsys)) == ["data"]


@pytest.mark.parametrize(("before", "after", "name"), [
    ("temperature: 3.0", "temperature: 4.0", "temperature"), ("augment: {flip: 0.5}", "augment: {flip: 0.4}",
                                                             "student.augment.flip"), ("seed: 3", "seed: 4", "seed")])
def test_other_settings_are_named(desk: Path, capsys: pytest.CaptureFixture[str], before: str, after: str,
                                  name: str) -> None:
    make_champion(desk, receipts.digest(desk / "data/dataset"))
    (desk / "params.yaml").write_text(TINY.replace(before, after))
    found = decided(capsys)
    assert yes(found) == ["settings"] and name in found["settings"]["why"]
    assert yes(decided(capsys, "--set", before.partition(":")[0] + "=1")) == ["settings"] if name == "seed" else True


def test_images_that_pods_would_fetch_are_held_against_those_of_the_champion(
        desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "store/raw").mkdir(parents=True)
    (desk / "store/raw/a.png").write_bytes(b"a")
    (desk / "infra").mkdir()
    (desk / "infra/kubeflow.yaml").write_text(f"params: {{fetch: {{repository: '{desk}/store', path: raw}}}}\n")
    make_champion(desk, receipts.digest(desk / "data/dataset"), source=digest_at(f"{desk}/store", "", "raw"))
    assert decided(capsys, "--on", "kubeflow")["data"]["answer"] == "no"
    (desk / "store/raw/b.png").write_bytes(b"b")
    found = decided(capsys, "--on", "kubeflow")
    assert "data" in yes(found) and "images sha256:" in found["data"]["why"]
    assert decided(capsys)["data"]["answer"] == "no", "a training here begins with the Dataset that is here"


def test_live_counts_and_age_ask_for_a_training(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_champion(desk, receipts.digest(desk / "data/dataset"))
    (desk / "live.json").write_text('{"hue": {"right": 700, "of": 1000}}')
    assert yes(decided(capsys, "--live", "live.json")) == ["use"]
    (desk / "infra").mkdir()
    (desk / "infra/retrain.yaml").write_text("age_days: 30\n")
    old = (datetime.now(UTC) - timedelta(days=40)).date().isoformat()
    assert yes(decided(capsys)) == [] and yes(decided(capsys, "--published", old)) == ["age"]
    assert main(["retrain", "--published", "soon"]) == main(["retrain", "--published", "2999-01-01"]) == Exit.USER


def test_the_age_is_that_of_the_commit_where_git_keeps_the_pointer(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin(tmp_path / "repository")
    monkeypatch.chdir(folder)
    Folder(folder / "registry").replace(registry.LATEST, registry.pointer(registry.LATEST, "a" * 64, None), "")
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-01-02T00:00:00+00:00")
    assert champions.committed("a" * 64) is None, "nobody has committed it"
    commit(folder, "a champion")
    assert champions.committed("a" * 64) == datetime(2026, 1, 2, tzinfo=UTC)
    assert champions.committed("b" * 64) is None, "git tells of another champion"
    days = champions.age_in_days("s3://bucket/models", "a" * 64, "")
    assert days == pytest.approx((datetime.now(UTC) - datetime(2026, 1, 2, tzinfo=UTC)) / timedelta(days=1), abs=0.1)
    assert champions.age_in_days("s3://bucket/models", "b" * 64, "") is None


def test_a_damaged_champion_and_one_of_another_section_are_refused(
        desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = make_champion(desk, "c" * 64)
    published = desk / "registry/models" / digest / "model/model.safetensors"
    published.write_bytes(b"others!")
    assert main(["retrain", "--decide-only"]) == Exit.USER
    assert "model.safetensors was changed since the artifact was sealed" in capsys.readouterr().err
    assert not (desk / ".stillhouse/retrain/champion" / digest).exists() and not (desk / "reports").exists()
    (desk / "registry/latest.json").write_text("{")
    assert main(["retrain", "--decide-only"]) == Exit.USER
    assert "latest.json is damaged" in capsys.readouterr().err


def test_a_registry_that_is_away_means_try_again(desk: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_MAX_ATTEMPTS": "1",
                        "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 0.05)
    assert main(["retrain", "--registry", "s3://bucket/models"]) == Exit.TRY_AGAIN
    assert not (desk / "reports").exists()


def test_of_two_retrainings_at_once_one_is_told_to_wait(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked([champions.ROOM / "run"]):
        held = threading.Thread(target=lambda: codes.append(main(["retrain", "--decide-only"])))
        codes: list[int] = []
        held.start()
        held.join()
    assert codes == [Exit.TRY_AGAIN]
    assert "is being written by" in capsys.readouterr().err


def test_the_answer_is_written_as_json_and_markdown_and_for_a_workflow(
        desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    digest = make_champion(desk, receipts.digest(desk / "data/dataset"), TASKS)
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(name, str(desk / name))
    (desk / "reports/retrain").mkdir(parents=True)
    (desk / "reports/retrain/comparison.md").write_text("of last week")
    found = decided(capsys, "--force")
    written = json.loads((desk / "reports/retrain/decision.json").read_text())
    assert written["retrain"] is found["retrain"] is False and written["champion"] == digest
    assert (desk / "GITHUB_OUTPUT").read_text() == f"retrain=true\ndecision=no\nchampion={digest}\n"
    page = (desk / "reports/retrain/decision.md").read_text()
    assert "### Retrain: no, but it was asked for" in page and page in (desk / "GITHUB_STEP_SUMMARY").read_text()
    assert page.count("\n| ") == 1 + len(written["reasons"])
    assert not (desk / "reports/retrain/comparison.md").exists()


def test_a_class_name_can_bring_nothing_into_the_comment(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_champion(desk, "c" * 64)
    whole_dataset(desk / "data/dataset", [TASKS[0], TASKS[1] | {"classes": ["<img src=x>", "a|b", "@all"]}])
    assert "classes" in yes(decided(capsys))
    page = (desk / "reports/retrain/decision.md").read_text()
    assert all(f"\\{mark}" in page and mark not in page.replace(f"\\{mark}", "") for mark in ("<img", "|b", "@all"))


@pytest.mark.parametrize(("said", "code", "cause"), [
    ("ERROR: failed to reproduce 'teach': failed to run: stillhouse teach, exited with 75", Exit.TRY_AGAIN, "teach"),
    ("ERROR: Unable to acquire lock. Most likely another DVC process is running", Exit.TRY_AGAIN, "dvc repro"),
    ("exited with 75 was retried\nERROR: failed to reproduce 'index': failed to run: x, exited with 1", Exit.USER,
     "in stage index")])
def test_how_dvc_ended_becomes_our_exit_code(
        desk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], said: str, code: Exit,
        cause: str) -> None:
    (desk / "dvc").write_text(f"#!/bin/sh\ncat <<'E'\n{said}\nE\nexit 255\n")
    (desk / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{desk}:/usr/bin:/bin")
    assert main(["retrain"]) == code
    told = capfd.readouterr().err
    assert said in told and cause in told.split("stillhouse: ")[-1]


def test_warm_training_needs_a_champion_and_names_it_by_digest(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "--warm"]) == Exit.USER
    assert "no champion to begin with" in capsys.readouterr().err
    digest = make_champion(desk, "c" * 64)
    found = champions.champion_of("registry")
    settings = laptop.warm_settings(found, warm=True)
    params = Params.load(desk / "params.yaml", settings)
    start = params.section("student").model.start  # type: ignore[attr-defined]
    assert start.digest == digest and receipts.verify(Path(start.model)) == digest
    plain = Params.load(desk / "params.yaml")
    assert [laptop.addressed(plain, one)[0] for one in settings] == ["+", "+"]
    assert [laptop.addressed(params, one)[0] for one in settings] == ["s", "s"]


@pytest.mark.parametrize("path", [str(champions.ROOM / "run"), "reports/retrain/decision.md"])
def test_git_keeps_nothing_of_a_retraining(path: str) -> None:
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0
