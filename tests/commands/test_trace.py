"""The way back from anything to its images, in print and as JSON."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_steps import STILL, Brew, run_brew

from components import cli
from components.contract import Input, Output, Port, Step, run_step


def bottle(settings: Brew, /, *, dataset: Input, spirit: Input, metrics: Output) -> None:
    """Read two things and write a file."""
    metrics.write_text(json.dumps({"bottles": settings.strength}))


def index(settings: Brew, /, *, source: Input, dataset: Output) -> None:
    """A Dataset of two images."""
    rows = [{"id": hashlib.sha256(path.read_bytes()).hexdigest(), "path": path.name, "split": "train", "kind": number,
             "marks": [0, 1] if number else None} for number, path in enumerate(sorted(source.iterdir()))]
    dataset.mkdir()
    pd.DataFrame(rows).to_parquet(dataset / "samples.parquet", index=False)
    tasks = [{"name": "kind", "kind": "single", "classes": ["hat", "shoe"]},
             {"name": "marks", "kind": "multi", "classes": ["new", "worn"]}]
    (dataset / "dataset.json").write_text(json.dumps({"schema": 1, "tasks": tasks, "splits": {"train": 2}}))


INDEX = Step("index", index, Brew, {"source": Port("input"), "dataset": Port("output")})
BOTTLE = Step("evaluate", bottle, Brew, {"dataset": Port("input"), "spirit": Port("input"), "metrics": Port("output")})


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images -> dataset, sugar -> wash -> spirit, and metrics made from both, all below the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Path("raw", name).write_bytes(name.encode())
    run_step(INDEX, Brew(), "index", {"source": Path("raw"), "dataset": Path("data/dataset")})
    run_brew(Path(), Brew(strength=4))
    Path("washes").mkdir()
    shutil.move("data/wash", "washes/ale")
    run_step(STILL, Brew(washes=("ale",)), "still", {"washes": Path("washes"), "spirit": Path("spirit")})
    run_step(BOTTLE, Brew(), "evaluate", {"dataset": Path("data/dataset"), "spirit": Path("spirit"),
                                          "metrics": Path("reports/evaluate/metrics.json")})
    return tmp_path


def traced(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert cli.main(["trace", *arguments]) == code
    captured = capsys.readouterr()
    return captured.err if code == 1 and not captured.out else captured.out


def tree(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(traced(capsys, *arguments, "--json"))["tree"]
    return found


def test_a_file_is_found_by_its_bytes_and_leads_back_to_the_raw_folders(
        chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("reports/evaluate/metrics.json", "elsewhere.json")
    node = tree(capsys, "elsewhere.json")
    assert (node["step"], node["section"], node["path"]) == ("evaluate", "evaluate", "reports/evaluate/metrics.json")
    dataset, spirit = node["inputs"]
    assert dataset["path"] == "data/dataset" and dataset["inputs"][0]["step"] == "raw"
    wash = spirit["inputs"][0]
    assert wash["name"] == "washes/ale" and wash["settings"]["brew.strength"] == "4"
    assert wash["inputs"][0]["digest"] == json.loads(Path("washes/ale/receipt.json").read_text())["roots"]["sugar"]


def test_the_printed_tree_says_digest_step_settings_and_command(
        chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = traced(capsys, "reports/evaluate/metrics.json")
    digest = hashlib.sha256(Path("washes/ale/receipt.json").read_bytes()).hexdigest()[:12]
    assert f"washes/ale: washes/ale  {digest}  by brew" in text and "brew.strength=4" in text
    assert "again: dvc repro index" in text and "2 train; tasks kind, marks" in text
    assert "source: the raw folder" in text


def test_a_path_inside_an_artifact_stands_for_the_artifact(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tree(capsys, "spirit/spirit.json")["path"] == "spirit"


def test_an_image_is_named_by_its_row_with_the_names_of_its_classes(
        chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = traced(capsys, "raw/b.jpg")
    assert "raw/b.jpg is row 1 of this Dataset: path b.jpg, split train, kind shoe, marks ['new', 'worn']" in text
    assert "data/dataset" in text.splitlines()[2]


def test_what_is_not_here_is_said_with_what_to_type(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("data/dataset")
    text = traced(capsys, "reports/evaluate/metrics.json")
    assert "by index  not here" in text and "dvc checkout, or dvc repro index" in text
    shutil.rmtree("reports/index")
    assert "dataset: not here" in (text := traced(capsys, "reports/evaluate/metrics.json"))
    assert "(dvc checkout, or dvc repro index)" in text


def test_verification_names_the_file_that_was_changed(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "spirit", "--verify"]) == 0
    Path("washes/ale/part.bin").write_bytes(b"water")
    assert cli.main(["trace", "spirit"]) == 0
    capsys.readouterr()
    assert cli.main(["trace", "spirit", "--verify"]) == 1
    captured = capsys.readouterr()
    assert "CHANGED: washes/ale: part.bin was changed" in captured.out and "part.bin was changed" in captured.err


@pytest.mark.parametrize(("path", "said"), [
    ("nowhere", "nowhere does not exist"),
    ("raw", "raw has no receipt.json"),
    ("sugar/cane.txt", "is in no artifact, and no run.json here knows its bytes"),
])
def test_what_cannot_be_traced_is_said(chain: Path, capsys: pytest.CaptureFixture[str], path: str, said: str) -> None:
    assert said in traced(capsys, path, code=1)
