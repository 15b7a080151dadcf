"""Geometry, mixing and scales inside the training step, from a Dataset to a sealed model and its graph."""

from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_dataset import write_dataset
from torch.nn.functional import cross_entropy

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment
from components.data.batch_settings import Mix, Scales
from components.data.chance import batch_seed
from components.data.dataset import Dataset
from components.data.loader import Batches, load
from components.data.mixing import draw_mixture
from components.data.scales import size_at
from components.deployment import parity
from components.deployment.onnx_graph import write_graph
from components.errors import UserError
from components.losses.distillation import Blend, distilled
from components.losses.objective import supervised
from components.models.artifact import load_model
from components.models.inference import logits_of
from components.models.network import build_network
from components.models.preprocessing import Normalise, Preprocess
from components.models.settings import Architecture
from components.training.fitting import Surroundings, fit
from components.training.goals import Goal
from components.training.optimizer_settings import Optimizer
from components.training.optimizers import build_optimizer
from components.training.settings import Recipe
from components.training.state import State
from components.training.step import Job, size_of, train_step

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
BLOCKS = {"block_config": [1, 1, 1, 1], "growth_rate": 8}


def recipe(**changes):
    base = {"model": Architecture(name="resnet18", options=TINY), "epochs": 2, "batch": 8, "sizes": (16,),
            "precision": "fp32", "memory_format": "contiguous"}
    return Recipe(**(base | changes))


def fitted(dataset, work, wish, objective=None, stop=lambda: False):
    around = Surroundings(torch.device("cpu"), work, stop, lambda metrics, epoch: None, lambda batches, count: batches,
                          save_seconds=1e9)
    return fit(Goal("x", wish, objective or supervised(dataset.tasks, wish.smoothing), 5), dataset, around)


def trained(dataset, wish, steps, weights=None):
    """A network after some steps on one batch, what was summed up on the way, and the images that it was shown."""
    network, seen = build_network(wish.model, dataset.tasks, size_of(wish, 0, dataset.size), 5), []
    network.register_forward_pre_hook(lambda _, images: seen.append(images[0].detach()))
    state = State.fresh(network, build_optimizer(wish.optimizer, network))
    job = Job(dataset, dataset.rows("train"), wish, supervised(dataset.tasks, 0.1), 5, torch.device("cpu"),
              lambda epoch: 1, lambda epoch, figures: {}, lambda state: None, lambda: False, lambda batches, _: batches)
    rows = dataset.rows("train")[: wish.batch]
    batch = next(load(Batches(dataset, [(rows, 1)], 5, wish.augment), weights=weights))
    for _ in range(steps):
        train_step(job, state, batch, Normalise.named(wish.model.normalisation), size_of(wish, 0, dataset.size))
    return network, state, seen


