"""When states are saved, what ends an evaluation, and the models of some epochs."""

import json
from pathlib import Path

import pytest
import torch
from every_choice import recipe

from components.errors import UserError
from components.losses.objective import supervised
from components.models.artifact import load_model
from components.models.inference import Stopped, network_logits
from components.models.network import Network
from components.storage.digests import file_digest
from components.training import devices
from components.training.checkpoints import COSTLY, Rhythm
from components.training.fitting import Keep, Surroundings, fit
from components.training.goals import Goal

CPU = torch.device("cpu")


def goal(dataset, **changes) -> Goal:
    wish = recipe(changes)
    return Goal("x", wish, supervised(dataset.tasks, wish.smoothing), 0)


def surroundings(work: Path, stop=lambda: False, keep=None) -> Surroundings:
    return Surroundings(CPU, work, stop, lambda metrics, epoch: None, lambda batches, total: batches,
                        save_seconds=1e9, keep=keep or Keep())


def saves(seconds: float, cost: float, step: float, steps: int) -> list[float]:
    """When states are saved in a run whose steps and savings take some time, by a clock of its own."""
    now, found = [0.0], []
    rhythm = Rhythm(seconds, steps, 0, clock=lambda: now[0])

    def save() -> None:
        found.append(now[0])
        now[0] += cost

    for count in range(steps):
        if rhythm.due(count):
            rhythm.time(save)
        now[0] += step
    return found


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]


def test_states_that_are_quickly_saved_are_as_far_apart_as_is_asked_for():
    found = saves(seconds=30, cost=0.1, step=1, steps=1000)
    assert len(found) >= 30 and max(gaps(found)) <= 32.2


def test_slow_savings_take_a_twentieth_of_the_time_unless_a_kill_would_cost_over_a_minute():
    found = saves(seconds=30, cost=2.5, step=1, steps=1000)
    assert max(gaps(found)[1:]) <= COSTLY * 2.5 + 2.5 + 2 and min(gaps(found)[1:]) > 30
    found = saves(seconds=30, cost=20, step=1, steps=1000)
    assert max(gaps(found)) <= 60 + 20 + 2  # a save, then at most a minute of work


def test_a_long_run_may_lose_a_hundredth_of_itself():
    found = saves(seconds=30, cost=20, step=1, steps=20_000)
    assert 60 < max(gaps(found)) <= 0.01 * 20_000 * 1.2 + 25


def asked_at(*times: int):
    """A stop that is asked for at some of the times that it is looked at; and how often it was."""
    looked: list[int] = []

    def stop() -> bool:
        looked.append(len(looked))
        return looked[-1] in times

    return stop, looked


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_an_evaluation_that_is_cut_off_is_begun_again_and_nothing_is_done_twice(dataset, tmp_path, averaging):
    """Stop is looked at before each of three steps, then before the one batch of the evaluation, in each epoch."""
    wish = {"averaging": {"name": averaging} | ({"start": 0.0} if averaging == "swa" else {})}
    whole = fit(goal(dataset, **wish), dataset, surroundings(tmp_path / "whole"))
    for place in (3, 7):
        stop, looked = asked_at(place)
        assert fit(goal(dataset, **wish), dataset, surroundings(tmp_path / f"{place}", stop)) is None
        assert len(looked) == place + 1
        (state,) = (tmp_path / f"{place}").glob("state-*")
        told = json.loads((state / "counters.json").read_text())
        assert told["step"] == 3 * (place // 3 if place == 3 else 2) and len(told["history"]) == place // 7
        resumed = fit(goal(dataset, **wish), dataset, surroundings(tmp_path / f"{place}"))
        assert resumed.history == whole.history and resumed.head == whole.head
        ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_is_cut_off_after_the_last_epoch_is_finished_by_the_next_process(dataset, tmp_path):
    whole = fit(goal(dataset), dataset, surroundings(tmp_path / "whole"))
    stop, _ = asked_at(8)
    assert fit(goal(dataset), dataset, surroundings(tmp_path / "parts", stop)) is None
    resumed = fit(goal(dataset), dataset, surroundings(tmp_path / "parts"))
    assert resumed.history == whole.history and resumed.head == whole.head


def test_an_evaluation_looks_at_stop_before_every_batch(dataset, tmp_path):
    network = fit(goal(dataset, epochs=1), dataset, surroundings(tmp_path)).network
    stop, looked = asked_at(2)
    with pytest.raises(Stopped):
        network_logits(network, lambda pixels: torch.zeros(len(pixels), 3, 16, 16), dataset, dataset.rows("val"), 4,
                       stop)
    assert len(looked) == 3


def test_models_of_some_epochs_are_kept_whole_and_can_be_opened(dataset, tmp_path):
    kept = Keep(2, tmp_path / "kept")
    wish = goal(dataset, epochs=5, averaging={"name": "none"}, select="last")
    whole = fit(wish, dataset, surroundings(tmp_path / "work", keep=kept))
    assert sorted(path.name for path in kept.folder.iterdir()) == ["epoch-0002", "epoch-0004"]
    model = load_model(kept.folder / "epoch-0004")
    assert model.head["training"]["best_epoch"] == 4 and set(model.temperatures) == {"shade", "hue"}
    history = whole.history[3]
    assert all(value == history[name] for name, value in model.head["training"]["val"].items())
    digests = json.loads((kept.folder / "epoch-0004" / "digests.json").read_text())
    assert digests == {name: file_digest(kept.folder / "epoch-0004" / name) for name in digests} and len(digests) == 2
    alone = fit(wish, dataset, surroundings(tmp_path / "alone"))
    assert alone.history == whole.history and alone.head == whole.head


def test_compiled_code_shares_the_weights_and_names_of_its_network(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "g++")  # nothing is compiled before the first batch
    network = fit(goal(dataset, epochs=1), dataset, surroundings(tmp_path)).network
    assert devices.compiled(network, "off") is None
    compiled = devices.compiled(network, "on")
    assert isinstance(network, Network) and not any("_orig_mod" in name for name in network.state_dict())
    assert {id(weight) for weight in compiled.parameters()} == {id(weight) for weight in network.parameters()}


def test_where_no_compiler_is_nothing_is_trained_before_that_is_said(monkeypatch):
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="no compiler is installed here"):
        devices.compiled(torch.nn.Linear(1, 1), "on")


