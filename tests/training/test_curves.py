"""Looks at the loss, metrics.jsonl, event files: what they say of a training, and what they survive."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from every_choice import recipe
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from components.losses.objective import supervised
from components.training.board import Board, crc32c
from components.training.curves import Curves
from components.training.divergence import LOOK_EVERY, PATIENCE, Alarm, Diverged, Taken
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal

EPOCHS = 14  # of three steps


def surroundings(work: Path, curves=None, stop=lambda: False, reports=None, seconds=1e9) -> Surroundings:
    report = lambda metrics, epoch: None if reports is None else reports.append((epoch, metrics))  # noqa: E731
    return Surroundings(torch.device("cpu"), work, stop, report, lambda batches, total: batches,
                        save_seconds=seconds, curves=curves or Curves())


def goal(dataset, **changes) -> Goal:
    wish = recipe({"epochs": EPOCHS, "model": {"dropout": 0.0}} | changes)
    return Goal("x", wish, supervised(dataset.tasks, wish.smoothing), 0)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training of 42 steps with everything written down."""
    from noisy_dataset import write_dataset

    from components.data.dataset import Dataset

    root, reports = tmp_path_factory.mktemp("whole"), []
    dataset = Dataset.open(write_dataset(root / "dataset"))
    curves = Curves(root / "reports", "run", Board(root / "board"))
    fitted = fit(goal(dataset), dataset, surroundings(root / "work", curves, reports=reports))
    return root, dataset, fitted, reports


def test_every_look_and_every_epoch_has_a_line(whole):
    root, _, fitted, _ = whole
    head, *rest = lines(root / "reports")
    assert head == {"run": "run"}
    looks = [line for line in rest if "epoch" not in line]
    assert [line["step"] for line in looks] == [LOOK_EVERY, 2 * LOOK_EVERY]
    assert all(set(line) == {"step", "loss", "learning_rate", "gradient_norm"} for line in looks)
    epochs = [line for line in rest if "epoch" in line]
    assert [(line["epoch"], line["step"]) for line in epochs] == [(k, 3 * k) for k in range(1, EPOCHS + 1)]
    expected = {"train/loss", "train/shade", "train/hue", "train/gradient_norm", "learning_rate", "images_per_second",
                "val/accuracy", "val/loss", "val/shade/accuracy", "val/hue/accuracy", "val/shade/loss", "val/hue/loss"}
    assert expected <= set(epochs[0]) and all(math.isfinite(value) for value in epochs[0].values())
    assert [row["train/loss"] for row in fitted.history] == [line["train/loss"] for line in epochs]


def test_what_varies_between_runs_is_reported_and_stays_out_of_the_history(whole):
    _, _, fitted, reports = whole
    assert [epoch for epoch, _ in reports] == list(range(1, EPOCHS + 1))
    assert all(told["images_per_second"] > 0 for _, told in reports)
    assert not {"images_per_second", "gpu_memory_gib"} & set().union(*fitted.history)
    assert all({"learning_rate", "train/loss", "val/shade/accuracy"} <= set(row) for row in fitted.history)


def test_looks_tell_the_mean_loss_of_their_steps(whole):
    """42 steps of 8 samples that weigh alike: the means of epochs give those of looks where borders agree."""
    root, *_ = whole
    epochs = [line for line in lines(root / "reports") if "epoch" in line]
    looks = [line for line in lines(root / "reports") if "epoch" not in line and "step" in line]
    of_all = np.mean([line["train/loss"] for line in epochs])
    most = np.mean([line["loss"] for line in looks])  # 40 of the 42 steps
    tail = 42 * of_all - 40 * most
    assert 0 < tail / 2 < 2 * epochs[-1]["train/loss"]


