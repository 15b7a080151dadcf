"""The steps `teach` and `distill` on small models: every loss and match, mixed views, images without labels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import write_photographs, write_small_model

from components.contract import load_step, run_step
from components.data.augment_settings import Augment, Overlay
from components.data.batch_settings import Mix
from components.data.curriculum_settings import Curriculum
from components.data.dataset import Dataset
from components.data.loader import Batches, load
from components.data.sampler_settings import Sampler
from components.data.samplers.choice import KINDS
from components.data.samplers.pool import gather, notes
from components.distill import Distill, goal_of, notes_of, objective_of
from components.errors import UserError
from components.losses.distillation import blended
from components.losses.imitation_settings import Decoupled, Likeness
from components.losses.objective import memory_of
from components.losses.ranks import ALONE
from components.models.artifact import load_model
from components.models.outputs import Outputs
from components.models.settings import Architecture
from components.probabilities.judging import Program
from components.probabilities.live import Live
from components.probabilities.store import Store
from components.probabilities.targets import Asked, read_targets
from components.runtime import Runtime
from components.teach import Teach
from components.training.fitting import Surroundings, fit
from components.training.goals import losses_of
from components.training.optimizer_settings import Optimizer
from components.training.settings import Recipe

TEACHERS = ("deep", "wide")
TINY = Architecture(name="resnet18", options={"layers": [1] * 4, "channels": [4] * 4})
PLAIN = Augment(rotate=10)
MIXED = Augment(mix=Overlay(mixup=0.5, cutmix=0.4))


def runtime(root):
    return Runtime(tracking=False, threads=1, device="cpu", work=str(root / "work"), reports=str(root / "reports"))


def student(**changes):
    base = {"model": TINY, "epochs": 1, "batch": 8, "sizes": (16,), "precision": "fp32", "augment": PLAIN}
    return Recipe(**(base | changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("distilled")
    dataset = Dataset.open(write_photographs(root / "dataset"))
    for number, name in enumerate(TEACHERS):
        write_small_model(root / "teachers" / name, name, dataset, number)
    for name, augment in (("plain", PLAIN), ("mixed", MIXED)):
        wish = Teach(views=2, embedding=True, augment=augment, teachers=TEACHERS, seed=7, runtime=runtime(root))
        run_step(load_step("teach"), wish, "teach", {
            "dataset": root / "dataset", "teachers": root / "teachers", "probabilities": root / name,
            "metrics": root / f"{name}.json"})
    return root


def distilled(root, folder, store="plain", **changes):
    """Run the step and open what it made."""
    wish = Distill(**({"student": student(), "seed": 7, "runtime": runtime(folder)} | changes))
    run_step(load_step("distill"), wish, "distill", {
        "dataset": root / "dataset", "probabilities": root / store, "student": root / "teachers" / "deep",
        "model": folder / "model", "metrics": folder / "metrics.json", "curves": folder / "curves.csv"})
    return load_model(folder / "model"), json.loads((folder / "metrics.json").read_text())


def around(work, stop=lambda: False):
    return Surroundings(torch.device("cpu"), work, stop, lambda metrics, epoch: None, lambda batches, _: batches,
                        save_seconds=1e9)


@pytest.mark.parametrize(("loss", "match"), [
    ("kd", "mean"), ("kd", "exact"), ("kd", "any"), ("dkd", "mean"), ("dist", "any"), ("meal", "exact")])
def test_every_loss_and_match_makes_a_model(root, tmp_path, loss, match):
    model, metrics = distilled(root, tmp_path, loss=loss, match=match)
    assert model.name == "distilled" and np.isfinite(metrics["val/loss"])
    assert (tmp_path / "curves.csv").read_text().count("\n") == 2


def test_a_student_learns_from_mixed_views_that_its_teachers_judged(root, tmp_path):
    """The head says so, and figures of training images are those of the untouched ones alone."""
    assert Store.open(root / "mixed").head["mixed"] is True and Store.open(root / "plain").head["mixed"] is False
    train = json.loads((root / "mixed.json").read_text())["deep"]["train"]["kind"]
    val = json.loads((root / "mixed.json").read_text())["deep"]["val"]["kind"]
    assert set(train) == {"clean"} and set(val) == {"clean", "view", "mean"}
    model, _ = distilled(root, tmp_path, "mixed", match="exact", student=student(augment=MIXED))
    assert model.name == "distilled"


@pytest.mark.parametrize("augment", [PLAIN, MIXED.model_copy(update={"mix": Overlay(mixup=0.5)})])
def test_views_that_no_teacher_judged_are_refused(root, tmp_path, augment):
    with pytest.raises(UserError, match=r"augmentation is .*; expected "):
        distilled(root, tmp_path, "mixed", match="exact", student=student(augment=augment))


@pytest.mark.parametrize("match", ["mean", "any"])
def test_what_is_said_of_a_mixed_view_is_no_target_for_another(match):
    with pytest.raises(ValueError, match=r"match: exact beside student\.augment\.mix"):
        Distill(match=match, student=student(augment=MIXED))
    assert Distill(match=match, student=student(mix=Mix(mixup=1.0))).student.mix.on


def test_what_is_set_and_not_read_is_said(root, tmp_path, capsys):
    assert notes_of(Distill()) == [] and notes_of(Distill(loss="meal", temperature=1.0, weight=1.0)) == []
    assert notes_of(Distill(dkd=Decoupled(others=2.0))) == ["distill.dkd is not read by loss: kd"]
    distilled(root, tmp_path, loss="meal")
    assert ("warning: distill: meal knows soft targets alone: temperature 1 and weight 1, not 3 and 0.7"
            in capsys.readouterr().err)


def test_a_stored_teacher_teaches_what_a_live_one_does(root, tmp_path):
    """The same views, steps and seed; the store holds half precision."""
    dataset, store = Dataset.open(root / "dataset"), Store.open(root / "plain")
    wish = Distill(match="exact", student=student(epochs=4), seed=7)
    goal = goal_of(wish, dataset, store, ALONE)
    models = [load_model(root / "teachers" / name) for name in TEACHERS]
    live = Live(models, dataset, Program(PLAIN, 7, dataset.size), 3.0)
    other = replace(goal, objective=blended(losses_of(wish.student, dataset, "x"), live.of, wish.shares()))
    stored, asked = (fit(one, dataset, around(tmp_path / str(place))) for place, one in enumerate((goal, other)))
    for ours, theirs in zip(stored.history, asked.history, strict=True):
        assert ours["train/loss"] == pytest.approx(theirs["train/loss"], rel=3e-3)
    plain = fit(replace(goal, objective=objective_of(wish.model_copy(update={"weight": 0.0}), dataset,
                                                     goal_targets(store, dataset), ALONE)), dataset,
                around(tmp_path / "no"))
    assert abs(plain.history[-1]["train/loss"] / stored.history[-1]["train/loss"] - 1) > 0.05


def goal_targets(store, dataset):
    return read_targets(store, dataset, Asked(3.0, "exact"))


def without(dataset, rows):
    """The Dataset with no label for some rows."""
    dataset.samples.loc[rows, "kind"] = -1
    for row in rows:
        dataset.samples.at[row, "trim"] = None
    return dataset


def test_images_without_any_label_are_learnt_from_by_soft_targets_alone(root, tmp_path):
    dataset, store = Dataset.open(root / "dataset"), Store.open(root / "plain")
    bare = dataset.rows("train")[::3]
    dataset = without(dataset, bare)
    wish = Distill(match="exact", student=student(epochs=2), seed=7)
    goal, seen = goal_of(wish, dataset, store, ALONE), {}

    def watched(outputs, batch):
        losses, parts = goal.objective(outputs, batch)
        for place, row in enumerate(batch.rows.tolist()):
            labelled = batch.labels["kind"][place] >= 0 or not batch.labels["trim"][place].isnan().any()
            seen.setdefault(row, []).append((bool(labelled), float(losses[place].detach())))
        return losses, parts

    assert fit(replace(goal, objective=watched), dataset, around(tmp_path)) is not None
    assert set(bare) & seen.keys() and all(loss > 0 for told in seen.values() for _, loss in told)
    assert {row for row, told in seen.items() if not told[0][0]} <= set(bare.tolist())


def test_where_one_task_has_no_label_its_teachers_speak_and_its_label_is_silent(root):
    dataset, store = Dataset.open(root / "dataset"), Store.open(root / "plain")
    rows = dataset.rows("train")
    unlabelled = dataset.labels(dataset.tasks[0])[rows] < 0
    assert unlabelled.any() and not unlabelled.all()
    (batch,) = load(Batches(dataset, [(rows, 1)], 7, PLAIN))
    chance = torch.Generator().manual_seed(0)
    logits = {task.name: torch.randn(len(rows), len(task.classes), generator=chance) for task in dataset.tasks}
    found = {}
    for weight in (0.0, 0.7):
        goal = goal_of(Distill(match="exact", weight=weight, seed=7, student=student()), dataset, store, ALONE)
        found[weight] = goal.objective(Outputs(logits, torch.zeros(1), torch.zeros(1)), batch)[1]["kind"]
    assert (found[0.0][unlabelled] == 0).all() and (found[0.0][~unlabelled] > 0).all() and (found[0.7] > 0).all()


@pytest.mark.parametrize("name", ["shuffled", "balanced", "adaptive"])
def test_samplers_draw_images_without_labels_too(root, name):
    dataset = Dataset.open(root / "dataset")
    rows = dataset.rows("train")
    dataset = without(dataset, rows[::3])
    pool = gather(dataset, rows, Sampler(name=name), 5, 0)
    memory = KINDS[name].begin(pool)
    drawn = np.concatenate([draw.rows for epoch in range(3) for draw in KINDS[name].plan(pool, epoch, memory)])
    assert set(rows[::3].tolist()) & set(drawn.tolist())


def test_a_sampler_of_tasks_says_that_it_leaves_out_images_without_labels(root):
    dataset = Dataset.open(root / "dataset")
    rows = dataset.rows("train")
    dataset = without(dataset, rows[:4])
    pool = gather(dataset, rows, Sampler(name="tasks"), 5, 0)
    (note,) = notes(pool, pool)
    assert note.startswith("4 of 20 training images have no label and are left out")


def test_a_curriculum_weighs_labelled_images_and_others_as_it_is_told_to(root):
    dataset, store = Dataset.open(root / "dataset"), Store.open(root / "plain")
    bare = dataset.rows("train")[::3]
    dataset = without(dataset, bare)
    steps = {"thresholds": (0.5, 0.0), "weights": (1.0, 0.25)}
    for missing, expected in ((None, 1.0), (0.5, 0.5)):
        pace = Curriculum(**steps, missing=missing)
        goal = goal_of(Distill(curriculum=pace, student=student(), seed=7), dataset, store, ALONE)
        assert (goal.factor(0)[bare] == expected).all()


@pytest.mark.parametrize("by", ["cosine", "mse"])
def test_embeddings_are_led_to_the_teachers_and_their_maps_survive_a_restart(root, tmp_path, by):
    dataset, store = Dataset.open(root / "dataset"), Store.open(root / "plain")
    wish = Distill(match="exact", embedding=Likeness(weight=2.0, by=by), seed=7,
                   student=student(epochs=8, optimizer=Optimizer(lr=0.03)))
    goal = goal_of(wish, dataset, store, ALONE)
    maps = memory_of(goal.objective).maps
    assert {name: tuple(one.weight.shape) for name, one in maps.items()} == dict.fromkeys(TEACHERS, (8, 4))
    whole = fit(goal, dataset, around(tmp_path / "whole"))
    kept = {name: one.weight.detach().clone() for name, one in maps.items()}
    curve = [row["train/embedding"] for row in whole.history]
    assert curve[-1] < curve[0]
    asked = iter(range(1000))
    again = goal_of(wish, dataset, store, ALONE)
    assert fit(again, dataset, around(tmp_path / "parts", lambda: next(asked) >= 3)) is None
    resumed = fit(goal_of(wish, dataset, store, ALONE), dataset, around(tmp_path / "parts"))
    assert resumed.history == whole.history
    theirs = resumed.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in whole.network.state_dict().items())
    assert not any("map" in name for name in theirs) and kept.keys() == maps.keys()


def test_a_store_without_embeddings_is_refused_before_the_first_step(root, tmp_path):
    wish = Teach(views=1, augment=PLAIN, teachers=TEACHERS, seed=7, runtime=runtime(tmp_path))
    run_step(load_step("teach"), wish, "teach", {
        "dataset": root / "dataset", "teachers": root / "teachers", "probabilities": tmp_path / "bare",
        "metrics": tmp_path / "bare.json"})
    dataset, store = Dataset.open(root / "dataset"), Store.open(Path(tmp_path / "bare"))
    with pytest.raises(UserError, match="holds no embeddings"):
        goal_of(Distill(embedding=Likeness(weight=1.0), student=student(), seed=7), dataset, store, ALONE)
