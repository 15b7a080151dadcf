"""The range test: its rates and losses against plain code, where it ends, and what it suggests."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_dataset import write_dataset

from components.cli import main
from components.data.dataset import Dataset
from components.losses.objective import supervised
from components.models.network import build_network
from components.settings import Params
from components.train import Train
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.rates import Climb, Climbed, _climbed, climb, smoothed, suggestions
from components.training.schedule_settings import Schedule

PARAMS = """
seed: 2
student:
  model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8]}}
  sizes: [[12, 10], [16, 14]]
  batch: 8
  optimizer: {name: sgd, layer_decay: 0.5}
teachers: {"big": {model: {name: "resnet18"}}}
runtime: {device: cpu, threads: 1, tracking: false}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data" / "dataset", count=96)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def settings() -> Train:
    found = Params.load(Path("params.yaml")).section("student").resolved()
    assert isinstance(found, Train)
    return found


def quiet(batches, total):
    return batches


def test_the_losses_are_those_of_a_training_at_these_rates(here: Path) -> None:
    """A training whose schedule is made to give the same rates, over three epochs: the same mean losses by epoch."""
    wish, dataset = settings().model_copy(update={"sizes": ((16, 14),)}), Dataset.open(Path("data/dataset"))
    per_epoch = len(dataset.rows("train")) // 8
    climbing = Climb(3 * per_epoch, 1e-4, 0.2)
    goal = Goal("x", wish, supervised(dataset.tasks), 2)
    found = climb(goal, dataset, torch.device("cpu"), climbing, quiet)
    assert len(found.losses) == 3 * per_epoch and found.ended == f"all {3 * per_epoch} steps were made"
    assert np.allclose(np.diff(np.log(found.rates)), np.log(2000) / (3 * per_epoch - 1))
    assert (found.rates[0], found.rates[-1]) == (1e-4, pytest.approx(0.2))
    rates = [climbing.rate(step) / wish.optimizer.lr for step in range(3 * per_epoch)]
    ladder = Schedule(name="piecewise", warmup=0.0, ratios=tuple(rates),
                      steps=tuple(step / per_epoch for step in range(1, 3 * per_epoch)))
    trained = fit(Goal("x", wish.model_copy(update={"schedule": ladder, "epochs": 3}), supervised(dataset.tasks), 2),
                  dataset, Surroundings(torch.device("cpu"), here / "work", lambda: False,
                                        lambda metrics, epoch: None, quiet))
    assert trained is not None
    means = found.losses.reshape(3, per_epoch).mean(axis=1)
    assert [row["train/loss"] for row in trained.history] == pytest.approx(means.tolist(), rel=1e-6)


def test_the_first_loss_is_that_of_the_network_as_it_was_drawn(here: Path) -> None:
    dataset = Dataset.open(Path("data/dataset"))
    seen: list[torch.Tensor] = []

    def objective(outputs, batch):
        losses, parts = supervised(dataset.tasks)(outputs, batch)
        seen.append(losses.detach())
        return losses, parts

    found = climb(Goal("x", settings(), objective, 2), dataset, torch.device("cpu"), Climb(20), quiet)
    assert found.losses.tolist() == pytest.approx([float(one.mean()) for one in seen], rel=1e-6)
    untouched = build_network(settings().model, dataset.tasks, (16, 14), 2)
    assert found.losses[0] == pytest.approx(np.log(2) + np.log(3) * 6 / 7, rel=0.15) and len(list(untouched.heads)) == 2


def test_a_climb_ends_where_the_loss_is_four_times_its_lowest_or_no_number() -> None:
    wish = Climb(100, 1e-4, 1.0)
    flat = [1.0] * 30
    high = _climbed(wish, iter([*flat, *[50.0] * 60]))
    assert len(high.losses) == 31 and high.ended == "the loss was 4 times its lowest"
    assert len(_climbed(wish, iter([*flat, *[3.9] * 200])).losses) == 100
    lost = _climbed(wish, iter([*flat, float("nan"), 1.0]))
    assert len(lost.losses) == 30 and lost.ended == "the loss was no number"
    early = _climbed(wish, iter([1.0, 9.0, *[9.0] * 98]))
    assert len(early.losses) == 10


