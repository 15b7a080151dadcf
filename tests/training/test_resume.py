"""A training that was cut off goes on to the same bits, whatever it was told to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from every_choice import BESIDE, ELSEWHERE, SWITCHES, choices, declared, recipe
from noisy_dataset import write_dataset

from components.data.dataset import Dataset
from components.losses.objective import trained
from components.losses.settings import Parts
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal, losses_of
from components.training.settings import Recipe

CHOICES = choices()
STATEFUL = ("loss.", "sampler.", "schedule.", "optimizer.", "averaging.")  # the rest is a function of the step alone
STEPS = 4
PROGRAM = Path(__file__).with_name("killed_trainings.py")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Dataset.open(write_dataset(tmp_path_factory.mktemp("small") / "dataset", count=32))


def around(work: Path, seconds: float) -> Surroundings:
    return Surroundings(torch.device("cpu"), work, lambda: False, lambda metrics, epoch: None,
                        lambda batches, total: batches, save_seconds=seconds)


def trained_by(dataset: Dataset, changes: dict, work: Path, seconds: float):
    wish = recipe(changes)
    return fit(Goal("x", wish, trained(losses_of(wish, dataset, "x")), 0), dataset, around(work, seconds))


@pytest.mark.parametrize("name", [name for name in CHOICES if name.startswith(STATEFUL) or name in SWITCHES])
def test_regression_12_a_resume_in_fresh_objects_ends_in_the_same_bits(small, tmp_path, name):
    """States are saved before every step; the one within the second epoch is taken up in a training made anew."""
    whole = trained_by(small, CHOICES[name], tmp_path, seconds=0.0)
    *_, within = sorted(tmp_path.glob("state-*"))
    assert int(within.name.split("-")[1]) >= STEPS - 1
    resumed = trained_by(small, CHOICES[name], tmp_path, seconds=1e9)
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert whole.head == resumed.head and whole.history == resumed.history


def test_every_part_of_a_loss_and_every_name_is_among_the_choices():
    tried = [recipe(changes) for changes in CHOICES.values()]
    for part in Parts.model_fields:
        assert any(getattr(wish.loss, part) != getattr(Parts(), part) for wish in tried), part
    names = {f"{path}={value}" for path, value in declared() if value != "auto"}
    assert set(ELSEWHERE) <= names | {"augment.device=gpu"} and set(BESIDE) <= names
    assert all(any(wish.optimizer.name == name for wish in tried)
               for path, name in declared(Recipe) if path == "optimizer.name")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    write_dataset(folder / "dataset", count=48)
    done = subprocess.run([sys.executable, PROGRAM, folder], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return {name: told for path in folder.glob("told-*.json") for name, told in json.loads(path.read_text()).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CHOICES))
def test_regression_12_a_process_killed_within_an_epoch_resumes_to_the_same_bits(killed, name):
    told = killed[name]
    assert told["died"] == 9 and told["states"] and told["began"] > 0
    assert told["resumed"] == told["whole"]
