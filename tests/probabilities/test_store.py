import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.data.augment import draw_views, render
from components.data.augment_settings import Augment
from components.data.loader import Batch
from components.errors import UserError
from components.models.artifact import load_model, save_model
from components.models.network import build_network
from components.models.preprocessing import geometry_head
from components.models.settings import Architecture
from components.probabilities.judging import Program, judge_shard, view_images
from components.probabilities.mixing import logarithm_of_mean, mixed, softened
from components.probabilities.store import Store, StoreWriter
from components.probabilities.targets import Asked, read_targets

TINY = Architecture(name="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})


@pytest.fixture
def teacher(dataset, tmp_path):
    network = build_network(TINY, dataset.tasks, (20, 17), 1).eval()
    for head in network.heads.values():
        torch.nn.init.normal_(head.weight, std=2.0, generator=torch.Generator().manual_seed(0))
    head = {
        "name": "deep",
        "architecture": TINY.model_dump(mode="json"),
        "tasks": [t.to_json() for t in dataset.tasks],
        "geometry": geometry_head(dataset.size, (20, 17), 128),
        "training": {},
        "parameters": 1,
        "calibration": {t.name: {"temperature": 1.0} for t in dataset.tasks},
    }
    save_model(tmp_path / "deep", head, network.state_dict())
    return load_model(tmp_path / "deep")


def head(dataset, views=(0, 1, 2), sources=("deep",)):
    return {
        "tasks": [t.to_json() for t in dataset.tasks],
        "sources": list(sources),
        "views": list(views),
        "dataset": "d",
        "shard_rows": 20,
    }


def written(folder, dataset, teacher, views=(0, 1, 2)):
    writer = StoreWriter(folder, head(dataset, views), dataset.ids)
    program = Program(Augment(), 9, dataset.size)
    for shard in range(writer.shard_count()):
        judge_shard(teacher, dataset, program, writer, shard)
    writer.finish()
    return Store.open(folder), program


def test_what_was_put_in_comes_out_at_half_precision(tmp_path, dataset):
    values = np.log(np.random.default_rng(0).dirichlet([1, 1, 1], (len(dataset), 2)))
    writer = StoreWriter(tmp_path / "s", head(dataset, (0, 1)), dataset.ids)
    for shard in range(writer.shard_count()):
        assert not writer.has("deep", shard)
        writer.put("deep", "hue", shard, values[writer.rows_of(shard)])
        writer.put("deep", "shade", shard, values[writer.rows_of(shard)][:, :, :2])
        assert writer.has("deep", shard)
    writer.finish()
    store, rows = Store.open(tmp_path / "s"), np.random.default_rng(1).permutation(len(dataset))
    assert np.allclose(store.log_probabilities("deep", "hue", rows), values[rows], rtol=1e-3)
    assert np.array_equal(store.rows_of(dataset.ids[rows]), rows)
    assert store.rows_of(np.zeros((1, 32), np.uint8)).tolist() == [-1]


def test_a_stored_view_is_what_the_teacher_says_of_the_very_pixels_a_student_sees(tmp_path, dataset, teacher):
    store, program = written(tmp_path / "s", dataset, teacher)
    rows = np.random.default_rng(0).permutation(len(dataset))[:7]
    for view in (1, 2):
        drawn = draw_views(program.augment, 9, dataset.ids[rows], view, dataset.size[1] / dataset.size[0])
        images = teacher.preprocess.normalise(render(torch.from_numpy(dataset.pixels(rows)), drawn, (20, 17)))
        assert torch.equal(images, view_images(teacher, dataset, program, rows, view))
        with torch.no_grad():
            said = torch.log_softmax(teacher.network(images).logits["hue"], dim=1).numpy()
        assert np.allclose(np.exp(store.log_probabilities("deep", "hue", rows)[:, view]), np.exp(said), atol=2e-3)


def test_a_restart_judges_only_what_is_missing_and_repeats_the_bits(tmp_path, dataset, teacher):
    whole, program = written(tmp_path / "whole", dataset, teacher)
    writer = StoreWriter(tmp_path / "parts", head(dataset), dataset.ids)
    judge_shard(teacher, dataset, program, writer, 1)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.npy")}
    again = StoreWriter(tmp_path / "parts", head(dataset), dataset.ids)
    for shard in (s for s in range(again.shard_count()) if not again.has("deep", s)):
        judge_shard(teacher, dataset, program, again, shard)
    again.finish()
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    files = sorted(path.relative_to(whole.path) for path in whole.path.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "parts") for path in (tmp_path / "parts").rglob("*") if path.is_file()
    )
    assert all((whole.path / name).read_bytes() == (tmp_path / "parts" / name).read_bytes() for name in files)