def test_the_rules_find_the_steepest_and_a_tenth_of_the_lowest_on_a_known_curve() -> None:
    """A logistic fall whose middle is at 1e-3, then a rise; with noise that a plain difference would drown in."""
    rates = np.geomspace(1e-6, 10, 400)
    place = np.log10(rates)
    curve = 3 - 2 / (1 + np.exp(-(place + 3) * 4)) + np.exp(3 * (place - 0.5))
    for noise in (0.0, 0.08):
        losses = curve + noise * np.random.default_rng(3).normal(size=400)
        found = suggestions(Climbed(rates, losses, ""))
        assert abs(np.log10(found["steepest"]) + 3) < 0.25
        at = int(np.abs(rates - 10 * found["tenth"]).argmin())
        assert curve[at] < curve.min() + 0.1


@pytest.mark.parametrize("losses", [
    np.random.default_rng(0).normal(2, 0.1, 200),
    np.random.default_rng(1).normal(2, 0.1, 200) + np.linspace(0, 3, 200),
    np.array([2.0, 1.0, 9.0]),
], ids=["wavering", "rising", "short"])
def test_a_loss_that_only_wavers_suggests_nothing(losses: np.ndarray) -> None:
    assert suggestions(Climbed(np.geomspace(1e-5, 1, len(losses)), losses, "")) == {}


def test_a_smoothed_loss_is_a_weighted_mean_by_a_loop() -> None:
    losses = np.random.default_rng(0).normal(size=60)
    expected = []
    for step in range(60):
        near = [(other, 4 - abs(other - step)) for other in range(60) if abs(other - step) < 4]
        expected.append(sum(losses[other] * weight for other, weight in near) / sum(weight for _, weight in near))
    assert np.allclose(smoothed(losses), expected)


def test_the_command_writes_its_files_and_prints_the_line_to_set(
        here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["range-test", "student", "--steps", "60", "--low", "1e-4", "--high", "1",
            "--set", "student.optimizer.name=adamw", "--set", "student.augment.erase=0.0"]
    assert main(line) == 0
    printed = capsys.readouterr().out
    folder = here / "reports" / "range-test" / "student"
    told = json.loads((folder / "range.json").read_text())
    assert printed.startswith(f"student.optimizer.lr: {told['suggestion']:.2g}   # tenth: a tenth of the rate")
    assert told["suggestion"] == told["suggested"]["tenth"] and told["made"] <= 60
    with (folder / "loss.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["step", "rate", "loss", "smoothed"] and len(rows) == told["made"]
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:image/png)', page) and f"{told['suggestion']:.2g}" in page


def test_where_nothing_can_be_suggested_the_files_show_why_the_same_each_time(
        here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("y", "x"):
        assert main(["range-test", "student", "--steps", "20", "--low", "1e-9", "--high", "1e-8", "--out", name]) == 1
    for file in (here / "y").iterdir():
        assert file.read_bytes() == (here / "x" / file.name).read_bytes()
    told = capsys.readouterr()
    assert "no rate is suggested" in told.err and "wrote loss.csv, page.html, range.json to x" in told.out
    assert json.loads((here / "x" / "range.json").read_text())["suggestion"] is None
    assert "No rate is suggested" in (here / "x" / "page.html").read_text()


@pytest.mark.parametrize(("line", "told"), [
    (["index"], "nothing is trained by section index"), (["studnt"], "studnt is not a section"),
    (["student", "--steps", "3"], "at least 20"), (["student", "--low", "1", "--high", "0.1"], "below --high")])
def test_what_cannot_be_tested_is_answered_with_what_can(here: Path, line: list[str], told: str,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["range-test", *line]) in (1, 2)
    assert told in capsys.readouterr().err
