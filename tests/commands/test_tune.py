"""`stillhouse tune`: every way is measured on real steps, and what it prints can be put into params.yaml."""

import re
from pathlib import Path

import pytest
import torch
from noisy_dataset import write_dataset
from ruamel.yaml import YAML

from components.cli import main
from components.settings import Params
from components.training import tuning
from components.training.settings import Recipe
from components.training.tuning import Course, Way, begin, goal_of, usual, ways

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PARAMS = """
seed: 3
data: {path: data/raw}
student:
  model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [4, 4, 8, 8]}}
  batch: 8
  sizes: [16]
  precision: fp32
  memory_format: contiguous
runtime: {threads: 1, device: cpu}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "dataset")
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def tuned(place: Path, *more: str) -> int:
    return main(["tune", "student", "--dataset", str(place / "dataset"), "--params", str(place / "params.yaml"),
                 "--rounds", "2", "--steps", "1", *more])


def test_every_way_has_a_line_in_order_of_speed_and_the_fastest_is_written_out(place, capsys, monkeypatch):
    monkeypatch.setattr(tuning, "cpu_has_bf16", lambda: True)
    speeds = {"channels_last": 0.5, "contiguous": 1.0}
    monkeypatch.setattr(Course, "speed", lambda course: 8 / speeds[course.way.memory_format])
    assert tuned(place) == 0
    printed = capsys.readouterr().out
    assert "student: resnet18, 16 x 13 pixels, batches of 8, cpu" in printed
    lines = [line.split() for line in printed.splitlines() if re.match(r"\d+\.\d  ", line)]
    assert len(lines) == 4 and [line[0] for line in lines] == ["16.0"] * 2 + ["8.0"] * 2
    assert {tuple(line[2:5]) for line in lines} == {
        (precision, layout, "off") for precision in ("fp32", "bf16") for layout in ("contiguous", "channels_last")}
    assert [line[1] for line in lines if "*" in line[1]] == ["1.00*"]
    assert "2.00 times as fast" in printed
    told = YAML(typ="safe").load("\n".join(line[4:] for line in printed.splitlines() if line.startswith("    ")))
    assert told["student"]["memory_format"] == "channels_last" and told["runtime"] == {"threads": 1, "workers": 0}
    overrides = [f"{section}.{name}={value}" for section in told for name, value in told[section].items()]
    assert Params.load(place / "params.yaml", overrides).section("student").compile == "off"


def test_real_steps_are_timed_and_train(place, capsys):
    assert tuned(place, "--set", "student.precision=bf16") == 0
    first = next(line for line in capsys.readouterr().out.splitlines() if re.match(r"\d+\.\d  ", line))
    assert float(first.split()[0]) > 0


def test_a_course_steps_as_often_as_it_is_told_and_loads_beyond_an_epoch(dataset):
    wish = Recipe.model_validate_json('{"batch": 8, "sizes": [16], "model": {"options": {"channels": [4, 4, 8, 8]}}}')
    course = begin(goal_of(wish, 0, "x", dataset), dataset, CPU, Way("fp32", "contiguous", "off", 1, 0))
    assert course.state.step == tuning.WARM and not course.seconds
    before = [weight.clone() for weight in course.state.network.parameters()]
    course.go(5)
    course.go(1)
    assert course.state.step == tuning.WARM + 6 and len(course.seconds) == 2
    assert not all(torch.equal(one, other) for one, other
                   in zip(before, course.state.network.parameters(), strict=True))
    course.seconds = [1.0, 0.5, 4.0]
    assert course.speed() == 8.0


def test_half_precision_is_tried_where_it_can_be_had(monkeypatch):
    monkeypatch.setattr(tuning, "cpu_has_bf16", lambda: False)
    assert {way.precision for way in ways(CPU, [1], [0], False)} == {"fp32"}
    assert {way.precision for way in ways(GPU, [1], [0], False)} == {"fp32", "bf16", "fp16"}
    assert len(ways(GPU, [1, 2], [0, 2, 4], True)) == 3 * 2 * 2 * 2 * 3


def test_the_usual_way_is_what_auto_stands_for():
    wish = Recipe(precision="fp32")
    assert usual(wish, CPU, 2, 1) == Way("fp32", "channels_last", "off", 2, 1)


@pytest.mark.parametrize("given", [("--rounds", "0"), ("--workers", "-1")])
def test_what_cannot_be_measured_is_a_usage_error(place, capsys, given):
    assert tuned(place, *given) == 2
    assert "stillhouse tune --help" in capsys.readouterr().err


def test_a_section_that_nothing_trains_is_refused(place, capsys):
    assert main(["tune", "index", "--params", str(place / "params.yaml")]) == 2
    assert "expected student or teachers.NAME" in capsys.readouterr().err