@pytest.mark.parametrize("clip", [0.0, 0.25])
def test_the_gradients_norm_is_that_of_all_parameters_before_clipping(dataset, tmp_path, clip, monkeypatch):
    """Of the first step, taken from the parameters' own gradients by numpy."""
    from components.training import step as steps

    seen = []
    original = steps.gradient_norm

    def listened(state, limit):
        squares = [(p.grad.double().numpy() ** 2).sum() for p in state.network.parameters() if p.grad is not None]
        seen.append((math.sqrt(sum(squares)), original(state, limit)))
        after = [(p.grad.double().numpy() ** 2).sum() for p in state.network.parameters() if p.grad is not None]
        assert math.sqrt(sum(after)) <= (limit or math.inf) * (1 + 1e-5)
        return seen[-1][1]

    monkeypatch.setattr(steps, "gradient_norm", listened)
    fitted = fit(goal(dataset, epochs=1, clip=clip), dataset, surroundings(tmp_path))
    told = [(expected, float(norm)) for expected, norm in seen if norm is not None]
    assert len(told) == (3 if clip else 1)
    assert all(norm == pytest.approx(expected, rel=1e-5) for expected, norm in told)
    assert fitted.history[0]["train/gradient_norm"] == pytest.approx(np.mean([norm for _, norm in told]))


