"""What `stillhouse profile` measures and writes."""

import csv
import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from small_models import seal, write_photographs, write_small_model

from components.cli import main
from components.data.dataset import Dataset
from components.storage.digests import file_digest
from components.storage.receipts import digest as digest_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("components.deployment.latency.SECONDS", 0.0)
    return tmp_path


def read(here: Path) -> dict[str, dict[str, str]]:
    with (here / "reports/profile/models.csv").open(newline="", encoding="utf-8") as stream:
        return {row["model"]: row for row in csv.DictReader(stream)}


def brightness() -> onnx.ModelProto:
    """A graph from stored pixels to their sum, in place of an exported one."""
    given = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["batch", 28, 36, 3])
    told = onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, [])
    nodes = [onnx.helper.make_node("Cast", ["pixels"], ["wide"], to=onnx.TensorProto.FLOAT),
             onnx.helper.make_node("ReduceSum", ["wide"], ["sum"], keepdims=0)]
    graph = onnx.helper.make_graph(nodes, "brightness", [given], [told])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def test_well_known_networks_have_their_well_known_sizes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "resnet18,resnet50,torchvision/mobilenet_v2"
    assert main(["profile", "--models", names, "--classes", "6", "--size", "32", "--batches", "1"]) == 0
    out = capsys.readouterr().out
    shown = [line.split(" | ")[2] for line in out.splitlines() if line.startswith("| ") and " x " in line]
    assert shown == ["11.18", "23.52", "2.23"]
    rows = read(here)
    assert int(rows["resnet18"]["parameters"]) == 11_689_512 - 1000 * 513 + 6 * 513  # that of 1,000 classes is known
    assert float(rows["resnet50"]["torch ms, batch 1"]) > 0 and int(rows["resnet18"]["macs"]) > 1e6
    assert (here / "reports/profile/models.md").read_text() in out


def test_models_of_the_project_show_accuracy_and_graph_only_where_these_are_theirs(
        here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset.open(write_photographs(here / "dataset", 12))
    for seed, name in enumerate(("student", "distilled")):
        write_small_model(here / "models" / name, name, dataset, seed)
    (here / "exported").mkdir()
    onnx.save(brightness(), here / "exported/model.onnx")
    seal(here / "exported", "export", {"model": digest_of(here / "models/distilled")})
    figures = {"trim": {"f1_macro": 0.25}, "kind": {"accuracy": 0.75, "f1_macro": 0.5}}
    judged = {name: {"parameters": 1, "test": figures, "val": {}} for name in ("student", "distilled")}
    (here / "reports/evaluate").mkdir(parents=True)
    metrics = here / "reports/evaluate/metrics.json"
    metrics.write_text(json.dumps(judged))
    run = {"outputs": {"metrics": file_digest(metrics)}, "inputs": {"student": digest_of(here / "models/student")}}
    (here / "reports/evaluate/run.json").write_text(json.dumps({"a": run}))
    shutil.copytree(here / "models/student", here / "archive")
    assert main(["profile", "--batches", "1,3", "--models", "models/student,models/distilled,archive"]) == 0
    assert read(here)["archive"]["parameters"] == read(here)["student"]["parameters"]
    assert main(["profile", "--batches", "1,3"]) == 0
    assert set(read(here)) == {"student", "distilled"}
    student, distilled = (read(here)[name] for name in ("student", "distilled"))
    assert student["test accuracy, kind"] == "0.75" and student["test f1 macro, trim"] == "0.25"
    assert distilled["test accuracy, kind"] == ""  # another model was evaluated under this name
    assert distilled["onnx ms, batch 3"] and not student["onnx ms, batch 3"]
    assert int(student["bytes"]) == (here / "models/student/model.safetensors").stat().st_size
    assert student["pixels"] == "24 x 24"


def test_the_table_goes_to_mlflow_where_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("components.tracking.runs.start_sender", lambda path: None)  # the journal stays to be read
    chosen = ["--models", "resnet18", "--classes", "6", "--size", "32", "--batches", "1", "--track"]
    assert main(["profile", *chosen]) == 0
    (journal,) = (here / ".stillhouse/journal").glob("*.jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    logged = [record["values"] for record in records if record["kind"] == "metrics"]
    metrics = {name: value for values in logged for name, value in values.items()}
    assert metrics["resnet18/parameters"] == 11_179_590 and metrics["resnet18/torch ms/batch 1"] > 0
    assert all(re.fullmatch(r"[\w.\- :/]+", name) for name in metrics)  # what MLflow takes
    assert {artifact["path"] for artifact in records[-1]["artifacts"]} == {
        "reports/profile/models.md", "reports/profile/models.csv"}


@pytest.mark.parametrize(("given", "told"), [
    (["--models", "resnet81"], "no network is called resnet81"), ([], "no Model below models"),
    (["--models", "resnet18", "--batches", "0"], "--batches is 0"),
    (["--models", "resnet18", "--classes", "0"], "--classes 0"),
    (["--models", "models/none"], "no name of a network")])
def test_what_cannot_be_profiled_is_refused(here: Path, given: list[str], told: str,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *given]) == 1
    assert told in capsys.readouterr().err
