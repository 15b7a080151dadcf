"""A student sees what its teacher judged, to the bit: whatever loads it, beside whatever it is loaded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imports import first_party, module_file
from noisy_dataset import write_dataset
from scipy.stats import beta, kstest

from components.data.augment_settings import Augment, Overlay
from components.data.batch_settings import Mix
from components.data.chance import sample_keys
from components.data.dataset import Dataset
from components.data.loader import Batches, load
from components.data.mixing import overlay_mixture, shares
from components.data.overlays import draw_overlays
from components.data.parts import Division
from components.data.samplers.shuffled import epoch_batches
from components.data.views import alone, views_of
from components.models.artifact import Model
from components.models.network import build_network
from components.models.preprocessing import Normalise, Preprocess
from components.models.settings import Architecture
from components.probabilities.judging import Program, view_images
from components.probabilities.origin import VIEW_CODE
from components.training.settings import Recipe

CPU, SEED, SIZE = torch.device("cpu"), 3, (16, 13)
PROGRAMS = {
    "geometry, colour and erasing": Augment(rotate=20, erase=0.8, hue=20),
    "a policy": Augment(policy="randaugment"),
    "mixup and CutMix": Augment(mix=Overlay(mixup=0.4, cutmix=0.4)),
    "all at once": Augment(policy="trivialaugment", translate=0.1, background="grey", erase=0.5,
                           mix=Overlay(mixup=0.5, cutmix=0.5)),
}
every_program = pytest.mark.parametrize("augment", PROGRAMS.values(), ids=PROGRAMS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset.open(write_dataset(tmp_path_factory.mktemp("replay") / "dataset"))


def plan_of(dataset, epoch, size=7):
    return [(rows, epoch + 1) for rows in epoch_batches(dataset.rows("train"), size, SEED, epoch)]


def seen(dataset, augment, plan, workers=0, size=SIZE):
    """What a student sees and learns: image, and labels with their weights, by (row, view)."""
    found = {}
    for batch in load(Batches(dataset, plan, SEED, augment, dataset.rows("train")), workers):
        images = views_of(augment, SEED, dataset, batch, size, CPU)
        mixture = overlay_mixture(batch.overlaid, size) if batch.overlaid else None
        parts = shares(batch, mixture)
        for place, key in enumerate(zip(batch.rows.tolist(), batch.view.tolist(), strict=True)):
            learnt = [(part.weight[place].item(), *(part.labels[name][place].item() for name in sorted(part.labels)))
                      for part in parts]
            found[key] = images[place], [one for one in learnt if one[0] > 0]
    return found


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key][0], theirs[key][0]) and ours[key][1] == theirs[key][1] for key in ours)


def teacher_of(dataset, size=SIZE):
    network = build_network(Architecture(name="resnet18", options={"layers": [1] * 4, "channels": [4] * 4}),
                            dataset.tasks, size, 0)
    preprocess = Preprocess(dataset.size, size, Normalise.named("unit"))
    return Model("t", network.eval(), preprocess, dataset.tasks, {}, {"geometry": {"input": list(size)}})


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than a small machine has CPUs
@pytest.mark.parametrize(("name", "workers"), [(name, 2) for name in PROGRAMS] + [("all at once", 4)])
def test_worker_processes_change_no_bit_of_what_is_seen(dataset, name, workers):
    plan, augment = plan_of(dataset, 0), PROGRAMS[name]
    assert same(seen(dataset, augment, plan), seen(dataset, augment, plan, workers))


@every_program
def test_two_ranks_see_together_what_one_sees(dataset, augment):
    plan = plan_of(dataset, 1, size=7)
    both = [seen(dataset, augment, [(rows[Division(rank, 2).held(len(rows), None)], view) for rows, view in plan])
            for rank in range(2)]
    assert same(seen(dataset, augment, plan), both[0] | both[1])


@every_program
def test_a_restart_sees_the_rest_as_an_uninterrupted_run_does(dataset, augment):
    plan = plan_of(dataset, 2)
    whole = seen(dataset, augment, plan)
    rest = seen(Dataset.open(dataset.path), augment, plan[2:])
    assert same({key: whole[key] for key in rest}, rest)


@given(st.integers(1, 9), st.randoms(), st.sampled_from(list(PROGRAMS)))
@settings(max_examples=5, deadline=None)
def test_neither_order_nor_size_of_batches_changes_what_is_seen(dataset, size, order, name):
    rows = dataset.rows("train")
    plain = seen(dataset, PROGRAMS[name], [(rows, 2)])
    mixed = list(rows)
    order.shuffle(mixed)
    parts = [(np.array(mixed[start : start + size]), 2) for start in range(0, len(mixed), size)]
    assert same(plain, seen(dataset, PROGRAMS[name], parts))


@every_program
def test_a_teacher_judges_the_pixels_that_its_student_sees(dataset, augment):
    """Rows in the order of the store, batches across splits: the teacher's way of going through the data."""
    teacher, program = teacher_of(dataset), Program(augment, SEED, dataset.size)
    student = seen(dataset, augment, plan_of(dataset, 0) + plan_of(dataset, 3))
    for view in (1, 4):
        parts = np.array_split(np.arange(len(dataset)), 5)
        judged = torch.cat([view_images(teacher, dataset, program, part, view) for part in parts])
        checked = [row for row, number in student if number == view]
        assert len(checked) >= 14
        assert all(torch.equal(judged[row], student[row, view][0]) for row in checked)


