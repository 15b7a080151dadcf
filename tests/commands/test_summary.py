"""What `stillhouse summary` prints, and what it says where there is nothing to print."""

import json
import os
from pathlib import Path

import pytest

from components.cli import main
from components.commands import summary
from components.storage.digests import file_digest


def figures(accuracy: float, tasks: tuple[str, ...] = ("category", "colour", "pattern")) -> dict[str, object]:
    one = {"accuracy": accuracy, "balanced_accuracy": accuracy - 0.05, "ece": 0.03, "f1_macro": 0.5, "log_loss": 1.0}
    splits = {split: dict.fromkeys(tasks, one) for split in ("test", "val")}
    return {"parameters": 1_234_567, "megabytes": 4.94} | splits


def write(folder: Path, models: dict[str, object], latency: dict[str, float] | None = None) -> None:
    path = folder / "reports" / "evaluate" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(models, sort_keys=True))
    (path.parent / "report.html").write_text("")
    if latency is not None:
        old = {"outputs": {"metrics": "0" * 64}, "latency_ms": dict.fromkeys(latency, 99.0)}
        run = {"outputs": {"metrics": file_digest(path)}, "latency_ms": latency}
        (path.parent / "run.json").write_text(json.dumps({"a": run, "b": old}))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


MODELS = {"student": figures(0.71), "wide": figures(0.82), "distilled": figures(0.73), "deep": figures(0.80)}


def test_the_table_fits_a_terminal_and_marks_the_best(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, MODELS, {"wide": 9.5, "deep": 12.25, "student": 1.5, "distilled": 1.75})
    assert main(["summary"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    lines = {line[:13].strip(): line for line in text.splitlines()}
    assert lines["wide"].count(".820*") == 3
    assert ".800 " in lines["deep"]
    assert "1.50*" in lines["plain student"]
    assert "1.23 M" in lines["distilled"]
    assert ".030*" not in text  # all alike: none is the best
    assert "99.0" not in text
    rows = [line.split()[0] for line in text.splitlines() if line[:5] in ("deep ", "wide ", "plain", "disti")]
    assert rows == ["deep", "wide", "plain", "distilled"]


def test_it_says_where_to_look_further(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, MODELS)
    (here / "exported").mkdir()
    (here / "exported" / "model.onnx").write_bytes(b"\0" * 5_000_000)
    (here / "reports" / "export").mkdir()
    (here / "reports" / "export" / "metrics.json").write_text('{"max_difference": 1.2e-07}')
    assert main(["summary"]) == 0
    text = capsys.readouterr().out
    assert os.path.join("reports", "evaluate", "report.html") in text
    assert "exported/model.onnx  (5.00 MB; probabilities within 1e-07 of the model's)" in text
    assert "make mlflow" in text
    assert "stillhouse trace exported" in text


def test_the_verdict_of_the_gate_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, MODELS)
    file = here / "reports" / "compare" / "verdict.json"
    file.parent.mkdir()
    mean = {"difference": 0.0123, "low": 0.003, "high": 0.021}
    file.write_text(json.dumps({"verdict": "better", "champion": "ab" * 32, "mean": mean, "promote": True,
                                "rule": {"metric": "accuracy"}}))
    assert main(["summary"]) == 0
    assert ("verdict    better: better than the champion abababababab, accuracy +1.2 points (+0.3 to +2.1 points); "
            "may be promoted: stillhouse publish\n") in capsys.readouterr().out
    file.write_text(json.dumps({"verdict": "first", "champion": None, "mean": None, "promote": False, "rule": {}}))
    main(["summary"])
    assert "verdict    first: the first model of this registry\n" in capsys.readouterr().out


def test_a_speed_that_belongs_to_other_figures_is_not_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, MODELS, {"wide": 9.5, "deep": 12.25, "student": 1.5, "distilled": 1.75})
    path = here / "reports" / "evaluate" / "metrics.json"
    path.write_text(path.read_text().replace("0.82", "0.83"))
    main(["summary"])
    assert "9.50" not in capsys.readouterr().out


def test_many_tasks_go_into_blocks_and_every_one_is_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = tuple(f"a task with a name of some length {i}" for i in range(8))
    write(here, {"student": figures(0.5, tasks), "distilled": figures(1.0, tasks)})
    main(["summary"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("1.000*") == 8


def test_a_task_with_several_true_labels_has_figures_of_its_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {name: {"parameters": 10, "megabytes": 1.0, "val": {"trim": {
        "subset_accuracy": value, "f1_macro": value / 2, "ece": 0.1, "mean_average_precision": 0.2}}}
        for name, value in (("student", 0.25), ("distilled", 0.5))}
    write(here, models)
    main(["summary"])
    text = capsys.readouterr().out
    assert "The models on val" in text
    assert ".500*" in text
    assert "all labels of a sample right" in text


@pytest.mark.parametrize(("content", "words"), [
    (None, "no model has been evaluated yet"), ("{", "is no JSON"), ("[]", "holds no figures"),
    ("{}", "holds no figures"),
    ('{"student": {"parameters": 3}}', "no figures of any split")])
def test_nothing_to_show_is_said_with_a_remedy(content: str | None, words: str, here: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        (here / "reports" / "evaluate").mkdir(parents=True)
        (here / "reports" / "evaluate" / "metrics.json").write_text(content)
    assert main(["summary"]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "remedy: " in error


def test_a_long_name_of_a_task_is_shortened_to_its_columns() -> None:
    block = [summary.column("x" * 50, name, [0.5, 0.25]) for name in ("accuracy", "ece")]
    (line,) = summary.heads(block, 4)
    assert line.endswith("…")
    assert len(line) <= 4 + summary.span(block)


def test_the_structure_of_a_network_is_a_tree_of_its_parts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "resnet18", "--classes", "6", "--size", "64", "48", "--depth", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("resnet18 looks at 64 x 48 pixels")
    network, layer, head = (next(line for line in out.splitlines() if line.strip().startswith(start)) for start in
                            ("Network", "layer4 Sequential", "class LinearHead"))
    assert "11,179,590" in network and "512 x 2 x 2" in layer and "3,078" in head
    assert max(map(len, out.splitlines())) <= 100 and "parts further in: --depth 4" in out
    assert "layer4.0" not in out and "conv2" not in out


def test_a_sealed_model_tells_its_tasks_before_its_parts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from small_models import write_photographs, write_small_model

    from components.data.dataset import Dataset

    dataset = Dataset.open(write_photographs(here / "dataset", 12))
    write_small_model(here / "models/student", "student", dataset)
    assert main(["summary", "models/student"]) == 0
    out = capsys.readouterr().out
    assert "student looks at 24 x 24 pixels" in out
    for task in dataset.tasks:
        assert f"{task.name} ({task.kind}, {len(task.classes)}): {task.classes[0]}" in out


def test_a_section_of_params_yaml_is_a_network_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "{layers: [1, 1, 1, 1], channels: [8, 8, 16, 16]}"
    (here / "params.yaml").write_text(f"student: {{model: {{name: resnet18, options: {options}}}}}\n")
    assert main(["summary", "student", "--size", "32", "--classes", "2"]) == 0
    assert "16 x 1 x 1" in capsys.readouterr().out