@pytest.mark.parametrize("each", ["batch", "sample"])
def test_regression_9_a_mixed_training_step_equals_plain_code_with_permuted_weights(dataset, each):
    """Three steps written out: blend or cut, two cross-entropies, each with the weights of whose labels it takes."""
    wish = recipe(mix=Mix(mixup=0.5, cutmix=0.5, each=each), optimizer=Optimizer(name="sgd", lr=0.05))
    given = np.random.default_rng(3).uniform(0.2, 4, len(dataset)).astype(np.float32)
    network, state, _ = trained(dataset, wish, 3, given)
    plain = build_network(wish.model, dataset.tasks, (16, 13), 5)
    optimizer = build_optimizer(wish.optimizer, plain)
    rows = dataset.rows("train")[:8]
    losses, mean, std = [], torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for step in range(3):
        torch.manual_seed(batch_seed(5, "step", step))
        drawn = draw_mixture(wish.mix, 5, step, 8, (16, 13))
        views = draw_views(wish.augment, 5, dataset.ids[rows], 1, dataset.size[1] / dataset.size[0])
        images = render(torch.from_numpy(dataset.pixels(rows)), views, (16, 13))
        mixed = images.clone()
        for row, (other, opacity) in enumerate(zip(drawn.partners, drawn.opacity.tolist(), strict=True)):
            mixed[row] = opacity * images[row] + (1 - opacity) * images[other]
            top, left, bottom, right = drawn.box[row]
            mixed[row, :, top:bottom, left:right] = images[other, :, top:bottom, left:right]
        logits = plain((mixed - mean[:, None, None]) / std[:, None, None]).logits
        loss, weight = torch.tensor(0.0), 0.0
        for row, other in enumerate(drawn.partners):
            for owner, share in ((row, drawn.kept[row]), (other, 1 - drawn.kept[row])):
                weight += share * given[rows[owner]]
                for task in dataset.tasks:
                    label = torch.from_numpy(dataset.labels(task))[rows[owner]][None]
                    one = cross_entropy(logits[task.name][row : row + 1], label, ignore_index=-1, reduction="sum",
                                        label_smoothing=0.1)
                    loss = loss + share * given[rows[owner]] * one
        optimizer.zero_grad()
        (loss / weight).backward()
        optimizer.step()
        losses.append((loss / weight).item() * weight)
    assert state.sums["loss"].item() == pytest.approx(sum(losses), rel=1e-4)
    for ours, theirs in zip(network.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.allclose(ours.float(), theirs.float(), atol=2e-4)


def test_mixing_needs_no_label_in_distillation_and_changes_what_is_learnt(dataset, tmp_path):
    classes = {task.name: len(task.classes) for task in dataset.tasks}
    tables = {name: torch.rand(len(dataset), count).softmax(1) for name, count in classes.items()}
    blend = Blend(2.0, 1.0)
    objective = distilled(dataset.tasks, lambda task, batch: tables[task][torch.from_numpy(batch.rows)], blend)
    plain, mixed, again = (fitted(dataset, tmp_path / str(place), wish, objective) for place, wish in enumerate(
        [recipe(), recipe(mix=Mix(mixup=1.0)), recipe(mix=Mix(mixup=1.0))]))
    assert mixed.history == again.history and mixed.history != plain.history


@pytest.mark.parametrize("stop_at", [1, 4])
def test_mixing_scales_and_policies_go_on_after_a_stop_with_the_same_bits(dataset, tmp_path, stop_at):
    wish = recipe(mix=Mix(mixup=0.4, cutmix=0.4, each="sample"), scales=Scales(share=0.5, every=2, grid=8),
                  augment=Augment(policy="myaugment", translate=0.1, vertical_flip=0.2, background="grey"))
    whole = fitted(dataset, tmp_path / "whole", wish)
    asked = iter(range(1000))
    assert fitted(dataset, tmp_path / "parts", wish, stop=lambda: next(asked) >= stop_at) is None
    resumed = fitted(dataset, tmp_path / "parts", wish)
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours) and whole.history == resumed.history


def test_a_network_sees_the_sizes_that_the_scales_draw_and_is_evaluated_at_its_own(dataset, tmp_path):
    wish = recipe(scales=Scales(share=0.5, every=1, grid=8))
    seen = [tuple(images.shape[2:]) for images in trained(dataset, wish, 12)[2]]
    assert seen == [size_at(wish.scales, (16, 13), 5, step) for step in range(12)] and len(set(seen)) > 1
    assert fitted(dataset, tmp_path, wish).head["geometry"]["input"] == [16, 13]


@pytest.mark.parametrize(("name", "options"), [
    ("resnet18", TINY), ("densenet121", BLOCKS), ("mobilenetv3_small_050", {})])
