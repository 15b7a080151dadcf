"""Every sampler: rows of the pool only, exact sizes, coverage, and the same answer wherever it is asked."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.parts import Division
from components.data.sampler_settings import READS, Sampler
from components.data.samplers import adaptive, balanced
from components.data.samplers.choice import KINDS, STRIDE, turns
from components.data.samplers.identities import timetable
from components.data.samplers.pool import Pool, gather, notes
from components.data.tasks import Task
from components.errors import UserError
from components.settings import Params

QUICK = settings(max_examples=30, deadline=None)
FAR = 10_000  # row numbers start here, so that a place mistaken for a row is noticed


def pool_of(wish, size=8, seed=0, identities=None, **labels):
    """A pool whose tasks are `single` where labels are flat, `multi` where they are tables."""
    tables = {name: np.asarray(given, [np.int64, np.float32][np.ndim(given) - 1]) for name, given in labels.items()}
    tasks = tuple(Task(name, "single", tuple(f"{name}{c}" for c in range(max(table.max() + 1, 1)))) if table.ndim == 1
                  else Task(name, "multi", tuple(f"{name}{c}" for c in range(table.shape[1])))
                  for name, table in tables.items())
    count = len(identities) if identities is not None else len(next(iter(tables.values())))
    numbers = np.full(count, -1) if identities is None else np.asarray(identities)
    return Pool(wish, FAR + np.arange(count), tasks, tables, numbers, size, seed)


def plan(pool, epoch, memory=None):
    kind = KINDS[pool.wish.name]
    return kind.plan(pool, epoch, kind.begin(pool) if memory is None else memory)


def drawn(draws):
    return np.concatenate([draw.rows for draw in draws])


@st.composite
def labelled(draw, least=1):
    """Labels of a single, partly labelled task and of a multi task, at least one sample labelled."""
    count = draw(st.integers(least, 60))
    colour = draw(st.lists(st.sampled_from([-1, 0, 0, 0, 1, 2, 3]), min_size=count, max_size=count))
    bits = draw(st.lists(st.integers(-1, 7), min_size=count, max_size=count))
    parts = [[np.nan] * 3 if bit < 0 else [bit >> k & 1 for k in range(3)] for bit in bits]
    return {"colour": [0, *colour[1:]], "parts": parts}


wishes = st.builds(
    Sampler, name=st.sampled_from(["balanced"]), power=st.sampled_from([0.0, 0.5, 1.0]),
    task=st.sampled_from(["", "colour", "parts"]), samples_per_epoch=st.integers(0, 90),
) | st.builds(Sampler, name=st.sampled_from(["balanced", "adaptive", "tasks"]),
              weights=st.sampled_from([{}, {"colour": 3.0}])) | st.builds(
    Sampler, name=st.sampled_from(["balanced", "adaptive"]), interleave=st.just(True)) | st.just(Sampler())


@QUICK
@given(labels=labelled(), wish=wishes, size=st.integers(2, 16), seed=st.integers(0, 99), epoch=st.integers(0, 50))
def test_batches_hold_rows_of_the_pool_and_are_full_unless_there_is_too_little(labels, wish, size, seed, epoch):
    pool = pool_of(wish, size, seed, **labels)
    draws = plan(pool, epoch)
    assert draws and set(drawn(draws)) <= set(pool.rows)
    for task in {draw.task for draw in draws}:
        sizes = [len(draw.rows) for draw in draws if draw.task == task]
        if wish.name == "tasks":
            assert set(sizes) == {min(size, sum(len(group.rows) for group in pool.labelled if group.task == task))}
        else:
            assert set(sizes) == {size} or (len(sizes) == 1 and sizes[0] < size)


@QUICK
@given(labels=labelled(), wish=wishes, seed=st.integers(0, 99), epoch=st.integers(0, 50))
def test_an_epoch_follows_from_the_seed_and_nothing_else(labels, wish, seed, epoch):
    asked, fresh = pool_of(wish, 4, seed, **labels), pool_of(wish, 4, seed, **labels)
    for earlier in range(3):
        plan(asked, earlier)  # what was asked before leaves no trace
    for ours, theirs in zip(plan(asked, epoch), plan(fresh, epoch), strict=True):
        assert np.array_equal(ours.rows, theirs.rows) and ours.task == theirs.task


def test_seeds_and_epochs_differ():
    labels = {"colour": np.arange(64) % 4}
    for name in ("shuffled", "balanced", "adaptive", "tasks"):
        first = drawn(plan(pool_of(Sampler(name=name), 8, 0, **labels), 0))
        assert not np.array_equal(first, drawn(plan(pool_of(Sampler(name=name), 8, 1, **labels), 0)))
        assert not np.array_equal(first, drawn(plan(pool_of(Sampler(name=name), 8, 0, **labels), 1)))


@QUICK
@given(labels=labelled(), power=st.sampled_from([0.0, 0.5, 1.0]), task=st.sampled_from(["", "colour", "parts"]),
       budget=st.integers(1, 90), start=st.integers(0, 30))
def test_regression_3_every_image_is_seen_within_ceil_n_over_k_epochs_of_any_epoch(labels, power, task, budget, start):
    pool = pool_of(Sampler(name="balanced", power=power, task=task, samples_per_epoch=budget), 4, 5, **labels)
    quotas = balanced.quotas(pool)
    longest = max(math.ceil(len(group.rows) / quota) for group, quota in zip(pool.classes, quotas, strict=True))
    for group, quota in zip(pool.classes, quotas, strict=True):
        needed = math.ceil(len(group.rows) / quota)
        seen = {row for epoch in range(start, start + needed) for row in group.take(epoch * quota, quota)}
        assert seen == set(group.rows)
    everything = {row for epoch in range(start, start + longest) for row in drawn(plan(pool, epoch))}
    assert everything == set(pool.rows)


@QUICK
@given(labels=labelled(), seed=st.integers(0, 99), refresh=st.integers(1, 4), start=st.integers(0, 6))
def test_regression_3_coverage_holds_while_adaptive_quotas_change(labels, seed, refresh, start):
    pool = pool_of(Sampler(name="adaptive", refresh=refresh, smoothing=0.0), 4, seed, **labels)
    memory, seen = adaptive.begin(pool), []
    chance = np.random.default_rng(seed)
    window = max(math.ceil(len(group.rows) / base)
                 for group, base in zip(pool.classes, adaptive.bases(pool), strict=True))
    for epoch in range(start + window):
        seen.append(set(drawn(plan(pool, epoch, memory))))
        recalls = {task.name: chance.random(len(task.classes)) for task in pool.tasks}
        memory = adaptive.after(pool, epoch, memory, recalls)
    assert set().union(*seen[start:]) == set(pool.rows)


@pytest.mark.parametrize(("power", "expected"), [(1.0, [40, 40, 40]), (0.5, [62, 44, 14]), (0.0, [80, 36, 4])])
def test_a_class_gets_the_share_that_the_power_says(power, expected):
    labels = np.repeat([0, 1, 2], [80, 36, 4])
    pool = pool_of(Sampler(name="balanced", power=power), 12, 0, colour=labels)
    counts = Counter(labels[drawn(plan(pool, 3)) - FAR])
    if power == 0.5:  # roots of 80, 36 and 4 stand as 8.94 : 6 : 2
        roots = np.sqrt([80, 36, 4])
        expected = [round(120 * root / roots.sum()) for root in roots]
    assert all(abs(counts[place] - expected[place]) <= 1 for place in range(3))


def test_within_a_class_images_are_drawn_as_often_as_each_other():
    labels = np.repeat([0, 1], [90, 7])
    pool = pool_of(Sampler(name="balanced"), 97, 0, colour=labels)
    times = Counter(row for epoch in range(20) for draw in plan(pool, epoch) for row in draw.rows[:97])
    rare = [times[FAR + place] for place in range(90, 97)]
    assert max(rare) - min(rare) <= 20 // 2 and min(rare) >= 20 * 48 // 7 - 20


def test_rows_without_a_class_keep_their_share():
    labels = np.array([0] * 30 + [1] * 10 + [-1] * 40)
    pool = pool_of(Sampler(name="balanced", task="colour"), 8, 0, colour=labels, other=np.zeros(80, int))
    counts = Counter(labels[drawn(plan(pool, 0)) - FAR])
    assert counts == {0: 20, 1: 20, -1: 40}


def test_tasks_share_an_epoch_by_weight_not_by_labels():
    colour = np.where(np.arange(90) < 80, np.arange(90) % 2, -1)
    shape = np.where(np.arange(90) < 80, -1, np.arange(90) % 2)
    for weights, ratio in (({}, 1.0), ({"shape": 0.25}, 0.25)):
        pool = pool_of(Sampler(name="balanced", weights=weights), 10, 0, colour=colour, shape=shape)
        places = drawn(plan(pool, 0)) - FAR
        assert (places >= 80).sum() / (places < 80).sum() == pytest.approx(ratio, abs=0.1)


@pytest.mark.parametrize("name", ["balanced", "adaptive", "tasks"])
def test_an_interleaved_batch_is_about_one_task_and_all_its_rows_are_labelled_for_it(name):
    colour = np.where(np.arange(60) < 40, np.arange(60) % 3, -1)
    shape = np.where(np.arange(60) < 20, -1, np.arange(60) % 2)
    wish = Sampler(name=name) if name == "tasks" else Sampler(name=name, interleave=True)
    draws = plan(pool_of(wish, 8, 0, colour=colour, shape=shape), 2)
    given = {"colour": colour, "shape": shape}
    assert {draw.task for draw in draws} == {"colour", "shape"}
    assert all((given[draw.task][draw.rows - FAR] >= 0).all() for draw in draws)
    order = [draw.task for draw in draws]
    assert order != sorted(order) and order != sorted(order, reverse=True)


def test_a_tasks_share_of_steps_is_its_number_of_batches_times_its_weight():
    colour = np.where(np.arange(100) < 80, 0, -1)
    shape = np.where(np.arange(100) < 50, -1, 0)
    steps = Counter(draw.task for draw in plan(pool_of(Sampler(name="tasks"), 10, 0, colour=colour, shape=shape), 0))
    assert steps == {"colour": 8, "shape": 5}
    wish = Sampler(name="tasks", weights={"shape": 2.0})
    heavier = plan(pool_of(wish, 10, 0, colour=colour, shape=shape), 0)
    assert Counter(draw.task for draw in heavier) == {"colour": 8, "shape": 10}


def test_tasks_leave_no_row_out_for_longer_than_an_epoch():
    pool = pool_of(Sampler(name="tasks"), 8, 0, colour=np.zeros(43, int))
    for epoch in range(12):
        once = drawn(plan(pool, epoch))
        assert len(once) == len(set(once)) == 40
        assert set(once) | set(drawn(plan(pool, epoch + 1))) == set(pool.rows)


def test_adaptive_bases_are_those_of_the_task_with_fewest_classes():
    labels = {"colour": np.arange(60) % 2, "shape": np.arange(60) % 5}
    for most, budget in ((3, 10_000), (7, 10_000), (5000, 600), (1, 10_000)):
        pool = pool_of(Sampler(name="adaptive", max_base=most, samples_per_epoch=budget), 8, 0, **labels)
        expected = [max(min(most * 2 // classes, budget // (2 * classes)), 1) for classes in (2, 2, 5, 5, 5, 5, 5)]
        assert adaptive.bases(pool) == expected


def test_without_errors_an_adaptive_epoch_is_about_as_long_as_a_plain_one():
    pool = pool_of(Sampler(name="adaptive"), 8, 0, colour=np.arange(600) % 3, shape=np.arange(600) % 7)
    assert 580 <= sum(adaptive.bases(pool)) <= 600


def test_a_class_that_is_never_recalled_gets_twice_as_much_and_a_perfect_one_no_more():
    labels = np.arange(90) % 3
    pool = pool_of(Sampler(name="adaptive", refresh=1), 8, 0, colour=labels)
    memory = adaptive.after(pool, 0, adaptive.begin(pool), {"colour": np.array([0.0, 1.0, 0.5])})
    assert adaptive.bases(pool) == [30, 30, 30] and memory["quota"] == [60, 30, 45]
    counts = Counter(labels[drawn(plan(pool, 1, memory))[:135] - FAR])
    assert sum(counts.values()) == 135 and abs(counts[0] - 60) <= 1 and abs(counts[1] - 30) <= 1


def test_quotas_change_only_every_few_epochs_by_a_recall_that_remembers():
    pool = pool_of(Sampler(name="adaptive", refresh=3, smoothing=0.5), 8, 0, colour=np.arange(80) % 2)
    memory, expected, kept = adaptive.begin(pool), np.array([np.nan, np.nan]), []
    for epoch, recall in enumerate([[0.2, 1.0], [0.4, np.nan], [0.8, 0.0], [1.0, 1.0]]):
        memory = adaptive.after(pool, epoch, memory, {"colour": np.array(recall)})
        known = ~np.isnan(recall)
        mean = np.where(np.isnan(expected), recall, 0.5 * expected + 0.5 * np.asarray(recall))
        expected = np.where(known, mean, expected)
        assert np.allclose(memory["recall"], expected)
        kept.append(memory["quota"])
    assert kept[0] == kept[1] == [40, 40] and kept[2] == kept[3] == [40 + round(40 * (1 - 0.55)), 60]


@pytest.mark.parametrize("recall", [
    [0.0, 0.0, 0.0], [np.nan, np.nan, np.nan], [np.nan, 0.5, 1.0], [0.0, np.nan, np.nan], [1.0, 1.0, 1.0]])
def test_regression_2_classes_never_predicted_of_one_sample_or_absent_from_val_do_not_stop_it(recall):
    labels = np.array([0] * 25 + [1] * 24 + [2])
    pool = pool_of(Sampler(name="adaptive", refresh=1), 8, 0, colour=labels)
    memory = adaptive.begin(pool)
    for epoch in range(4):
        draws = plan(pool, epoch, memory)
        assert FAR + 50 - 1 in drawn(draws) and all(len(draw.rows) == 8 for draw in draws)
        memory = adaptive.after(pool, epoch, memory, {"colour": np.array(recall)})
        assert all(base <= quota <= 2 * base for quota, base in zip(memory["quota"], adaptive.bases(pool), strict=True))
    unknown = np.isnan(recall)
    if unknown.all():
        assert memory["quota"] == adaptive.bases(pool)
    else:
        mean = np.mean(np.asarray(recall)[~unknown])
        assert np.allclose(np.array(memory["quota"])[unknown], round(16 * (2 - mean)), atol=1)


def test_regression_2_a_task_that_val_lacks_and_a_class_without_rows_are_no_error():
    pool = pool_of(Sampler(name="adaptive", refresh=1), 4, 0, colour=[0, 2, 2, 2, 0, 2], shape=[0, 1, 0, 1, -1, -1])
    memory = adaptive.after(pool, 0, adaptive.begin(pool), {"colour": np.array([0.0, np.nan, 1.0])})
    assert len(memory["quota"]) == 4 and memory["quota"][2:] == adaptive.bases(pool)[2:]
    assert set(adaptive.by_class(pool, memory)["colour"]) == {"colour0", "colour2"}


def test_adaptive_memory_is_a_few_numbers_that_json_holds():
    pool = pool_of(Sampler(name="adaptive", refresh=1), 4, 0, colour=[0, 1, 1, 1])
    memory = adaptive.after(pool, 0, adaptive.begin(pool), {"colour": np.array([1 / 3, np.nan])})
    assert sum(len(values) for values in memory.values()) == 6
    assert all(type(value) in (int, float) for values in memory.values() for value in values)


@QUICK
@given(sizes=st.lists(st.integers(1, 30), min_size=4, max_size=12), images=st.integers(2, 4), seed=st.integers(0, 99),
       epoch=st.integers(0, 20))
def test_regression_17_every_batch_is_p_identities_times_k_and_every_anchor_has_a_positive(sizes, images, seed, epoch):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    pool = pool_of(Sampler(name="identities", images=images), 3 * images, seed, identities=owner)
    draws = plan(pool, epoch)
    for draw in draws:
        assert sorted(Counter(owner[draw.rows - FAR]).values()) == [images] * 3
    assert set(owner[drawn(draws) - FAR]) == set(range(len(sizes)))
    for rank in range(2):
        for draw in draws:
            (part,) = Division(rank, 2, grain=images).parts(len(draw.rows))
            assert set(Counter(owner[draw.rows[part.own] - FAR]).values()) == {images}


@QUICK
@given(sizes=st.lists(st.integers(1, 40), min_size=3, max_size=8), seed=st.integers(0, 99), start=st.integers(0, 9))
def test_every_image_of_an_identity_comes_within_as_many_epochs_as_its_places_take(sizes, seed, start):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    pool = pool_of(Sampler(name="identities", images=4), 12, seed, identities=owner)
    places, steps = timetable(sizes, 4, 3)
    assert all(len(plan(pool, epoch)) == steps for epoch in range(2))
    for identity, size in enumerate(sizes):
        needed = math.ceil(size / (4 * places[identity]))
        seen = {row for epoch in range(start, start + needed) for row in drawn(plan(pool, epoch))}
        assert set(pool.rows[owner == identity]) <= seen


def test_identities_of_even_sizes_take_each_image_once_and_meet_in_changing_company():
    owner = np.repeat(np.arange(10), 8)
    pool = pool_of(Sampler(name="identities", images=4), 20, 0, identities=owner)
    first, second = plan(pool, 0), plan(pool, 1)
    for draws in (first, second):
        assert sorted(drawn(draws)) == sorted(pool.rows)
    fours = [{frozenset(part) for draw in draws for part in np.split(draw.rows, 5)} for draws in (first, second)]
    assert len(fours[0] & fours[1]) < 5


def test_samples_without_identity_are_never_drawn_and_said():
    owner = np.array([0, 0, -1, 1, 1, -1, 2, 2])
    pool = pool_of(Sampler(name="identities", images=2), 4, 0, identities=owner)
    assert all((owner[draw.rows - FAR] >= 0).all() for epoch in range(5) for draw in plan(pool, epoch))
    assert notes(pool, pool) == ["2 of 8 training images have no identity and are left out"]


def test_classes_of_a_task_can_be_the_identities():
    pool = pool_of(Sampler(name="identities", images=2, task="vehicle"), 4, 0, vehicle=[0, 1, 0, 1, 2, -1, 2, 3])
    labels = pool.labels["vehicle"]
    assert all(sorted(Counter(labels[draw.rows - FAR]).values()) == [2, 2] for draw in plan(pool, 0))


@QUICK
@given(labels=labelled(), wish=wishes, epoch=st.integers(0, 20))
def test_no_sample_shows_the_same_view_twice_in_an_epoch(labels, wish, epoch):
    draws = plan(pool_of(wish, 4, 0, **labels), epoch)
    due = turns(draws, epoch)
    assert [len(part) for part in due] == [len(draw.rows) for draw in draws]
    pairs = list(zip(drawn(draws).tolist(), np.concatenate(due).tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) and {turn % STRIDE for _, turn in pairs} == {epoch}
    seen = Counter()
    for row, turn in pairs:
        assert turn == epoch + STRIDE * seen[row]
        seen[row] += 1


@pytest.mark.parametrize("stored", [2, 3, 8, 16, 100])
def test_repeats_pass_through_all_stored_views_before_one_comes_again(stored):
    assert {(7 + STRIDE * repeat) % stored for repeat in range(stored)} == set(range(stored))


@pytest.mark.parametrize(("text", "said"), [
    ("{name: balancd}", "student.sampler.name is 'balancd'; expected one of shuffled, balanced"),
    ("{name: shuffled, power: 0.5}", "expected no power, which the sampler shuffled does not read"),
    ("{name: tasks, images: 8}", "expected no images, which the sampler tasks does not read"),
    ("{name: balanced, weights: {a: 0}}", "expected weights above 0"),
    ("{name: balanced, task: a, interleave: true}", "expected interleave without task"),
    ("{name: identities, images: 7}", "expected a batch of 7 images each of two or more identities (sampler.images), "
                                      "such as batch: 63; batch is 64"),
    ("{name: identities, images: 64}", "such as batch: 128; batch is 64"),
])
def test_a_wrong_sampler_is_refused_with_what_was_expected(tmp_path, text, said):
    (tmp_path / "params.yaml").write_text(f"student: {{sampler: {text}}}")
    with pytest.raises(UserError) as caught:
        Params.load(tmp_path / "params.yaml")
    assert said in caught.value.cause


def test_every_sampler_names_settings_that_exist():
    assert set(READS) == set(KINDS)
    assert {name for names in READS.values() for name in names} | {"name"} == set(Sampler.model_fields)


def test_a_sampler_that_does_not_fit_the_data_is_refused(dataset):
    rows = dataset.rows("train")
    with pytest.raises(UserError, match=r"sampler.task names hew, which is no task") as caught:
        gather(dataset, rows, Sampler(name="balanced", task="hew"), 8, 0)
    assert "Did you mean 'hue'?" in caught.value.remedy
    with pytest.raises(UserError, match=r"sampler.weights names size"):
        gather(dataset, rows, Sampler(name="tasks", weights={"size": 2.0}), 8, 0)
    with pytest.raises(UserError, match="finds no identity"):
        gather(dataset, rows, Sampler(name="identities"), 8, 0)
    with pytest.raises(UserError, match="a batch of 16 takes 4 identities of 4; train has 3") as caught:
        gather(dataset, rows, Sampler(name="identities", task="hue"), 16, 0)
    assert "batch: 12" in caught.value.remedy


def test_identities_are_read_from_the_column_by_name(dataset):
    rows = dataset.rows("train")
    names = np.array(["b", "", "a", None], object)[np.arange(len(dataset)) % 4]
    dataset.samples["identity"] = names
    pool = gather(dataset, rows, Sampler(name="identities", images=2), 4, 0)
    assert [sorted(group.rows) for group in pool.individuals] == [
        [row for row in rows if names[row] == name] for name in ("a", "b")]


def test_classes_that_val_cannot_judge_are_said(dataset):
    rows = dataset.rows("train")
    wish = Sampler(name="adaptive")
    pool = gather(dataset, rows, wish, 8, 0)
    assert notes(pool, gather(dataset, dataset.rows("val"), wish, 8, 0)) == []
    bright = rows[dataset.labels(dataset.tasks[0])[rows] == 1]
    told = notes(pool, gather(dataset, bright, wish, 8, 0))
    assert told == ["val has no image of shade=dark: the mean recall of the task stands for it in the sampler"]
    assert "alike to the end" in notes(pool, gather(dataset, rows[:0], wish, 8, 0))[0]
