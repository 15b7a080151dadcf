"""Targets by sample and view, whatever the store's order, form and gaps; a live teacher says the same."""

import numpy as np
import pytest
import torch
from noisy_dataset import write_dataset
from small_models import write_photographs, write_small_model

from components.data.augment_settings import Augment, Overlay
from components.data.dataset import Dataset
from components.data.loader import Batch, Batches, load
from components.errors import UserError
from components.losses.kept import Kept
from components.models.artifact import load_model
from components.probabilities import targets as module
from components.probabilities.judging import Program, judge_shard
from components.probabilities.live import Live
from components.probabilities.store import Store, StoreWriter
from components.probabilities.targets import Asked, read_targets, refuse_gaps

MANY = 40
VIEWS = 4  # the untouched one and three others


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset.open(write_dataset(tmp_path_factory.mktemp("targets") / "dataset"))


def put(folder, dataset, said, ids=None, **head):
    """A store of log-probabilities by source and task, rows as given."""
    ids = dataset.ids if ids is None else ids
    whole = {"tasks": head.pop("tasks", [task.to_json() for task in dataset.tasks]), "sources": list(said),
             "views": list(range(VIEWS)), "dataset": "d", "shard_rows": 16}
    writer = StoreWriter(folder, whole | head, ids)
    for shard in range(writer.shard_count()):
        for source, tasks in said.items():
            for task, values in tasks.items():
                writer.put(source, task, shard, values[writer.rows_of(shard)])
    writer.finish()
    return Store.open(folder)


def drawn(dataset, seed, classes=None):
    chance = np.random.default_rng(seed)
    found = {}
    for task in dataset.tasks:
        logits = chance.normal(0, 2, (len(dataset), VIEWS, classes or len(task.classes)))
        found[task.name] = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return found


def batch(rows, view):
    return Batch(np.asarray(rows), np.asarray(view), torch.zeros(len(rows)), {}, torch.ones(len(rows)))


