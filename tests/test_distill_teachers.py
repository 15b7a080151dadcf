"""Whom the step `distill` hears, and what it says of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from small_models import write_photographs, write_small_model
from small_stores import votes, write_store

from components.cli import main
from components.contract import load_step, run_step
from components.data.curriculum_settings import Curriculum
from components.data.dataset import Dataset
from components.data.loader import Batch
from components.data.tasks import Task
from components.distill import Distill, goal_of
from components.errors import UserError
from components.losses.kept import Kept, mean_kept
from components.losses.ranks import ALONE
from components.probabilities.ensemble_settings import Ensemble
from components.probabilities.mixing import Voice
from components.probabilities.store import Store, StoreWriter
from components.probabilities.targets import Asked, read_targets
from components.probabilities.voices import Choir, choose
from components.settings import Params
from components.storage import receipts

PARAMS = """
seed: 3
student:
  epochs: 1
  sizes: [24]
  model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [4, 8, 8, 8], stem_type: deep, stem_width: 4}}
runtime: {tracking: false, threads: 1}
"""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which `wise` knows most kinds of garment, `dull` none, and a student with modest figures."""
    root = tmp_path_factory.mktemp("heard")
    dataset, chance = Dataset.open(write_photographs(root / "dataset")), np.random.default_rng(4)
    kinds = np.maximum(dataset.labels(dataset.tasks[0]), 0)
    trims = np.nan_to_num(dataset.labels(dataset.tasks[1]))[:, None]
    known = {"kind": votes(chance, np.eye(4)[kinds], 3, 3.0), "trim": np.repeat(0.2 + 0.6 * trims, 3, axis=1)}
    dull = {"kind": np.full((len(dataset), 3, 4), 0.25), "trim": np.repeat(0.8 - 0.6 * trims, 3, axis=1)}
    write_store(root / "store", dataset, {"dull": dull, "wise": known}, dataset=receipts.digest(dataset.path))
    write_small_model(root / "student", "student", dataset)
    head = json.loads((root / "student" / "model.json").read_text())
    head["training"]["val"] = {f"val/{task}/{name}": value for task in ("kind", "trim")
                               for name, value in (("accuracy", 0.5), ("loss", 1.0))}
    (root / "student" / "model.json").write_text(json.dumps(head))
    (root / "student" / "receipt.json").unlink()
    return root


