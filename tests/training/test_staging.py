"""Fine-tuning in stages: what is frozen does not move, and a resumed run is in the same stage."""

import json

import pytest
import torch
from pydantic import ValidationError

from components.data.dataset import Dataset
from components.errors import UserError
from components.losses.objective import supervised
from components.models.artifact import load_model
from components.models.depth import blocks_of
from components.models.settings import Architecture, Head, Pretrained, Start
from components.storage.digests import tree_digests
from components.storage.receipts import NAME, Receipt
from components.storage.receipts import digest as digest_of
from components.training.beginning import begin, pinned
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.settings import Optimizer, Recipe
from components.training.staging import set_stage

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]})


def recipe(**changes):
    base = {"model": TINY, "epochs": 3, "batch": 8, "sizes": (16,), "precision": "fp32",
            "memory_format": "contiguous", "select": "last"}
    return Recipe(**(base | changes))


def fitted(dataset, work, wish, stop=lambda: False):
    around = Surroundings(torch.device("cpu"), work, stop, lambda metrics, epoch: None, lambda batches, count: batches,
                          save_seconds=1e9)
    return fit(Goal("x", wish, supervised(dataset.tasks, wish.smoothing), 5), dataset, around)


def started(dataset, wish):
    return begin(wish, dataset, dataset.rows("train"), (16, 13), 5)[0].state_dict()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_frozen_blocks_and_their_statistics_stay_and_all_others_move(dataset, tmp_path, optimizer):
    wish = recipe(freeze=2, heads_first=1, optimizer=Optimizer(name=optimizer))
    network = fitted(dataset, tmp_path, wish).network
    before, blocks, now = started(dataset, wish), blocks_of(network), network.state_dict()
    trained = {name for name, _ in network.named_parameters()}
    for name in trained:
        assert torch.equal(now[name], before[name]) == (blocks.get(name, 99) < 2), name
    for name in now.keys() - trained:
        frozen = "layer" not in name or "layer1" in name  # the stem and the first of four
        assert torch.equal(now[name], before[name]) == frozen, name


def test_heads_that_learn_first_leave_the_whole_backbone_alone(dataset, tmp_path, capsys):
    wish = recipe(epochs=2, heads_first=2)
    now, before = fitted(dataset, tmp_path, wish).network.state_dict(), started(dataset, wish)
    assert all(torch.equal(now[name], before[name]) == name.startswith("backbone.") for name in now)
    assert "keep blocks as they were drawn" in capsys.readouterr().err


@pytest.mark.parametrize("stop_at", [1, 4])
def test_stages_go_on_after_a_stop_with_the_same_bits(dataset, tmp_path, stop_at):
    wish = recipe(freeze=1, heads_first=1, model=TINY.model_copy(update={"head": Head(kind="embedding", dropout=0.3)}))
    whole, asked = fitted(dataset, tmp_path / "whole", wish), iter(range(1000))
    assert fitted(dataset, tmp_path / "parts", wish, stop=lambda: next(asked) >= stop_at) is None
    resumed = fitted(dataset, tmp_path / "parts", wish)
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours) and whole.history == resumed.history


def test_a_stage_sets_the_mode_of_what_it_freezes():
    from components.data.tasks import Task
    from components.models.network import build_network

    network = build_network(TINY, (Task("a", "single", ("x", "y")),), (32, 32), 0)
    body = network.backbone.body
    set_stage(network, recipe(freeze=2, heads_first=1), 0)
    assert not body.layer4.training and network.heads.training and not network.backbone.training
    set_stage(network, recipe(freeze=2, heads_first=1), 1)
    assert not body.bn1.training and not body.layer1[0].bn2.training and body.layer2[0].bn1.training
    assert [body.conv1.weight.requires_grad, body.layer2[0].conv1.weight.requires_grad] == [False, True]


def test_more_blocks_or_epochs_than_there_are_are_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="freeze is 6, but resnet18 has 5 blocks"):
        fitted(dataset, tmp_path, recipe(freeze=6))
    with pytest.raises(ValidationError, match="heads_first of at most 3"):
        recipe(heads_first=4)


def sealed(folder):
    text = Receipt("train", "student", {}, {}, tree_digests(folder)).text()
    (folder / NAME).write_text(text, encoding="utf-8")
    return folder


def test_a_model_goes_on_from_an_earlier_one_whose_digest_enters_the_settings(dataset, tmp_path, capsys):
    first = fitted(dataset, tmp_path / "first", recipe(epochs=1))
    first.save(tmp_path / "model")
    folder = str(sealed(tmp_path / "model"))
    wish = pinned(recipe(epochs=1, model=TINY.model_copy(update={"start": Start(model=folder)})))
    assert wish.digestible()["model"]["start"] == {"digest": digest_of(tmp_path / "model")}
    begun = started(dataset, wish)
    sealed_weights = load_model(tmp_path / "model").network.state_dict()
    assert all(torch.equal(begun[name], sealed_weights[name]) for name in begun)
    second = fitted(dataset, tmp_path / "second", wish)
    assert folder not in str(second.head)
    assert second.head["architecture"]["start"] == {"digest": digest_of(tmp_path / "model")}
    assert "keeps 2 of 2 classes" in capsys.readouterr().err
    second.save(tmp_path / "again")
    assert load_model(tmp_path / "again").head["architecture"] == second.head["architecture"]


def test_a_start_of_another_digest_or_a_changed_one_is_refused(dataset, tmp_path):
    fitted(dataset, tmp_path / "first", recipe(epochs=1)).save(tmp_path / "model")
    folder = str(sealed(tmp_path / "model"))
    with pytest.raises(UserError, match=r"has digest .*; expected 0000"):
        pinned(recipe(model=TINY.model_copy(update={"start": Start(model=folder, digest="0000")})))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"else")
    with pytest.raises(UserError, match="was changed since"):
        pinned(recipe(model=TINY.model_copy(update={"start": Start(model=folder)})))


def test_heads_begin_at_the_priors_of_the_training_samples(dataset):
    wish = recipe(model=TINY.model_copy(update={"bias_init": "prior"}))
    network, _ = begin(wish, dataset, dataset.rows("train"), (16, 13), 5)
    task = next(task for task in dataset.tasks if task.kind == "single")
    labels = Dataset.labels(dataset, task)[dataset.rows("train")]
    shares = [(labels == place).sum() / (labels >= 0).sum() for place in range(len(task.classes))]
    assert network.heads[task.name].bias.softmax(0).tolist() == pytest.approx(shares, abs=1e-6)
    plain, _ = begin(recipe(), dataset, dataset.rows("train"), (16, 13), 5)
    assert torch.equal(plain.heads[task.name].weight, network.heads[task.name].weight)


def test_where_weights_lie_reaches_other_processes_though_no_digest_sees_it():
    from components.distill import Distill
    from components.runtime import Runtime
    from components.train import Train

    model = TINY.model_copy(update={"pretrained": Pretrained(file="w.safetensors", sha256="ab")})
    begun = TINY.model_copy(update={"start": Start(model="archive/student", digest="cd")})
    for settings in (Train(model=model, runtime=Runtime(threads=3)), Distill(student=Recipe(model=begun))):
        assert type(settings).model_validate_json(json.dumps(settings.complete())) == settings
    assert "w.safetensors" not in json.dumps(Train(model=model).digestible())
