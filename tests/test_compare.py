"""The step `compare`, run by the contract on small models: verdicts, what is reported, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_models import write_photographs, write_small_model

from components.compare import Compare
from components.contract import load_step, run_step
from components.data.dataset import Dataset
from components.deployment.promotion import Candidate, publish
from components.errors import UserError
from components.runtime import Runtime
from components.storage import receipts
from components.storage.places import Folder

EMPTY = '{\n "digest": null,\n "previous": null\n}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Dataset, a model to be judged, and an empty registry."""
    dataset = Dataset.open(write_photographs(tmp_path / "dataset"))
    write_small_model(tmp_path / "model", "distilled", dataset, 1)
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "latest.json").write_text(EMPTY)
    return tmp_path


def crown(root: Path, folder: Path) -> str:
    """Make a sealed model the champion."""
    return publish(Folder(root / "registry"), Candidate(folder, None, None), force=True)


def compared(root: Path, champion: str = "registry/latest.json", **changes: object) -> dict[str, Any]:
    runtime = Runtime(tracking=False, threads=1, device="cpu", work=str(root / "work"), reports=str(root / "reports"))
    changes = {"registry": str(root / "registry")} | changes
    run_step(load_step("compare"), Compare(runtime=runtime, **changes), "compare", {
        "dataset": root / "dataset", "model": root / "model", "champion": root / champion,
        "verdict": root / "verdict.json", "report": root / "report.html", "metrics": root / "metrics.json"})
    found: dict[str, Any] = json.loads((root / "verdict.json").read_text())
    return found


def test_the_first_model_of_a_registry_may_be_promoted(root: Path) -> None:
    found = compared(root)
    assert (found["verdict"], found["promote"], found["champion"]) == ("first", True, None)
    assert found["model"] == receipts.digest(root / "model")


def test_a_first_model_below_the_floor_may_not(root: Path) -> None:
    found = compared(root, floor={"kind": 0.99})
    assert (found["verdict"], found["promote"]) == ("first", False)
    assert any("compare.floor asks for at least 0.99" in reason for reason in found["reasons"])


def test_the_champion_itself_is_the_same(root: Path) -> None:
    crown(root, root / "model")
    found = compared(root)
    assert (found["verdict"], found["promote"]) == ("same", False)


def test_another_model_is_judged_on_the_same_samples(root: Path) -> None:
    write_small_model(root / "other", "distilled", Dataset.open(root / "dataset"), 2)
    digest = crown(root, root / "other")
    found = compared(root)
    assert found["champion"] == digest and set(found["tasks"]) == {"kind", "trim"}
    kind = found["tasks"]["kind"]
    assert kind["interval"]["low"] <= kind["interval"]["difference"] <= kind["interval"]["high"]
    assert kind["interval"]["difference"] == pytest.approx(kind["challenger"] - kind["champion"])


def test_a_registry_folder_and_its_latest_json_are_the_same_champion(root: Path) -> None:
    write_small_model(root / "other", "distilled", Dataset.open(root / "dataset"), 2)
    crown(root, root / "other")
    assert compared(root, "registry") == compared(root)


def test_a_damaged_champion_is_refused_by_name(root: Path) -> None:
    digest = crown(root, root / "model")
    file = root / "registry" / "models" / digest / "model" / "model.json"
    file.write_text(file.read_text().replace("distilled", "distalled"))
    with pytest.raises(UserError, match=r"model\.json was changed"):
        compared(root)


def test_a_champion_that_is_not_here_is_refused_with_what_to_type(root: Path) -> None:
    (root / "registry" / "latest.json").write_text(json.dumps({"digest": "ab" * 32, "previous": None}))
    with pytest.raises(UserError, match="names model abababababab, which is neither in") as caught:
        compared(root)
    assert "stillhouse pull-model" in caught.value.remedy