def test_an_oblong_input_finds_the_width_of_its_features_by_itself(tmp_path, name, options):
    """384 x 256 are stored, 336 x 224 are looked at: trained, sealed, opened, one of them exported.

    The graph is fed stored pixels, so that its parity holds only where it has the size and the normalisation.
    """
    dataset = Dataset.open(write_dataset(tmp_path / "dataset", 12, (384, 256)))
    model = Architecture(name=name, options=options, normalisation="advprop")
    wish = recipe(model=model, sizes=((336, 224),), epochs=1, batch=3)
    done = fitted(dataset, tmp_path / "work", wish)
    done.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.head["geometry"]["input"] == [336, 224] and model.head["geometry"]["stored"] == [384, 256]
    assert all(np.isfinite(logits).all() for logits in logits_of(model, dataset, np.arange(3)).values())
    with torch.inference_mode():
        outputs = model.network(model.preprocess(torch.from_numpy(dataset.pixels(np.arange(2)))))
    assert outputs.embedding.shape[1] == model.network.heads["shade"].in_features
    assert outputs.features.shape[2] / outputs.features.shape[3] == pytest.approx(1.5, 0.1)
    if name == "resnet18":
        write_graph(model, "00", tmp_path / "graph.onnx", 20)
        assert parity.compare(model, tmp_path / "graph.onnx", dataset.pixels(np.arange(4))).difference < 1e-4


@pytest.mark.parametrize(("name", "low", "high"), [
    ("imagenet", -0.485 / 0.229, (1 - 0.485) / 0.229), ("advprop", -1.0, 1.0), ("unit", 0.0, 1.0)])
def test_the_normalisation_goes_with_the_model_into_its_head(dataset, tmp_path, name, low, high):
    wish = recipe(model=Architecture(name="resnet18", options=TINY, normalisation=name))
    fitted(dataset, tmp_path / "work", wish).save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    ends = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, *dataset.size, 3)
    assert model.preprocess(ends)[:, 0, 3, 3].tolist() == pytest.approx([low, high], abs=1e-5)
    imagenet = Preprocess(dataset.size, (16, 13))
    pixels = torch.from_numpy(dataset.pixels(np.arange(2)))
    assert torch.allclose(imagenet(pixels), model.preprocess(pixels)) is (name == "imagenet")


@pytest.mark.parametrize("name", ["advprop", "unit"])
def test_training_and_evaluation_normalise_alike(dataset, name):
    still = Augment(crop=(1, 1), ratio=(1, 1), flip=0, brightness=0, contrast=0, saturation=0, erase=0)
    wish = recipe(model=Architecture(name="resnet18", options=TINY, normalisation=name), sizes=(24,), augment=still)
    pixels = torch.from_numpy(dataset.pixels(dataset.rows("train")[:8]))
    expected = Preprocess((24, 20), (24, 20), Normalise.named(name))(pixels)
    assert torch.allclose(trained(dataset, wish, 1)[2][0], expected, atol=1e-4)


def test_sizes_may_name_both_sides_and_a_stretch_is_warned_of(dataset, tmp_path, capsys):
    wish = recipe(epochs=3, sizes=(16, (20, 20), (18, 15)))
    assert [size_of(wish, epoch, (24, 20)) for epoch in range(3)] == [(16, 13), (20, 20), (18, 15)]
    assert fitted(dataset, Path(tmp_path), wish).head["geometry"]["input"] == [18, 15]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "looks at" in line]
    assert warnings == ["warning: x looks at 20 x 20 pixels and stretches the 24 x 20 that are stored; "
                        "give sizes the proportions of index.size"]


@pytest.mark.parametrize("wrong", [(7,), ((16, 4),), ((16, 16, 16),), (True,), (16.5,), ("a",), ()])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="sizes"):
        Recipe(sizes=wrong)


@pytest.mark.parametrize("changes", [
    {"sizes": (8, 32)}, {"sizes": (32,), "scales": Scales(share=0.5, grid=8)}])
def test_a_size_that_the_network_cannot_look_at_is_refused_before_the_first_step(dataset, tmp_path, changes):
    model = Architecture(name="vit_tiny_patch16_224", options={"img_size": [32, 27], "depth": 1})
    with pytest.raises(UserError, match=r"cannot look at \d+ x \d+ pixels: it cuts them into patches") as raised:
        fitted(dataset, tmp_path, recipe(model=model, **changes))
    assert "sizes" in raised.value.remedy