@pytest.mark.slow
def test_compiled_training_comes_to_the_same_loss_and_resumes_to_the_same_bits(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))  # a process that was killed leaves torn files
    still = {"epochs": 1, "model": {"dropout": 0.0}}  # compiled code draws its own dropout
    plain = fit(goal(dataset, **still), dataset, surroundings(tmp_path / "plain"))
    whole = fit(goal(dataset, **still, compile="on"), dataset, surroundings(tmp_path / "whole"))
    assert whole.history[0]["train/loss"] == pytest.approx(plain.history[0]["train/loss"], rel=1e-3)
    stop, _ = asked_at(2)
    assert fit(goal(dataset, **still, compile="on"), dataset, surroundings(tmp_path / "parts", stop)) is None
    (state,) = (tmp_path / "parts").glob("state-*")
    assert b"_orig_mod" not in (state / "tensors.safetensors").read_bytes()
    resumed = fit(goal(dataset, **still, compile="on"), dataset, surroundings(tmp_path / "parts"))
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("wish", "device", "found"), [
    ("auto", "cpu", "off"), ("auto", "cuda", "off"), ("on", "cpu", "on"), ("off", "cuda", "off")])
def test_nothing_is_compiled_unasked(wish, device, found):
    assert devices.pick_compile(wish, device) == found


def test_fp16_is_for_gpus():
    assert devices.pick_precision("fp16", "cuda", "resnet18") == "fp16"
    with pytest.raises(UserError, match="precision is fp16, which is for GPUs") as raised:
        devices.pick_precision("fp16", "cpu", "resnet18")
    assert "bf16" in raised.value.remedy


def test_damaged_states_of_later_steps_are_said_and_removed_and_do_not_crowd_out_new_ones(dataset, tmp_path, capfd):
    from components.training import checkpoints
    from components.training.goals import fresh_state

    state, _ = fresh_state(goal(dataset), dataset, dataset.rows("train"), CPU)
    for step in (1, 8, 9):
        state.step = step
        checkpoints.save(tmp_path / f"{step}", state)
        next((tmp_path / f"{step}").iterdir()).rename(tmp_path / f"state-{step:09d}-00000")
    (tmp_path / "state-000000008-00000/tensors.safetensors").write_bytes(b"torn")
    (tmp_path / "state-000000009-00000/digests.json").unlink()
    assert checkpoints.restore(tmp_path, state) and state.step == 1
    assert capfd.readouterr().err.count("is damaged and is removed") == 2
    for step in (2, 8):
        state.step = step
        checkpoints.save(tmp_path, state)
        assert checkpoints.restore(tmp_path, state) and state.step == step
    assert sorted(path.name for path in tmp_path.glob("state-*")) == ["state-000000002-00000", "state-000000008-00000"]


def test_the_scale_of_gradients_outlives_a_restart(dataset, tmp_path):
    from components.training import checkpoints
    from components.training.goals import fresh_state

    wish = goal(dataset)
    state, _ = fresh_state(wish, dataset, dataset.rows("train"), CPU)
    state.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    state.scaler.scale(torch.ones(()))  # begins
    state.scaler.update(4.0)
    checkpoints.save(tmp_path, state)
    after, _ = fresh_state(wish, dataset, dataset.rows("train"), CPU)
    after.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    assert checkpoints.restore(tmp_path, after)
    assert after.scaler.get_scale() == 4.0
