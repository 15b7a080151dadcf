"""The compiled pipeline: the same file every time, and run from that file it gives what `dvc repro` gives."""

import json
from pathlib import Path
from typing import Any

import pytest
from copies import TINY, Project
from ruamel.yaml import YAML

from components.data.dataset import Dataset
from components.settings import Params
from pipeline.__main__ import main
from pipeline.inputs import own_source, run_inputs, settings_json

METRICS = {"validate": "validate", "index": "index", "student": "student", "teach": "teach", "distill": "distill",
           "evaluate": "evaluate", "compare": "compare", "export": "export",
           "for-loop-1-iteration-0/train": "teachers.deep", "for-loop-1-iteration-1/train": "teachers.broad"}
ARTIFACTS = {"sample/data": "data/raw", "validate/manifest": "data/manifest", "index/dataset": "data/dataset",
             "teach/probabilities": "data/probabilities", "evaluate/predictions": "data/predictions",
             "student/model": "models/student", "distill/model": "models/distilled", "export/exported": "exported",
             "for-loop-1-iteration-0/train/model": "models/teachers/deep",
             "for-loop-1-iteration-1/train/model": "models/teachers/broad"}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(TINY)
    return file


def compiled(tiny: Path, name: str, *options: str) -> dict[str, Any]:
    output = tiny.parent / name
    assert main(["compile", "--params", str(tiny), "--output", str(output), *options]) == 0
    whole: dict[str, Any] = next(iter(YAML(typ="safe", pure=True).load_all(output.read_text())))
    return whole


def test_the_same_settings_compile_to_the_same_bytes(tiny: Path) -> None:
    compiled(tiny, "one.yaml")
    compiled(tiny, "two.yaml")
    assert (tiny.parent / "one.yaml").read_bytes() == (tiny.parent / "two.yaml").read_bytes()


def test_run_inputs_default_to_the_values_of_params_yaml(tiny: Path) -> None:
    inputs = compiled(tiny, "one.yaml", "--set", "student.epochs=5")["root"]["inputDefinitions"]["parameters"]
    assert json.loads(inputs["student_settings"]["defaultValue"])["student"]["epochs"] == 5
    assert [item["teacher"] for item in inputs["teachers"]["defaultValue"]] == ["deep", "broad"]
    assert set(inputs) == set(run_inputs(Params.load(tiny)))


def test_integers_stay_integers_on_their_way_through_kubeflow(tiny: Path) -> None:
    text = settings_json(Params.load(tiny), "teachers.deep")
    assert json.loads(text)["teachers"]["deep"]["epochs"] == 6
    assert '"epochs":6,' in text


def test_a_task_is_told_nothing_that_its_step_does_not_read(tiny: Path) -> None:
    params = Params.load(tiny)
    told = json.loads(settings_json(params, "index"))
    assert set(told) == {"data", "index", "runtime"}
    assert set(told["data"]) == {"root"}
    assert json.loads(settings_json(params, "teach"))["teachers"] == ["deep", "broad"]
    assert set(json.loads(settings_json(params, "teach"))["student"]) == {"augment"}


def test_own_images_are_imported_and_nothing_is_drawn(tiny: Path) -> None:
    tasks = compiled(tiny, "one.yaml", "--set", "data.path=s3://bucket/garments")["root"]["dag"]["tasks"]
    assert "sample" not in tasks and "importer" in tasks
    assert own_source(Params.load(tiny)) is None


def test_a_wrong_setting_is_refused_before_anything_is_compiled(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tiny.parent / "x.yaml"
    assert main(["compile", "--params", str(tiny), "--output", str(output), "--set", "student.epoch=5"]) == 1
    assert "Did you mean 'epochs'?" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.slow
def test_the_compiled_file_run_here_gives_what_dvc_repro_gives(finished: Project, project: Project) -> None:
    project.run("python", "-m", "pipeline", "run-local", "--output-folder", "kubeflow")
    (run,) = (project.path / "kubeflow").glob("stillhouse-*")
    for task, section in METRICS.items():
        ours = (run / task / "metrics").read_bytes()
        assert ours == (finished.path / "reports" / section / "metrics.json").read_bytes(), task
    assert {path: (run / task / "receipt.json").read_bytes() for task, path in ARTIFACTS.items()} == finished.receipts()
    assert (run / "evaluate/report").read_bytes() == (finished.path / "reports/evaluate/report.html").read_bytes()
    assert {path.name for path in project.path.iterdir()} - {"kubeflow", ".git", ".dvc"} == {
        "components", "pipeline", "stillhouse", "registry", "dvc.yaml", "params.yaml", ".dvcignore",
        ".gitignore"}, "in one folder"
    shown_in_kubeflow(run, finished)


def shown_in_kubeflow(run: Path, finished: Project) -> None:
    """Metrics, metadata and matrices stand in what the tasks tell Kubeflow."""
    said = json.loads((run / "evaluate/executor_output.json").read_text())
    metrics = json.loads((finished.path / "reports/evaluate/metrics.json").read_text())
    facts = said["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert facts["distilled/test/colour/accuracy"] == metrics["distilled"]["test"]["colour"]["accuracy"]
    dataset = Dataset.open(finished.path / "data/dataset")
    indexed = json.loads((run / "index/executor_output.json").read_text())
    assert indexed["artifacts"]["dataset"]["artifacts"][0]["metadata"]["splits/test"] == len(dataset.rows("test"))
    names = [task.name for task in dataset.tasks]
    assert sorted(said["parameterValues"]["Output"]) == sorted(names)
    for number, task in enumerate(sorted(names)):
        shown = json.loads((run / f"for-loop-2-iteration-{number}/confusion/executor_output.json").read_text())
        matrix = shown["artifacts"]["matrix"]["artifacts"][0]["metadata"]["confusionMatrix"]
        rows = [row["row"] for row in matrix["rows"]]
        diagonal = sum(row[place] for place, row in enumerate(rows))
        accuracy = metrics["distilled"]["test"][task]["accuracy"]
        assert diagonal / sum(map(sum, rows)) == pytest.approx(accuracy)
