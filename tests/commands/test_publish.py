"""`stillhouse publish` and `stillhouse pull-model`, and the steps that do the same on clusters."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from registries import candidate, verdict_on, write_export, write_model

from components.cli import main
from components.contract import load_step, run_step
from components.deployment import registry
from components.errors import UserError
from components.promote import Promote
from components.pull import Pull
from components.runtime import Runtime
from components.storage import receipts
from components.storage.places import Folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a distilled model, its export, and a verdict that lets it pass."""
    monkeypatch.chdir(tmp_path)
    put_here("one", None)
    return tmp_path


def put_here(name: str, champion: str | None, promote: bool = True) -> str:
    """Make a model, its export and a verdict what the pipeline has just made; the digest of the model."""
    for folder in (Path("models/distilled"), Path("exported")):
        if folder.exists():
            folder.rename(f"old-{len(list(Path().iterdir()))}")
    model = write_model(Path("models/distilled"), name)
    write_export(Path("exported"), model)
    verdict = Path("reports/compare/verdict.json")
    verdict.parent.mkdir(parents=True, exist_ok=True)
    verdict.write_text(json.dumps(verdict_on(model, champion, promote)))
    return receipts.digest(model)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err


def listing(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(capsys, "pull-model", "--list", "--json", *arguments))["models"]
    return found


def test_a_project_publishes_lists_pulls_and_goes_back(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "pull-model", "--list") == "registry: no model is published yet\n"
    first = receipts.digest(here / "models/distilled")
    assert run(capsys, "publish", "--tag", "stable") == (
        f"registry: the latest is now model {first[:12]}\ntag stable names it\n")
    assert run(capsys, "publish") == f"registry: model {first[:12]} was the latest already\n"
    second = put_here("two", first)
    assert f"model {second[:12]}, before it {first[:12]}" in run(capsys, "publish")
    one, two = listing(capsys)
    assert (one["digest"], one["names"], one["parts"]) == (second, ["latest"], ["model", "export"])
    assert (two["digest"], two["names"], two["name"]) == (first, ["previous", "stable"], "one")
    assert f"{second[:12]}  latest            two (resnet18)  300  model, export" in run(capsys, "pull-model", "--list")
    run(capsys, "pull-model")
    assert receipts.verify(here / "models/champion/model") == second
    run(capsys, "pull-model", "stable", "--to", "served")
    assert receipts.verify(here / "served/model") == first and receipts.is_sealed(here / "served/export")
    assert json.loads(run(capsys, "publish", "--rollback", "--json")) == {
        "digest": first, "previous": second, "place": "registry"}
    assert registry.latest(Folder(here / "registry")).previous == second


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "one"}', '{"name": 1, "architecture": 2, "tasks": 3}',
                                     '{"name": "a", "architecture": {"name": "b"}, "tasks": [], "parameters": "many"}'])
def test_a_damaged_model_is_listed_as_such_beside_the_others(content: str, here: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    first = receipts.digest(here / "models/distilled")
    run(capsys, "publish")
    second = put_here("two", first)
    run(capsys, "publish")
    head = Path("registry/models") / first / "model/model.json"
    head.write_text(content)
    assert main(["pull-model", "--list"]) == 0
    said = capsys.readouterr()
    assert f"{second[:12]}  latest    two (resnet18)  300  model, export" in said.out
    assert f"{first[:12]}  previous  damaged              model, export" in said.out
    assert said.err.count("\n") == 1 and f"warning: {head} is damaged; publish that model again" in said.err
    assert [one["damaged"] for one in listing(capsys)] == [False, True]


def test_the_registry_is_that_of_params_yaml_or_of_the_option(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "params.yaml").write_text("promote: {registry: shelf}\n")
    run(capsys, "publish")
    assert (here / "shelf/latest.json").is_file()
    run(capsys, "publish", "--registry", "other")
    assert (here / "other/latest.json").is_file() and not (here / "registry").exists()
    run(capsys, "pull-model", "--registry", "other", "--mirror")
    assert registry.latest(Folder(here / "registry")).digest == receipts.digest(here / "models/distilled")


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["publish", "--model", "nowhere"], 1, "nowhere is no sealed artifact"),
    (["publish", "--exported", "nowhere"], 1, "or publish the model alone: --no-export"),
    (["publish", "--verdict", "nowhere.json"], 1, "there is no verdict on this model"),
    (["publish", "--tag", "latest"], 1, "latest cannot be a tag"),
    (["publish", "--rollback", "--force"], 2, "--rollback takes no --tag and no --force"),
    (["publish", "--rollback"], 1, "registry has no previous model to go back to"),
    (["publish", "--registry", "gopher://x"], 1, "no place of kind gopher is known"),
    (["pull-model"], 1, "registry has no latest model"),
    (["pull-model", "v7"], 1, "registry has no model or tag called v7"),
])
def test_mistakes_are_said_with_what_to_type(arguments: list[str], code: int, words: str, here: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, *arguments, code=code)
    assert words in said and len(said.splitlines()) == 2
    assert not (here / "registry").exists()


