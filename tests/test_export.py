"""The step `export`, run by the contract: what it writes, and what it refuses to write."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from ruamel.yaml import YAML
from scipy.special import softmax
from small_models import KIND, seal, write_photographs, write_small_model

from components.contract import load_step, run_step
from components.data.dataset import Dataset
from components.errors import UserError
from components.export import Export
from components.models.artifact import load_model
from components.models.inference import logits_of
from components.runtime import Runtime
from components.storage import receipts

FIGURES = {"parameters": 4595, "megabytes": 0.03,
           "test": {"kind": {"accuracy": 0.8125, "balanced_accuracy": 0.75, "ece": 0.0312, "top3_accuracy": 1.0},
                    "trim": {"subset_accuracy": 0.5, "f1_macro": 0.625, "ece": 0.1}}}


def made(root: Path) -> dict[str, Path]:
    dataset = Dataset.open(write_photographs(root / "dataset"))
    write_small_model(root / "model", "distilled", dataset, 2)
    (root / "evaluation.json").write_text(json.dumps({"distilled": FIGURES}))
    return {"dataset": root / "dataset", "model": root / "model", "evaluation": root / "evaluation.json"}


def run(root: Path, inputs: dict[str, Path], **changes: object) -> Path:
    runtime = Runtime(tracking=False, threads=1, device="cpu", work=str(root / "work"), reports=str(root / "reports"))
    outputs = {"exported": root / "exported", "metrics": root / "metrics.json"}
    run_step(load_step("export"), Export(runtime=runtime, **changes), "export", inputs | outputs)
    return root / "exported"


def reseal(folder: Path) -> None:
    (folder / receipts.NAME).unlink()
    seal(folder, "index")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    run(root, made(root))
    return root


def test_the_export_holds_graph_card_head_and_parity(root: Path) -> None:
    exported = root / "exported"
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.onnx", "model.json", "parity.json", "README.md", "receipt.json"}
    assert (exported / "model.json").read_bytes() == (root / "model" / "model.json").read_bytes()
    onnx.checker.check_model(str(exported / "model.onnx"), full_check=True)
    metrics = json.loads((root / "metrics.json").read_text())
    assert metrics["bytes"] == (exported / "model.onnx").stat().st_size
    assert metrics["max_difference"] == json.loads((exported / "parity.json").read_text())["max_difference"] < 1e-5
    assert metrics["examples"] == 6


def test_a_second_export_of_the_same_model_has_the_same_digest(root: Path, tmp_path: Path) -> None:
    inputs = {"dataset": root / "dataset", "model": root / "model", "evaluation": root / "evaluation.json"}
    assert receipts.digest(run(tmp_path, inputs)) == receipts.digest(root / "exported")


def card(root: Path) -> str:
    return (root / "exported" / "README.md").read_text(encoding="utf-8")


def test_the_card_begins_with_a_head_that_hubs_read_and_invents_no_licence(root: Path) -> None:
    _, head, _ = card(root).split("---\n", 2)
    values = YAML(typ="safe", pure=True).load(head)
    assert values["library_name"] == "onnx"
    assert values["metrics"] == ["accuracy", "f1"]
    assert "license" not in values


def test_the_card_states_results_digests_splits_and_temperatures(root: Path) -> None:
    text = card(root)
    assert "accuracy 0.812" in text or "accuracy 0.813" in text
    assert "balanced 0.750" in text
    assert "macro F1 0.625" in text
    assert receipts.digest(root / "dataset") in text
    assert receipts.digest(root / "model") in text
    assert "ab" * 32 in text
    assert "20 images of test" in text
    assert "kind 1.5000" in text
    assert "`<script>alert(1)</script>`" in text
    assert "<script" not in re.sub(r"`[^`]*`", "", text)


def test_the_program_on_the_card_runs_and_says_what_the_model_says(root: Path) -> None:
    program = re.search(r"```python\n(.*?)```", card(root), re.DOTALL)
    assert program is not None
    files = sorted((root / "dataset" / "examples").iterdir())
    done = subprocess.run([sys.executable, "-c", program[1], *files], cwd=root / "exported", capture_output=True,
                          text=True, check=True)
    dataset = Dataset.open(root / "dataset")
    rows = np.array([list(dataset.samples["id"]).index(path.stem) for path in files])
    expected = softmax(logits_of(load_model(root / "model"), dataset, rows)["kind"] / 1.5, axis=1)
    lines = [line for line in done.stdout.splitlines() if " kind {" in line]
    assert len(lines) == len(files)
    for line, row in zip(lines, expected, strict=True):
        assert line.endswith(f"{ {KIND[row.argmax()]: round(float(line.split()[-1][:-1]), 4)} }")
        assert float(line.split()[-1][:-1]) == pytest.approx(row.max(), abs=2e-4)


def test_a_graph_that_differs_too_much_is_not_written(root: Path, tmp_path: Path) -> None:
    inputs = {"dataset": root / "dataset", "model": root / "model", "evaluation": root / "evaluation.json"}
    with pytest.raises(UserError, match=r"probabilities of \w+ differ from the model's by"):
        run(tmp_path, inputs, max_difference=1e-12)
    assert not (tmp_path / "exported").exists()
    assert not (tmp_path / "metrics.json").exists()


def test_pixels_that_are_not_those_of_the_dataset_stop_the_export(tmp_path: Path) -> None:
    inputs = made(tmp_path)
    dataset = Dataset.open(inputs["dataset"])
    for name in dataset.head["shards"]["files"]:
        pixels = np.load(inputs["dataset"] / "shards" / name)
        np.save(inputs["dataset"] / "shards" / name, pixels ^ 1)
    reseal(inputs["dataset"])
    with pytest.raises(UserError, match=r"decodes to other pixels than the Dataset holds \(largest difference 1\)"):
        run(tmp_path, inputs)


def test_a_model_that_was_not_evaluated_is_refused(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "evaluation.json"
    inputs = {"dataset": root / "dataset", "model": root / "model", "evaluation": other}
    for text, words in (('{"student": {}}', "no figures of model distilled"), ("{", "is no JSON")):
        other.write_text(text)
        with pytest.raises(UserError, match=words):
            run(tmp_path, inputs)


def test_a_dataset_without_examples_cannot_prove_a_graph(tmp_path: Path) -> None:
    inputs = made(tmp_path)
    head = inputs["dataset"] / "dataset.json"
    head.write_text(json.dumps(json.loads(head.read_text()) | {"examples": []}))
    reseal(inputs["dataset"])
    with pytest.raises(UserError, match="holds no example files"):
        run(tmp_path, inputs)