@every_program
def test_a_teacher_of_another_size_judges_the_same_view(dataset, augment):
    """The same crop, colour, rectangle and partner: shrunk, both pictures are nearly one."""
    large, small = seen(dataset, augment, [(dataset.rows("train"), 1)], size=(48, 40)), seen(
        dataset, augment, [(dataset.rows("train"), 1)], size=(24, 20))
    others = seen(dataset, augment, [(dataset.rows("train"), 2)], size=(24, 20))
    apart = []
    for row, view in large:
        shrunk = torch.nn.functional.avg_pool2d(large[row, view][0][None], 2)[0]
        apart.append([(shrunk - small[row, view][0]).abs().mean(), (shrunk - others[row, 2][0]).abs().mean()])
    own, other = torch.tensor(apart).mean(dim=0)
    assert own < 0.5 * other


def test_the_sizes_of_a_step_do_not_change_the_view_or_its_partner(dataset):
    augment = PROGRAMS["mixup and CutMix"]
    rows = dataset.rows("train")
    (batch,) = load(Batches(dataset, [(rows, 1)], SEED, augment, rows))
    kept = np.stack([overlay_mixture(batch.overlaid, size).kept for size in ((16, 13), (32, 27), (200, 167))])
    assert np.abs(kept - kept[2]).max() < 0.15 and (kept == 1).all(axis=0).any() and (kept < 1).all(axis=0).any()


def test_a_mixed_view_is_blended_or_cut_as_plain_code_does(dataset):
    augment = PROGRAMS["mixup and CutMix"]
    rows = dataset.rows("train")
    (batch,) = load(Batches(dataset, [(rows, 1)], SEED, augment, rows))
    found = seen(dataset, augment, [(rows, 1)])
    still = augment.model_copy(update={"mix": Overlay()})
    every = {row: seen(dataset, still, [(np.array([row]), 1)])[row, 1] for row in rows.tolist()}
    kinds = set()
    for place, row in enumerate(rows.tolist()):
        own, told = batch.overlaid.place[place], found[row, 1][1]
        expected, partner = every[row][0].clone(), None
        if own >= 0:
            partner = int(batch.overlaid.rows[own])
            opacity = float(batch.overlaid.opacity[place])
            expected = opacity * expected + (1 - opacity) * every[partner][0]
            top, left, bottom, right = np.rint(batch.overlaid.corners[place] * [16, 13, 16, 13]).astype(int)
            expected[:, top:bottom, left:right] = every[partner][0][:, top:bottom, left:right]
            share = opacity * (1 - (bottom - top) * (right - left) / (16 * 13))
            labels = [every[one][1][0][1:] for one in (row, partner)]
            weights = [(share, *labels[0]), (1 - share, *labels[1])]
            assert [pytest.approx(one) for one in weights if one[0] > 0] == told
            kinds.add(opacity < 1)
        assert torch.allclose(found[row, 1][0], expected, atol=1e-6)
    assert kinds == {True, False}