def distilled(artifacts: Path, root: Path, *sets: str,
              store: Path | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """The teachers as the student's head has them."""
    (root / "params.yaml").write_text(PARAMS)
    values = Params.load(root / "params.yaml", sets)
    run_step(load_step("distill"), values.section("distill"), "distill", {
        "dataset": artifacts / "dataset", "probabilities": store or artifacts / "store",
        "student": artifacts / "student", "model": root / "model", "metrics": root / "d.json",
        "curves": root / "d.csv"})
    heard: dict[str, dict[str, dict[str, float]]] = json.loads(
        (root / "model" / "model.json").read_text())["training"]["teachers"]
    return heard


def test_a_teacher_that_does_not_beat_the_plain_student_is_not_heard(
        artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    heard = distilled(artifacts, tmp_path)
    assert {task: list(voices) for task, voices in heard.items()} == {"kind": ["wise"], "trim": ["wise"]}
    assert heard["kind"]["wise"]["weight"] == 1 and heard["kind"]["wise"]["temperature"] != 1
    assert "warning: distill: dull is no better than the plain student at kind" in capsys.readouterr().err


def test_force_hears_all_with_a_warning_and_given_weights(
        artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    heard = distilled(artifacts, tmp_path, "distill.teachers.force=true", "distill.teachers.weights={wise: 3}",
                      "distill.teachers.mean=logits", "distill.teachers.calibrate=false")
    assert heard["kind"] == {"dull": {"temperature": 1.0, "weight": 0.25}, "wise": {"temperature": 1.0, "weight": 0.75}}
    assert "is heard all the same" in capsys.readouterr().err


def test_without_force_a_student_that_none_beats_is_refused_with_the_remedy(
        artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no teacher is better") as caught:
        distilled(artifacts, tmp_path, "distill.teachers.weights={wise: 0}")
    assert "distill.teachers.force: true" in caught.value.remedy
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("heat", [3.0, 1.0])
def test_a_task_that_nobody_speaks_of_beside_scaled_soft_targets_is_said(
        artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        heat: float) -> None:
    monkeypatch.chdir(tmp_path)
    heard = distilled(artifacts, tmp_path, "distill.teachers.tasks={trim: {wise: 0, dull: 0}}",
                      f"distill.temperature={heat}")
    assert heard["kind"] and not heard["trim"]
    said = "soft targets of the other tasks count 3 squared: if trim falls behind the plain student"
    assert (said in capsys.readouterr().err) == (heat > 1)


@pytest.mark.parametrize("of", ["kind", "trim"])
def test_a_store_of_some_tasks_teaches_those_and_labels_the_others(
        artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        of: str) -> None:
    monkeypatch.chdir(tmp_path)
    whole, where = Store.open(artifacts / "store"), ["--dataset", str(artifacts / "dataset")]
    assert main(["exchange", "export", "--task", of, "--probabilities", str(whole.path), "--out", "text", *where]) == 0
    assert main(["exchange", "import", "text/distill_wise.txt", "--task", of, "--out", "imported", *where]) == 0
    assert main(["ensemble", str(whole.path), "imported", "--out", "both", "--metrics", "e.json", "--partial",
                 *where]) == 0
    assert main(["ensemble", "imported", "--task", of, "--out", "one", "--metrics", "e.json", *where]) == 0
    other = "trim" if of == "kind" else "kind"
    for store in ("imported", "one"):
        heard = distilled(artifacts, tmp_path, store=tmp_path / store)
        assert len(heard[of]) == 1 and heard[other] == {}
        said = capsys.readouterr().err
        assert f"the store says nothing of {other}, which is learnt from labels alone" in said
        assert f"if {other} falls behind the plain student" in said
    assert distilled(artifacts, tmp_path, store=tmp_path / "both")[other]


def test_a_store_of_other_tasks_or_of_another_dataset_is_refused(artifacts: Path, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset, hue = Dataset.open(artifacts / "dataset"), Task("hue", "single", ("red", "blue"))
    said = {"a": {"hue": np.full((len(dataset), 1, 2), 0.5)}}
    for name, digest in (("strange", "ab" * 32), ("other", receipts.digest(dataset.path))):
        write_store(tmp_path / name, dataset, said, tasks=[hue.to_json()], dataset=digest)
    with pytest.raises(UserError, match="dataset is abab"):
        distilled(artifacts, tmp_path, store=tmp_path / "strange")
    with pytest.raises(UserError, match="speaks of hue, and not of kind, trim"):
        distilled(artifacts, tmp_path, store=tmp_path / "other")


@pytest.mark.parametrize(("wish", "counted"), [
    (Ensemble(), {0.25, 1.5}), (Ensemble(weights={"wise": 3.0}, force=True, mean="logits"), {0.25, 1.5}),
    (Ensemble(force=True, calibrate=False), {0.25}),
    (Ensemble(tasks={"trim": {"wise": 0, "dull": 0}}), {0.25, 1.0, 1.5}),
], ids=["gated", "weighed", "all", "one"])
def test_a_curriculum_hears_whom_the_targets_hear_with_their_weights_and_temperatures(
        artifacts: Path, wish: Ensemble, counted: set[float]) -> None:
    store, dataset = Store.open(artifacts / "store"), Dataset.open(artifacts / "dataset")
    bar = {f"val/{task}/{name}": value for task in ("kind", "trim")
           for name, value in (("accuracy", 0.5), ("loss", 1.0))}
    choir = choose(store, dataset, wish, bar)
    found = goal_of(Distill(curriculum=Curriculum(thresholds=(0.9, 0.0), weights=(1.5, 0.25))), dataset, store, ALONE,
                    choir).factor
    told = {task.name: written_out(store, dataset, task, choir) for task in dataset.tasks if choir.voices[task.name]}
    assert found is not None and ("trim" in told) == (not wish.tasks)
    seen = []
    for row in dataset.rows("train"):
        parts = []
        for task in (task for task in dataset.tasks if task.name in told):
            label, mean = dataset.labels(task)[row], told[task.name][row]
            if task.kind == "single" and label >= 0:
                parts.append(mean[label])
            elif task.kind == "multi" and not np.isnan(label).any():
                parts.append(np.where(label > 0.5, mean, 1 - mean).mean())
        seen.append((1.5 if np.mean(parts) >= 0.9 else 0.25) if parts else 1.0)
    assert found(0)[dataset.rows("train")].tolist() == seen
    assert set(seen) == counted


def written_out(store: Store, dataset: Dataset, task: Task, choir: Choir) -> np.ndarray:
    """What those who are heard say together of every sample at temperature 1, the mean over all views, [N, C]."""
    turn = (lambda logits: softmax(logits, axis=2)) if task.kind == "single" else expit
    parts = []
    for voice in choir.voices[task.name]:
        said = store.log_probabilities(voice.source, task.name, store.rows_of(dataset.ids)).astype(float)
        logits = said if task.kind == "single" else said - np.log(-np.expm1(said))
        parts.append((voice.weight, logits / voice.temperature))
    if choir.mean == "logits":
        return turn(sum(weight * logits for weight, logits in parts)).mean(axis=1)
    return sum(weight * turn(logits) for weight, logits in parts).mean(axis=1)


def batch(rows: list[int], view: int) -> Batch:
    return Batch(np.array(rows), np.full(len(rows), view), torch.zeros(len(rows)), {}, torch.ones(len(rows)))


@pytest.mark.parametrize("match", ["mean", "any"])
def test_targets_are_the_weighted_mean_and_nothing_where_nobody_is_heard(artifacts: Path, match: str) -> None:
    store, dataset = Store.open(artifacts / "store"), Dataset.open(artifacts / "dataset")
    choir = Choir("probabilities", {"kind": (Voice("dull", 0.25), Voice("wise", 0.75, 2.0)), "trim": ()})
    targets = read_targets(store, dataset, Asked(3.0, match, choir=choir))  # type: ignore[arg-type]
    rows = [4, 17, 2]
    wise = store.log_probabilities("wise", "kind", store.rows_of(dataset.ids[rows])).astype(float)[:, 1:] / 6.0
    soft = np.exp(wise) / np.exp(wise).sum(axis=2, keepdims=True)
    expected = 0.25 * 0.25 + 0.75 * (soft.mean(axis=1) if match == "mean" else soft[:, 0])
    assert np.allclose(targets.of("kind", batch(rows, 1)), expected, atol=1e-4)
    found = targets.of("trim", batch(rows, 1))
    assert not isinstance(found, Kept) and found.shape == (3, 3) and found.isnan().all()


def test_targets_of_likeliest_classes_are_weighted_and_calibrated_as_those_of_all(artifacts: Path,
                                                                                  tmp_path: Path) -> None:
    dataset, chance = Dataset.open(artifacts / "dataset"), np.random.default_rng(1)
    task = Task("kind", "single", tuple(f"c{number}" for number in range(30)))
    head = {"tasks": [task.to_json()], "sources": ["a", "b"], "views": [0, 1], "dataset": "d", "k": 4,
            "dtype": "float32"}
    writer = StoreWriter(tmp_path / "store", head, dataset.ids)
    for source in "ab":
        logits = chance.normal(0, 2, (len(dataset), 2, 30))
        writer.put(source, "kind", 0, logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))
    writer.finish()
    store = Store.open(tmp_path / "store")
    choir = Choir("probabilities", {"kind": (Voice("a", 0.8, 1.5), Voice("b", 0.2, 0.5))})
    wide = Dataset(dataset.path, dataset.head | {"tasks": [task.to_json()]})
    few, whole = (read_targets(store, wide, Asked(3.0, "any", flag, choir=choir)).of("kind", batch([3, 8], 1))
                  for flag in (True, False))
    assert isinstance(few, Kept) and not isinstance(whole, Kept)
    assert torch.allclose(few.dense(), whole, atol=1e-6)
    assert torch.allclose(mean_kept([few, few]).dense(), few.dense())


def test_of_untouched_images_alone_the_target_is_theirs(artifacts: Path, tmp_path: Path) -> None:
    dataset, chance = Dataset.open(artifacts / "dataset"), np.random.default_rng(1)
    said = {"kind": votes(chance, np.eye(4)[chance.integers(0, 4, len(dataset))], 1),
            "trim": chance.uniform(0.1, 0.9, (len(dataset), 1, 3))}
    store = write_store(tmp_path / "store", dataset, {"a": said}, dtype="float32")
    for match in ("mean", "any"):
        found = read_targets(store, dataset, Asked(1.0, match)).of("kind", batch([1, 5], 7))  # type: ignore[arg-type]
        assert np.allclose(found, said["kind"][[1, 5], 0], atol=1e-5)