def softened(values, temperature):
    powers = np.exp(values / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("room", [0, 1 << 30])
@pytest.mark.parametrize("match", ["exact", "mean", "any"])
def test_regression_8_targets_are_joined_by_id_and_averaged_over_teachers(tmp_path, dataset, monkeypatch, match, room):
    """The store has the samples from last to first; prepared or read batch by batch, the numbers are the same."""
    monkeypatch.setattr(module, "ROOM", room)
    said = {name: drawn(dataset, seed) for seed, name in enumerate(("deep", "wide"))}
    turned = {name: {task: values[::-1] for task, values in tasks.items()} for name, tasks in said.items()}
    store = put(tmp_path / "store", dataset, turned, dataset.ids[::-1])
    targets = read_targets(store, dataset, Asked(2.0, match))
    assert bool(targets.tables) is (room > 0)
    rows, view = dataset.rows("train")[[5, 2, 9, 2]], np.array([1, 3, 2, 1])
    for task in ("hue", "shade"):
        soft = np.mean([softened(said[name][task], 2.0) for name in said], axis=0)
        expected = soft[rows, 1:].mean(axis=1) if match == "mean" else soft[rows, view]
        assert np.allclose(targets.of(task, batch(rows, view)).numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("match", ["exact", "mean", "any"])
def test_of_a_task_that_the_store_does_not_have_nothing_is_said_and_no_room_is_taken(
        tmp_path, dataset, monkeypatch, match, few):
    monkeypatch.setattr(module, "ROOM", 0)
    (hue,) = (task for task in dataset.tasks if task.name == "hue")
    store = put(tmp_path / "store", dataset, {"deep": {"hue": drawn(dataset, 0)["hue"]}}, tasks=[hue.to_json()])
    targets = read_targets(store, dataset, Asked(2.0, match, few))
    found = targets.of("shade", batch([1, 5, 3], [1, 2, 1]))
    assert found.isnan().all() and found.shape == (3, len(dataset.tasks[0].classes))
    assert targets.tables["shade"].untyped_storage().nbytes() == 4 * found.shape[1]
    assert not targets.of("hue", batch([1, 5, 3], [1, 2, 1])).isnan().any()


def test_fresh_views_go_through_the_targets_of_all_stored_ones(tmp_path, dataset):
    store = put(tmp_path / "store", dataset, {"deep": drawn(dataset, 0)})
    targets = read_targets(store, dataset, Asked(1.0, "any"))
    assert targets.column(np.arange(1, 8)).tolist() == [1, 2, 3, 1, 2, 3, 1]
    rows = dataset.rows("train")[:3]
    assert torch.equal(targets.of("hue", batch(rows, [5] * 3)), targets.of("hue", batch(rows, [2] * 3)))


def test_regression_8_probabilities_of_a_softmax_teacher_sum_to_1_at_half_precision(tmp_path, dataset):
    store = put(tmp_path / "store", dataset, {"deep": drawn(dataset, 0)})
    targets = read_targets(store, dataset, Asked(1.0, "exact"))
    found = targets.of("hue", batch(dataset.rows("train"), np.ones(len(dataset.rows("train")), np.int64)))
    assert torch.allclose(found.sum(dim=1), torch.ones(len(found)), atol=1e-6) and store.head["dtype"] == "float16"


def many(dataset):
    return [{"name": "hue", "kind": "single", "classes": [str(place) for place in range(MANY)]},
            dataset.tasks[0].to_json()]


@pytest.mark.parametrize("sources", [("deep",), ("deep", "wide")])
@pytest.mark.parametrize("match", ["exact", "any"])
def test_targets_of_few_classes_are_those_that_the_store_spreads_over_all(tmp_path, dataset, sources, match):
    shade = drawn(dataset, 9)["shade"]
    said = {name: {"hue": drawn(dataset, seed, MANY)["hue"], "shade": shade} for seed, name in enumerate(sources)}
    store = put(tmp_path / "store", dataset, said, tasks=many(dataset), k=5)
    wide = Dataset(dataset.path, dataset.head | {"tasks": many(dataset)})
    few, all_of_them = (read_targets(store, wide, Asked(3.0, match, flag)) for flag in (True, False))
    asked = batch(dataset.rows("train")[:7], np.arange(7) % 3 + 1)
    found = few.of("hue", asked)
    assert isinstance(found, Kept) and found.classes.shape[1] <= 5 * len(sources) and "hue" not in few.tables
    assert torch.allclose(found.dense(), all_of_them.of("hue", asked), atol=1e-6)
    assert isinstance(few.of("shade", asked), torch.Tensor)


@pytest.mark.parametrize("few", [False, True])
def test_regression_8_coverage_is_said_and_a_store_that_lacks_more_is_refused(tmp_path, dataset, few):
    ids, train = dataset.ids.copy(), dataset.rows("train")
    ids[train[:2]] = 0
    said = {"deep": {"hue": drawn(dataset, 0, MANY)["hue"], "shade": drawn(dataset, 0)["shade"]}}
    store = put(tmp_path / "store", dataset, said, ids, tasks=many(dataset), k=5)
    wide = Dataset(dataset.path, dataset.head | {"tasks": many(dataset)})
    with pytest.raises(UserError, match=f"lacks 2 of {len(train)} training samples: it covers 0.91") as raised:
        read_targets(store, wide, Asked(2.0, "exact", few))
    assert "distill.coverage: 0.91" in raised.value.remedy
    given = float(raised.value.remedy.rpartition(" ")[2])
    assert read_targets(store, wide, Asked(2.0, "exact", few, coverage=given)).notes, "the remedy is one"
    targets = read_targets(store, wide, Asked(2.0, "exact", few, coverage=0.9))
    assert targets.notes == (f"{store.path} lacks 2 of {len(train)} training samples; they learn from their labels "
                             "alone",)
    found = targets.of("hue", batch(train[:4], [1] * 4))
    silent = (found.rest if isinstance(found, Kept) else found[:, 0]).isnan()
    assert silent.tolist() == [True, True, False, False]


@pytest.mark.parametrize("count", range(2, 60))
def test_the_coverage_that_there_is_is_enough_and_any_more_is_not(tmp_path, count):
    store = Store(tmp_path, {})
    for lacking in range(1, count):
        places = np.where(np.arange(count) < lacking, -1, 0)
        assert refuse_gaps(store, places, (count - lacking) / count)
        with pytest.raises(UserError) as raised:
            refuse_gaps(store, places, (count - lacking + 0.5) / count)
        assert refuse_gaps(store, places, float(raised.value.remedy.rpartition(" ")[2]))
    assert refuse_gaps(store, np.array([-1] + [0] * 9), 0.9), "1 of 10"


def test_embeddings_come_by_sample_and_view(tmp_path, dataset):
    vectors = np.random.default_rng(0).normal(size=(len(dataset), VIEWS, 6)).astype(np.float32)
    said = {"deep": drawn(dataset, 0)}
    whole = {"tasks": [task.to_json() for task in dataset.tasks], "sources": ["deep"], "views": list(range(VIEWS)),
             "dataset": "d", "shard_rows": 16, "embedding": True}
    writer = StoreWriter(tmp_path / "store", whole, dataset.ids)
    for shard in range(writer.shard_count()):
        rows = writer.rows_of(shard)
        for task, values in said["deep"].items():
            writer.put("deep", task, shard, values[rows])
        writer.put_embedding("deep", shard, vectors[rows])
    writer.finish()
    exact, mean = (read_targets(Store.open(tmp_path / "store"), dataset, Asked(1.0, match))
                   for match in ("exact", "mean"))
    asked = batch([3, 1], [2, 1])
    assert exact.widths() == {"deep": 6}
    assert np.allclose(exact.embeddings("deep", asked), vectors[[3, 1], [2, 1]], atol=2e-3)
    assert np.allclose(mean.embeddings("deep", asked), vectors[[3, 1], 1:].mean(axis=1), atol=2e-3)


def test_a_store_without_embeddings_is_refused_with_the_setting_that_keeps_them(tmp_path, dataset):
    store = put(tmp_path / "store", dataset, {"deep": drawn(dataset, 0)})
    with pytest.raises(UserError, match="holds no embeddings") as raised:
        read_targets(store, dataset, Asked(1.0, "exact")).widths()
    assert "teach.embedding" in raised.value.remedy


@pytest.mark.parametrize("augment", [Augment(policy="randaugment"), Augment(mix=Overlay(mixup=0.5, cutmix=0.3))],
                         ids=["policy", "mixed"])
def test_a_live_teacher_says_of_a_batch_what_the_store_holds_of_it(tmp_path, augment):
    """Two teachers, a `single` and a `multi` task, every sample under another view."""
    dataset = Dataset.open(write_photographs(tmp_path / "dataset"))
    models = [load_model(write_small_model(tmp_path / name, name, dataset, seed)) for seed, name in
              enumerate(("deep", "wide"))]
    program = Program(augment, 9, dataset.size)
    head = {"tasks": [task.to_json() for task in dataset.tasks], "sources": [model.name for model in models],
            "views": list(range(VIEWS)), "dataset": "d"}
    writer = StoreWriter(tmp_path / "store", head, dataset.ids)
    for model in models:
        judge_shard(model, dataset, program, writer, 0)
    writer.finish()
    stored = read_targets(Store.open(tmp_path / "store"), dataset, Asked(2.0, "exact"))
    live, rows = Live(models, dataset, program, 2.0), dataset.rows("train")[::2]
    (asked,) = load(Batches(dataset, [(rows, np.arange(len(rows)) % 3 + 1)], 9, augment, dataset.rows("train")))
    for task in dataset.tasks:
        assert torch.allclose(live.of(task.name, asked), stored.of(task.name, asked), atol=3e-3)
    assert live.of("kind", asked) is live.of("kind", asked), "teachers are asked once a batch"
