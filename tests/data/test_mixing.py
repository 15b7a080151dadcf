import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import beta, kstest
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from components.data.batch_settings import Mix
from components.data.chance import generator
from components.data.loader import Batch
from components.data.mixing import draw_mixture, mix_images, shares
from components.data.tasks import Task
from components.losses.distillation import Blend, distilled
from components.losses.objective import supervised
from components.models.outputs import Outputs

SIZE = (19, 26)
KIND, TRIM = Task("kind", "single", ("a", "b", "c")), Task("trim", "multi", ("x", "y"))


def drawn(wish, steps, count=6):
    found = [draw_mixture(wish, 4, step, count, SIZE) for step in range(steps)]
    return [one for one in found if one is not None]


def a_batch(count=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = {"kind": torch.from_numpy(rng.integers(0, 3, count)),
              "trim": torch.from_numpy(rng.integers(0, 2, (count, 2)).astype(np.float32))}
    pixels = torch.from_numpy(rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8))
    weight = torch.from_numpy(rng.uniform(0.1, 3, count).astype(np.float32))
    return Batch(np.arange(10, 10 + count), np.arange(1, 1 + count), pixels, labels, weight)


def said(count=6, seed=1):
    chance = torch.Generator().manual_seed(seed)
    logits = {"kind": torch.randn(count, 3, generator=chance), "trim": torch.randn(count, 2, generator=chance)}
    return Outputs(logits, torch.zeros(count, 1), torch.zeros(count, 1, 1, 1))


@pytest.mark.parametrize("each", ["batch", "sample"])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixed_image_holds_as_much_of_each_as_is_said(kind, each):
    """Own images are 1, partners 0: the mean over the pixels is the share that is kept, in every single draw."""
    for mixture in drawn(Mix(**{kind: 0.7}, each=each), 40):
        for row in range(6):
            images = torch.zeros(6, 3, *SIZE)
            images[row] = 1.0
            if mixture.partners[row] == row:
                continue
            mixed = mix_images(images, mixture)[row]
            assert float(mixed.mean()) == pytest.approx(float(mixture.kept[row]), abs=1e-6)
            values = set(mixed.unique().tolist())
            assert len(values) == 1 if kind == "mixup" else values <= {0.0, 1.0}


def test_a_rectangle_shows_the_partner_and_what_is_around_it_the_image():
    images = torch.rand(6, 3, *SIZE)
    for mixture in drawn(Mix(cutmix=1.0, each="sample"), 20):
        mixed = mix_images(images, mixture)
        for row, (top, left, bottom, right) in enumerate(mixture.box):
            expected = images[row].clone()
            expected[:, top:bottom, left:right] = images[mixture.partners[row], :, top:bottom, left:right]
            assert torch.equal(mixed[row], expected)


def test_shares_follow_the_beta_distributions_and_the_probabilities():
    wish = Mix(mixup=0.5, alpha=1.1, cutmix=0.2, cutmix_alpha=0.6)
    found = [draw_mixture(wish, 1, step, 2, (1000, 1000)) for step in range(3000)]
    blended = [one.opacity[0] for one in found if one is not None and one.opacity[0] < 1]
    cut = [one for one in found if one is not None and one.opacity[0] == 1]
    assert abs(len(blended) / 3000 - 0.5) < 0.03 and abs(len(cut) / 3000 - 0.2) < 0.03
    assert kstest(blended, beta(1.1, 1.1).cdf).pvalue > 0.001
    assert len(cut) > 500


def test_a_rectangle_has_the_area_drawn_and_is_cut_off_at_the_border():
    """Written out from the step's draws: middle, then area 1 - Beta(alpha, alpha); in a square image it is a square."""
    whole = 0
    for step in range(100):
        mixture = draw_mixture(Mix(cutmix=1.0, cutmix_alpha=0.7), 2, step, 3, (1000, 1000))
        chance = generator(2, "mix", step)
        chance.random(1)
        y, x = chance.random(2) * 1000
        chance.beta(1.1, 1.1)
        side = 1000 * math.sqrt(1 - chance.beta(0.7, 0.7))
        edges = [y - side / 2, x - side / 2, y + side / 2, x + side / 2]
        box = [0, 0, 0, 0] if mixture is None else mixture.box[2]
        if max(edges) < 1000 and min(edges) > 0:
            whole += 1
            assert mixture.kept[0] == pytest.approx(1 - (side / 1000) ** 2, abs=2e-3)
        if mixture is not None:
            assert all(abs(found - min(max(edge, 0), 1000)) <= 0.5 for found, edge in zip(box, edges, strict=True))
    assert 15 < whole < 90