def test_regression_9_a_mixed_view_takes_the_weight_of_each_of_its_two_samples(dataset):
    augment, rows = PROGRAMS["mixup and CutMix"], dataset.rows("train")
    weights = np.random.default_rng(0).uniform(0.2, 4, len(dataset)).astype(np.float32)
    (batch,) = load(Batches(dataset, [(rows, 1)], SEED, augment, rows), weights=weights)
    mixture = overlay_mixture(batch.overlaid, SIZE)
    own, other = shares(batch, mixture)
    mixed = np.flatnonzero(batch.overlaid.mixed)
    partners = batch.overlaid.rows[batch.overlaid.place[mixed]]
    assert np.allclose(own.weight.numpy(), weights[rows] * mixture.kept)
    assert np.allclose(other.weight.numpy()[mixed], weights[partners] * (1 - mixture.kept[mixed]))
    assert (other.weight.numpy()[np.flatnonzero(~batch.overlaid.mixed)] == 0).all()
    assert np.array_equal(own.rows, other.rows), "teachers have judged the mixture: their words stand under its row"


def test_untouched_images_and_other_splits_are_laid_over_nothing(dataset):
    mix = Overlay(mixup=1.0)
    train, val = dataset.rows("train"), dataset.rows("val")
    rows = np.concatenate([train[:4], val[:4], train[4:6]])
    view = np.array([1] * 8 + [0] * 2)
    drawn = draw_overlays(mix, SEED, dataset.ids, (rows, view), train)
    assert drawn.mixed.tolist() == [True] * 4 + [False] * 6 and set(drawn.rows) <= set(train)
    augment = Augment(mix=mix)
    (batch,) = load(Batches(dataset, [(val, 1)], SEED, augment, train))
    assert batch.partners is None
    assert torch.equal(views_of(augment, SEED, dataset, batch, SIZE, CPU),
                       alone(augment, SEED, dataset, batch, SIZE, CPU))


def test_partners_and_shares_follow_the_distributions_asked_for():
    count = 6000
    ids = np.random.default_rng(1).integers(0, 256, (count, 32)).astype(np.uint8)
    rows, view = np.arange(count), np.ones(count, np.int64)
    drawn = draw_overlays(Overlay(mixup=0.3, cutmix=0.5, alpha=0.4, cutmix_alpha=2.0), 0, ids, (rows, view), rows)
    blended = drawn.opacity < 1
    areas = (drawn.corners[:, 2] - drawn.corners[:, 0]) * (drawn.corners[:, 3] - drawn.corners[:, 1])
    cut = areas > 0
    assert abs(blended.mean() - 0.3) < 0.02 and abs(cut.mean() - 0.5) < 0.02 and not (blended & cut).any()
    assert kstest(drawn.opacity[blended], beta(0.4, 0.4).cdf).pvalue > 0.01
    inside = cut & (drawn.corners > 0).all(axis=1) & (drawn.corners < 1).all(axis=1)
    assert (areas[cut] <= 1).all() and inside.any()
    assert kstest(drawn.rows / count, "uniform").pvalue > 0.01
    other = draw_overlays(Overlay(mixup=0.3, cutmix=0.5), 0, ids, (rows, view + 1), rows)
    assert (other.mixed != drawn.mixed).mean() > 0.2


def test_what_is_drawn_for_overlays_leaves_every_other_draw_alone(dataset):
    ids = dataset.ids[:5]
    purposes = ("augment", "policy", "overlay")
    assert len({tuple(sample_keys(SEED, purpose, ids, 1)) for purpose in purposes}) == 3


def test_the_program_of_mixed_views_has_a_digest_of_its_own(dataset):
    plain = Program(Augment(), SEED, dataset.size)
    changes = [Overlay(mixup=0.2), Overlay(cutmix=0.2), Overlay(mixup=0.2, alpha=1.0)]
    digests = {replace(plain, augment=Augment(mix=mix)).digest() for mix in changes}
    assert len(digests | {plain.digest()}) == 4


def test_images_are_mixed_in_the_batch_or_in_the_view_and_not_twice():
    with pytest.raises(ValueError, match=r"mix or augment\.mix"):
        Recipe(mix=Mix(mixup=0.1), augment=Augment(mix=Overlay(cutmix=0.1)))


def test_the_digest_of_the_code_covers_all_that_decides_what_a_view_looks_like():
    """Everything that the views import from the room, but for settings and for what brings stored pixels."""
    reached, waiting = set(), ["components.data.views", "components.data.policies"]
    brought = ("components.data.dataset", "components.data.loader", "components.data.parts")
    while waiting:
        name = waiting.pop()
        if name.startswith("components.data.") and not name.endswith("settings") and name not in {*reached, *brought}:
            reached.add(name)
            waiting += first_party(module_file(name))
    assert reached == set(VIEW_CODE)