def test_a_verdict_that_says_no_stops_a_publication_by_hand(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_here("two", None, promote=False)
    assert "the verdict is worse: it was asked" in run(capsys, "publish", code=1)
    run(capsys, "publish", "--force")
    (here / "reports/compare/verdict.json").write_text("{")
    assert "verdict.json is no JSON" in run(capsys, "publish", code=1)


def test_a_registry_that_cannot_be_written_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "registry").write_text("in the way")
    said = run(capsys, "publish", "--no-export", code=1)
    assert "registry is a file; expected a registry folder" in said
    if os.geteuid():
        (here / "shelf").mkdir(mode=0o500)
        assert "give this user the right" in run(capsys, "publish", "--registry", "shelf", code=1)


QUIET = Runtime(tracking=False)


def promoted(root: Path, name: str, champion: str | None, settings: Promote, promote: bool = True) -> dict[str, str]:
    one = candidate(root, name, champion, promote)
    (root / "verdict.json").write_text(json.dumps(one.verdict))
    assert one.exported is not None
    run_step(load_step("promote"), settings, "promote", {
        "model": one.model, "exported": one.exported, "verdict": root / "verdict.json",
        "published": root / "published.json"})
    found: dict[str, str] = json.loads((root / "published.json").read_text())
    return found


def test_the_steps_of_a_cluster_pull_the_champion_and_promote_the_next(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, place = Promote(registry="shelf", tag="good", runtime=QUIET), Folder(tmp_path / "shelf")
    pull = Pull(registry="shelf", runtime=QUIET)
    run_step(load_step("pull"), pull, "pull", {"champion": tmp_path / "champion"})
    assert json.loads((tmp_path / "champion/latest.json").read_text())["digest"] is None
    first = promoted(tmp_path, "one", None, settings)
    assert first == {"digest": registry.latest(place).digest, "place": "shelf"}
    assert promoted(tmp_path, "one", None, settings) == first, "a pod that is tried again finds it done"
    facts = run_step(load_step("pull"), pull, "pull", {"champion": tmp_path / "champion"})
    champion = tmp_path / "champion/models" / first["digest"]
    assert receipts.verify(champion / "model") == first["digest"] and receipts.is_sealed(champion / "export")
    assert facts["outputs"]["champion"] == receipts.verify(tmp_path / "champion")
    second = promoted(tmp_path, "two", first["digest"], settings)
    assert registry.chosen(place, "good") == second["digest"]
    assert registry.chosen(place, "previous") == first["digest"]


def test_the_step_promote_obeys_the_verdict_unless_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="the verdict is worse"):
        promoted(tmp_path, "one", None, Promote(runtime=QUIET), promote=False)
    assert not (tmp_path / "registry").exists() and not (tmp_path / "published.json").exists()
    with pytest.raises(UserError, match="when is never"):
        promoted(tmp_path, "one", None, Promote(when="never", runtime=QUIET), promote=True)
    assert promoted(tmp_path, "one", None, Promote(when="always", runtime=QUIET), promote=False)["place"] == "registry"


def test_a_pulled_champion_has_the_same_bytes_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    promoted(tmp_path, "one", None, Promote(registry="shelf", runtime=QUIET))
    digests = {run_step(load_step("pull"), Pull(registry="shelf", runtime=QUIET), "pull",
                        {"champion": tmp_path / name})["outputs"]["champion"] for name in ("a", "b")}
    assert len(digests) == 1
