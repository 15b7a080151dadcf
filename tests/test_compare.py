"""The step `compare`, run by the contract on small models: verdicts, what is reported, what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import write_photographs, write_small_model

from components.compare import Compare
from components.contract import load_step, run_step
from components.data.dataset import Dataset
from components.deployment.promotion import Candidate, publish
from components.errors import UserError
from components.models.artifact import load_model
from components.models.inference import logits_of
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


def other_tasks(dataset: Dataset, *tasks: dict[str, Any]) -> Dataset:
    """The same samples, as models know them that were made for other tasks."""
    return Dataset(dataset.path, dataset.head | {"tasks": list(tasks)})


def test_a_champion_with_fewer_classes_in_another_order_is_compared_by_name(root: Path) -> None:
    dataset = Dataset.open(root / "dataset")
    kinds = [*reversed(dataset.tasks[0].classes[:3]), "cape"]
    older = other_tasks(dataset, {"name": "kind", "kind": "single", "classes": kinds})
    write_small_model(root / "other", "distilled", older, 2)
    crown(root, root / "other")
    found = compared(root)
    kind = found["tasks"]["kind"]
    assert kind["new"] == [dataset.tasks[0].classes[3]] and kind["gone"] == ["cape"] and set(found["tasks"]) == {"kind"}
    model = load_model(root / "other")
    rows = dataset.rows("test")
    labels = dataset.labels(dataset.tasks[0])[rows]
    named = np.array([kinds[one] for one in logits_of(model, older, rows)["kind"].argmax(1)])
    given = np.array([dataset.tasks[0].classes[one] for one in labels])
    assert kind["champion"] == pytest.approx((named == given)[labels >= 0].mean())
    assert kind["known"][0] == ((labels >= 0) & (labels < 3)).sum()
    assert any("task trim is new to the champion" in reason for reason in found["reasons"])


def test_a_champion_of_other_tasks_is_reported_and_stays(root: Path) -> None:
    hats = other_tasks(Dataset.open(root / "dataset"), {"name": "hat", "kind": "single", "classes": ["a", "b"]})
    write_small_model(root / "other", "hats", hats, 2)
    crown(root, root / "other")
    found = compared(root)
    assert (found["verdict"], found["promote"], found["tasks"]) == ("worse", False, {})
    assert any("knows task hat, which the challenger lacks" in reason for reason in found["reasons"])


def test_a_champion_made_for_another_resolution_is_shown_resized_images(
        root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset.open(root / "dataset")
    write_small_model(root / "other", "distilled", dataset, 2, stored=[56, 72])
    crown(root, root / "other")
    found = compared(root)
    assert "made for images stored as 56 x 72; it is shown those of 28 x 36, resized" in found["notes"][0]
    assert found["notes"][0] in capsys.readouterr().err and set(found["tasks"]) == {"kind", "trim"}


def test_a_champion_that_lies_elsewhere_is_fetched_by_its_digest(root: Path) -> None:
    write_small_model(root / "other", "distilled", Dataset.open(root / "dataset"), 2)
    crown(root, root / "other")
    whole = compared(root)
    (root / "clone").mkdir()
    (root / "clone" / "latest.json").write_bytes((root / "registry" / "latest.json").read_bytes())
    assert compared(root, "clone/latest.json") == whole


def test_the_same_inputs_give_the_same_bytes(root: Path) -> None:
    write_small_model(root / "other", "distilled", Dataset.open(root / "dataset"), 2)
    crown(root, root / "other")
    seen = []
    for _ in range(2):
        compared(root)
        seen.append([(root / name).read_bytes() for name in ("verdict.json", "report.html", "metrics.json")])
    assert seen[0] == seen[1]
    page = seen[0][1].decode()
    assert "<script" not in page and "a &lt;b&gt;" in page, "names are shown and never run"
    assert str(root) not in page and not re.findall(r'(?:src|href)="(?!data:image/|#)', page)
