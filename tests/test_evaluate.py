"""The step `evaluate`, run by the contract on small models, its figures recomputed from the stored predictions."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as oracle
from small_models import KIND, seal, write_photographs, write_small_model

from components.contract import load_step, run_step
from components.data.dataset import Dataset
from components.errors import UserError
from components.evaluate import Evaluate
from components.probabilities.store import Store
from components.runtime import Runtime
from components.storage import receipts

MODELS = ("small", "large", "student", "distilled")


def settings(root: Path, **changes: object) -> Evaluate:
    runtime = Runtime(tracking=False, threads=1, device="cpu", work=str(root / "work"), reports=str(root / "reports"))
    return Evaluate(teachers=("small", "large"), runtime=runtime, **changes)


def inputs(root: Path) -> dict[str, Path]:
    dataset = Dataset.open(write_photographs(root / "dataset"))
    for number, name in enumerate(MODELS):
        write_small_model(root / ("teachers" if number < 2 else "") / name, name, dataset, number)
    return {"dataset": root / "dataset", "teachers": root / "teachers", "student": root / "student",
            "distilled": root / "distilled"}


def outputs(root: Path) -> dict[str, Path]:
    return {"predictions": root / "predictions", "metrics": root / "metrics.json", "plots": root / "plots",
            "report": root / "report.html"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluated")
    run_step(load_step("evaluate"), settings(root, top_k=2), "evaluate", inputs(root) | outputs(root))
    return root


def test_every_figure_is_what_the_stored_predictions_give(root: Path) -> None:
    figures = json.loads((root / "metrics.json").read_text())
    dataset, store = Dataset.open(root / "dataset"), Store.open(root / "predictions")
    assert list(store.sources) == list(MODELS)
    assert set(figures) == set(MODELS)
    task = dataset.tasks[0]
    for name in MODELS:
        for split in ("val", "test"):
            rows = dataset.rows(split)
            labels = dataset.labels(task)[rows]
            said = store.log_probabilities(name, "kind", store.rows_of(dataset.ids[rows]))[:, 0][labels >= 0]
            labels = labels[labels >= 0]
            found = figures[name][split]["kind"]
            assert found["accuracy"] == pytest.approx(oracle.accuracy_score(labels, said.argmax(1)))
            assert found["log_loss"] == pytest.approx(-said[np.arange(len(labels)), labels].mean(), rel=2e-3)
            true = said[np.arange(len(labels)), labels][:, None]
            surely, perhaps = (said >= true).sum(1) <= 2, (said > true).sum(1) < 2  # halves are equal now and then
            assert surely.mean() <= found["top2_accuracy"] <= perhaps.mean()
            assert set(figures[name][split]["trim"]) == {"subset_accuracy", "f1_micro", "f1_macro", "ece", "log_loss",
                                                         "mean_average_precision"}


def test_predictions_name_the_dataset_and_every_model_by_digest(root: Path) -> None:
    head = Store.open(root / "predictions").head
    assert head["dataset"] == receipts.digest(root / "dataset")
    assert head["models"]["distilled"] == receipts.digest(root / "distilled")
    assert head["models"]["small"] == receipts.digest(root / "teachers" / "small")
    assert head["views"] == [0]


def test_confusion_tables_hold_one_line_a_labelled_sample(root: Path) -> None:
    dataset = Dataset.open(root / "dataset")
    labels = dataset.labels(dataset.tasks[0])[dataset.rows("test")]
    with (root / "plots" / "confusion" / "student-kind.csv").open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["actual"] for line in lines] == [KIND[label] for label in labels if label >= 0]
    right = sum(line["actual"] == line["predicted"] for line in lines) / len(lines)
    figures = json.loads((root / "metrics.json").read_text())
    assert right == pytest.approx(figures["student"]["test"]["kind"]["accuracy"])


def test_plots_hold_classes_calibration_and_pictures(root: Path) -> None:
    names = {path.name for path in (root / "plots").iterdir()}
    assert {"per_class.csv", "calibration.csv", "receipt.json"} <= names
    pictures = {path.stem for path in (root / "plots" / "pictures").iterdir()}
    assert pictures >= {"calibration-kind", "classes-kind", *(f"confusion-kind-{name}" for name in MODELS)}
    with (root / "plots" / "calibration.csv").open(newline="", encoding="utf-8") as stream:
        lines = [line for line in csv.DictReader(stream) if (line["model"], line["task"]) == ("large", "kind")]
    dataset = Dataset.open(root / "dataset")
    known = dataset.labels(dataset.tasks[0])[dataset.rows("test")] >= 0
    assert sum(int(line["count"]) for line in lines) == known.sum()
    Image.open(io.BytesIO((root / "plots" / "pictures" / "confusion-kind-student.png").read_bytes())).verify()


def test_names_are_shown_and_never_run(root: Path) -> None:
    page = (root / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "a &lt;b&gt;" in page
    assert "ドレス" in page


def test_the_page_stands_alone_and_its_links_lead_somewhere(root: Path) -> None:
    page = (root / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:image/|#)', page)
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert {"summary", "task-1", "task-2", "mistakes-1"} <= anchors
    assert "default-src 'none'" in page


def test_latency_stands_in_the_facts_of_the_run_and_in_no_artifact(root: Path) -> None:
    (facts,) = json.loads((root / "reports" / "evaluate" / "run.json").read_text()).values()
    assert set(facts["latency_ms"]) == set(MODELS)
    assert all(value > 0 for value in facts["latency_ms"].values())
    for text in ((root / "metrics.json").read_text(), (root / "report.html").read_text()):
        assert "latency" not in text


def test_the_same_inputs_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    places = {"dataset": root / "dataset", "teachers": root / "teachers", "student": root / "student",
              "distilled": root / "distilled"}
    run_step(load_step("evaluate"), settings(tmp_path, top_k=2), "evaluate", places | outputs(tmp_path))
    for name in ("predictions", "plots"):
        assert receipts.digest(tmp_path / name) == receipts.digest(root / name)
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / name).read_bytes() == (root / name).read_bytes()


@pytest.mark.parametrize(("field", "change"), [
    ("geometry.stored", {"geometry": {"stored": [64, 64], "input": [24, 24], "pad": 128}}),
    ("geometry.pad", {"geometry": {"stored": [28, 36], "input": [24, 24], "pad": 0}}),
    ("tasks.trim.classes", {"tasks": [{"name": "kind", "kind": "single", "classes": KIND},
                                      {"name": "trim", "kind": "multi", "classes": ["zip", "buttons", "ribbon"]}]}),
    ("name is narrow; expected wide", {"name": "narrow"}),
    ("tasks is", {"tasks": [{"name": "kind", "kind": "single", "classes": KIND}]}),
])
def test_a_model_made_for_something_else_is_refused_by_name_and_field(field: str, change: dict, tmp_path: Path) -> None:
    from components.models.artifact import refuse_misfit

    dataset = Dataset.open(write_photographs(tmp_path / "dataset", 12))
    head = json.loads((write_small_model(tmp_path / "wide", "wide", dataset) / "model.json").read_text())
    refuse_misfit("wide", head, dataset)
    with pytest.raises(UserError, match=rf"model wide: {re.escape(field)}"):
        refuse_misfit("wide", head | change, dataset)


def test_a_network_that_diverged_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    places = inputs(tmp_path)
    weights = places["student"] / "model.safetensors"
    save_file({name: tensor * float("nan") if "heads.kind" in name else tensor
               for name, tensor in load_file(weights).items()}, weights)
    seal(places["student"], "train")
    (places["student"] / "receipt.json").unlink()
    seal(places["student"], "train")
    with pytest.raises(UserError, match="model student gives values for kind that are not finite"):
        run_step(load_step("evaluate"), settings(tmp_path), "evaluate", places | outputs(tmp_path))


def test_a_teacher_with_a_students_name_is_refused() -> None:
    from components.evaluate import refuse_taken_names

    with pytest.raises(UserError, match=r"teachers\.student"):
        refuse_taken_names(("big", "student"))


def test_a_split_without_samples_is_left_out_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pandas as pd

    places = inputs(tmp_path)
    table = places["dataset"] / "samples.parquet"
    samples = pd.read_parquet(table)
    samples["split"] = ["train" if split == "val" else split for split in samples["split"]]
    samples.to_parquet(table, index=False)
    (places["dataset"] / "receipt.json").unlink()
    seal(places["dataset"], "index")
    run_step(load_step("evaluate"), settings(tmp_path), "evaluate", places | outputs(tmp_path))
    assert "no sample in val" in capsys.readouterr().err
    assert set(json.loads((tmp_path / "metrics.json").read_text())["student"]) == {"test", "parameters", "megabytes"}