def test_a_teacher_that_says_nan_is_named(tmp_path, dataset):
    writer = StoreWriter(tmp_path / "s", head(dataset), dataset.ids)
    with pytest.raises(UserError, match="deep says NaN of hue"):
        writer.put("deep", "hue", 0, np.full((20, 3, 3), np.nan))


def test_a_store_of_something_else_is_refused_by_field_and_both_values(tmp_path, dataset, teacher):
    store, _ = written(tmp_path / "s", dataset, teacher)
    with pytest.raises(UserError, match="dataset is d; expected e"):
        store.require({"views": [0, 1, 2], "dataset": "e"})


def test_targets_follow_the_view_or_the_mean_over_views(tmp_path, dataset, teacher):
    store, _ = written(tmp_path / "s", dataset, teacher)
    rows = dataset.rows("train")[[3, 1, 4]]
    said = store.log_probabilities("deep", "hue", rows).astype(np.float64)
    soft = np.exp(said / 2) / np.exp(said / 2).sum(axis=2, keepdims=True)
    exact, mean = (read_targets(store, dataset, Asked(2.0, match)) for match in ("exact", "mean"))
    for view in (1, 2):
        batch = Batch(rows, np.full(3, view), torch.zeros(3), {}, torch.ones(3))
        assert np.allclose(exact.of("hue", batch), soft[:, view], atol=1e-5)
        assert np.allclose(mean.of("hue", batch), soft[:, 1:].mean(axis=1), atol=1e-5)


def test_a_store_that_lacks_training_samples_is_refused(tmp_path, dataset, teacher):
    store, _ = written(tmp_path / "s", dataset, teacher)
    ids = dataset.ids.copy()
    ids[dataset.rows("train")[:2]] = 0
    writer = StoreWriter(tmp_path / "less", head(dataset), ids)
    for shard in range(writer.shard_count()):
        for task in ("hue", "shade"):
            writer.put("deep", task, shard, store.log_probabilities("deep", task, writer.rows_of(shard)))
    writer.finish()
    with pytest.raises(UserError, match="lacks 2 of"):
        read_targets(Store.open(tmp_path / "less"), dataset, Asked(2.0, "mean"))


@settings(deadline=None)
@given(arrays(np.float64, (4, 3), elements=st.floats(-8, 8)), st.floats(0.5, 8))
def test_softening_log_probabilities_equals_softening_logits(logits, temperature):
    said = torch.log_softmax(torch.from_numpy(logits), dim=1)
    assert torch.allclose(
        softened(said, temperature, "single"), torch.softmax(torch.from_numpy(logits) / temperature, dim=1)
    )
    labels = torch.nn.functional.logsigmoid(torch.from_numpy(logits))
    assert torch.allclose(
        softened(labels, temperature, "multi"), torch.sigmoid(torch.from_numpy(logits) / temperature), atol=1e-3
    )


def test_several_teachers_are_averaged_as_probabilities():
    one, two = torch.log(torch.tensor([[0.9, 0.1]])), torch.log(torch.tensor([[0.1, 0.9]]))
    assert torch.allclose(mixed([one, two], 1.0, "single"), torch.tensor([[0.5, 0.5]]))


def test_the_mean_over_views_is_taken_of_probabilities_without_underflow():
    values = np.log(np.array([[[0.2, 0.8], [0.6, 0.4]]])).astype(np.float32)
    assert np.allclose(np.exp(logarithm_of_mean(values)), [[0.4, 0.6]], atol=1e-6)
    assert np.allclose(logarithm_of_mean(values - 500), logarithm_of_mean(values) - 500, atol=1e-3)


def test_the_head_says_whose_words_and_views_it_holds(tmp_path, dataset, teacher):
    store, _ = written(tmp_path / "s", dataset, teacher)
    content = json.loads((store.path / "probabilities.json").read_text())
    assert (content["schema"], content["dtype"], content["rows"], content["sources"]) == (
        2,
        "float16",
        len(dataset),
        ["deep"],
    )