def test_a_mixture_depends_on_seed_and_step_alone():
    wish = Mix(mixup=0.5, cutmix=0.5, each="sample")
    one, two = (draw_mixture(wish, 4, 9, 8, SIZE) for _ in range(2))
    other, elsewhere = draw_mixture(wish, 4, 10, 8, SIZE), draw_mixture(wish, 5, 9, 8, SIZE)
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in vars(one))
    assert not np.array_equal(one.kept, other.kept) and not np.array_equal(one.kept, elsewhere.kept)
    assert sorted(one.partners) == list(range(8)) and len(set(one.kept.tolist())) > 4


def test_nothing_is_mixed_by_default_and_the_batch_is_the_same_object():
    batch = a_batch()
    assert all(draw_mixture(Mix(), 0, step, 6, SIZE) is None for step in range(20))
    assert shares(batch, None) == [batch]


def test_regression_9_mixup_permutes_the_weights_with_the_labels():
    """The loss of a mixed batch, image by image: each label counts by its own sample's weight and by its share."""
    batch, outputs, objective = a_batch(), said(), supervised((KIND, TRIM), 0.1)
    mixture = drawn(Mix(mixup=1.0, each="sample"), 1)[0]
    parts = shares(batch, mixture)
    found = sum((objective(outputs, part)[0] * part.weight).sum() for part in parts)
    expected, weight = 0.0, 0.0
    for row in range(6):
        alone = Outputs({name: values[row : row + 1] for name, values in outputs.logits.items()}, None, None)
        for owner, share in ((row, mixture.kept[row]), (mixture.partners[row], 1 - mixture.kept[row])):
            loss = objective(alone, batch.taken(np.array([owner])))[0].item()
            expected += share * batch.weight[owner].item() * loss
            weight += share * batch.weight[owner].item()
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert sum(part.weight.sum() for part in parts).item() == pytest.approx(weight, rel=1e-5)
    assert not torch.allclose(parts[1].weight / (1 - torch.from_numpy(mixture.kept)), batch.weight)


def test_mixing_losses_is_mixing_targets_for_both_kinds_of_task():
    """Cross-entropies are linear in the target, so there is nothing that mixed targets could add."""
    outputs, batch = said(), a_batch()
    batch = Batch(batch.rows, batch.view, batch.pixels, batch.labels, torch.ones(6))
    mixture = drawn(Mix(mixup=1.0, each="sample"), 1)[0]
    kept, order = torch.from_numpy(mixture.kept)[:, None], torch.from_numpy(mixture.partners)
    losses = sum(supervised((KIND, TRIM), 0.1)(outputs, part)[0] * part.weight for part in shares(batch, mixture))
    single = one_hot(batch.labels["kind"], 3) * 0.9 + 0.1 / 3
    several = batch.labels["trim"] * 0.9 + 0.05
    single, several = (kept * target + (1 - kept) * target[order] for target in (single, several))
    expected = -(single * outputs.logits["kind"].log_softmax(1)).sum(1)
    expected += binary_cross_entropy_with_logits(outputs.logits["trim"], several, reduction="none").mean(1)
    assert torch.allclose(losses, expected, atol=1e-5)


def test_in_distillation_the_partner_brings_its_own_teachers_words_of_its_own_view():
    table = torch.rand(40, 9, 3).log_softmax(2).exp()
    objective = distilled((KIND,), lambda task, batch: table[batch.rows, batch.view], Blend(2.0, 1.0))
    batch, outputs = a_batch(), said()
    mixture = drawn(Mix(cutmix=1.0), 1)[0]
    own, partner = shares(batch, mixture)
    found = objective(outputs, partner)[0]
    student = (outputs.logits["kind"] / 2).log_softmax(1)
    for row, other in enumerate(mixture.partners):
        target = table[batch.rows[other], batch.view[other]]
        expected = 4 * (target * (target.log() - student[row])).sum().item()
        assert found[row].item() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(own.weight, batch.weight * torch.from_numpy(mixture.kept))


def test_images_without_a_partner_of_their_own_stay_as_they_are():
    images = torch.rand(6, 3, *SIZE)
    for mixture in drawn(Mix(mixup=0.3, each="sample"), 20):
        whole = mixture.kept == 1
        assert torch.equal(mix_images(images, mixture)[whole], images[whole])
        assert not torch.equal(mix_images(images, mixture), images)


def test_probabilities_that_add_up_to_more_than_1_are_refused():
    with pytest.raises(ValidationError, match="add up to at most 1"):
        Mix(mixup=0.7, cutmix=0.4)