def test_a_resumed_run_drops_the_lines_beyond_its_state_and_another_run_begins_anew(dataset, tmp_path):
    asked = iter(range(10_000))
    cut = surroundings(tmp_path / "work", Curves(tmp_path, "one"), stop=lambda: next(asked) >= 13)
    assert fit(goal(dataset), dataset, cut) is None
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 20, "loss": 1.0}\n{"step": 21, "lo')  # a process that went further and was killed
    fit(goal(dataset), dataset, surroundings(tmp_path / "work", Curves(tmp_path, "one")))
    steps = [line["step"] for line in lines(tmp_path)[1:]]
    assert steps == sorted(steps) and steps.count(20) == 1 and len(steps) == EPOCHS + 2
    fit(goal(dataset, epochs=1), dataset, surroundings(tmp_path / "other", Curves(tmp_path, "two")))
    assert lines(tmp_path)[0] == {"run": "two"} and len(lines(tmp_path)) == 2


def test_a_curve_that_cannot_be_written_is_said_once_and_costs_nothing(dataset, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    curves = Curves(tmp_path / "file" / "reports", "run")
    assert fit(goal(dataset, epochs=2), dataset, surroundings(tmp_path / "work", curves)) is not None
    assert capsys.readouterr().err.count("metrics.jsonl will lack the rest") == 1


def events(path: Path) -> list:
    """The events of a file, read by protobuf from the published fields, checksums compared by long division."""
    proto = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    shapes = {"Value": [("tag", 1, kinds.TYPE_STRING, ""), ("simple_value", 2, kinds.TYPE_FLOAT, "")],
              "Summary": [("value", 1, kinds.TYPE_MESSAGE, "Value")],
              "Session": [("status", 1, kinds.TYPE_INT32, "")],
              "Event": [("wall_time", 1, kinds.TYPE_DOUBLE, ""), ("step", 2, kinds.TYPE_INT64, ""),
                        ("file_version", 3, kinds.TYPE_STRING, ""), ("summary", 5, kinds.TYPE_MESSAGE, "Summary"),
                        ("session_log", 7, kinds.TYPE_MESSAGE, "Session")]}
    for name, fields in shapes.items():
        message = proto.message_type.add(name=name)
        for field, number, kind, below in fields:
            label = kinds.LABEL_REPEATED if field == "value" else kinds.LABEL_OPTIONAL
            named = f".t.{below}" if below else None
            message.field.add(name=field, number=number, type=kind, label=label, type_name=named)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    event = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))
    data, found = path.read_bytes(), []
    while data:
        length, check = struct.unpack("<QI", data[:12])
        body, (own,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert check == masked(data[:8]) and own == masked(body)
        found.append(event.FromString(body))
        data = data[16 + length :]
    return found


def masked(data: bytes) -> int:
    crc = divided(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def divided(data: bytes) -> int:
    """CRC-32C as a remainder of polynomials over GF(2), bit by bit."""
    bits = [byte >> place & 1 for byte in data for place in range(8)] + [0] * 32
    for place in range(32):
        bits[place] ^= 1
    rest = 0
    for bit in bits:
        rest = rest << 1 | bit
        if rest >> 32:
            rest ^= 0x11EDC6F41
    return int(f"{rest ^ 0xFFFFFFFF:032b}"[::-1], 2)


def test_event_files_hold_what_the_curve_holds(whole):
    root, *_ = whole
    (path,) = (root / "board").glob("events.out.tfevents.*")
    first, started, *rest = events(path)
    assert first.file_version == "brain.Event:2" and started.session_log.status == 1 and started.step == 1
    ours = [{**line} for line in lines(root / "reports")[1:]]
    assert len(rest) == len(ours)
    for event, line in zip(rest, ours, strict=True):
        step = line.pop("step")
        line.pop("epoch", None)
        assert event.step == step and {value.tag for value in event.summary.value} == set(line)
        assert all(value.simple_value == pytest.approx(line[value.tag], rel=1e-6) for value in event.summary.value)


@pytest.mark.parametrize("data", [b"", b"\0", b"123456789", bytes(32), bytes(range(256))])
def test_checksums_are_remainders(data):
    assert crc32c(data) == divided(data)


def test_numbers_beyond_single_precision_are_infinite(tmp_path):
    board = Board(tmp_path)
    board.begin(0)
    board.add(1, {"up": 1e300, "down": -1e300, "none": math.nan})
    values = {value.tag: value.simple_value for value in events(board.path)[-1].summary.value}
    assert values["up"] == math.inf and values["down"] == -math.inf and math.isnan(values["none"])


IDS = np.random.default_rng(0).integers(0, 256, (64, 32), dtype=np.uint8)


def alarmed(alarm: Alarm, losses: list[float]) -> None:
    for number, loss in enumerate(losses, 1):
        alarm.recent.append(Taken(number, 0.1, np.array([number % 64, 3]), torch.tensor(loss)))
        if number % LOOK_EVERY == 0:
            alarm.look(IDS)


def test_a_loss_that_is_no_number_names_the_batch_of_the_step_that_failed():
    losses = [1.0] * LOOK_EVERY
    losses[6] = math.nan
    losses[12] = math.inf
    with pytest.raises(Diverged, match=r"not finite at step 7 \(rate 0.1") as raised:
        alarmed(Alarm(), losses)
    assert raised.value.ids == [bytes(IDS[7]).hex(), bytes(IDS[3]).hex()]
    assert "clip" in raised.value.remedy and "precision" in raised.value.remedy


@pytest.mark.parametrize(("first", "bound"), [(2.0, 10.0), (0.01, 5.0)])
def test_a_loss_far_above_its_start_stops_after_some_looks_in_a_row(first, bound):
    high, low = bound * 1.01, bound * 0.99
    rise = [first] * LOOK_EVERY + [high] * LOOK_EVERY * (PATIENCE - 1)
    alarmed(Alarm(), rise + [low] * LOOK_EVERY + rise[LOOK_EVERY:])
    with pytest.raises(Diverged, match=f"above {bound:.3g}, 5 times its start, for {PATIENCE * LOOK_EVERY} steps"):
        alarmed(Alarm(), [*rise, *[high] * LOOK_EVERY])
    alarmed(Alarm(bound=0.0), [*rise, *[high] * LOOK_EVERY])


def test_how_long_a_loss_has_been_high_outlives_a_restart():
    alarm = Alarm()
    alarmed(alarm, [1.0] * LOOK_EVERY + [9.0] * LOOK_EVERY * (PATIENCE - 1))
    after = Alarm()
    after.restore(json.loads(json.dumps(alarm.counters())))
    assert (after.first, after.high) == (1.0, PATIENCE - 1)
    with pytest.raises(Diverged):
        alarmed(after, [9.0] * LOOK_EVERY)
    fresh = Alarm()
    fresh.restore(json.loads(json.dumps(Alarm().counters())))
    assert math.isnan(fresh.first) and fresh.high == 0


def test_a_training_that_goes_astray_leaves_no_state_and_the_ids_of_its_batch(dataset, tmp_path):
    curves = Curves(tmp_path / "reports", "run")
    wild = goal(dataset, optimizer={"name": "sgd", "lr": 1e30})
    with pytest.raises(Diverged, match="not finite at step"):
        fit(wild, dataset, surroundings(tmp_path / "work", curves, seconds=0.0))
    told = json.loads((tmp_path / "reports" / "diverged.json").read_text())
    assert len(told["ids"]) == 8 and set(told["ids"]) <= set(dataset.samples["id"]) and "not finite" in told["cause"]
    for state in (tmp_path / "work").glob("state-*"):
        from safetensors.torch import load_file

        assert all(torch.isfinite(value).all() for name, value in load_file(state / "tensors.safetensors").items()
                   if name.startswith("sums."))
