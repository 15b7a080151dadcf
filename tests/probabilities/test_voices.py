"""Who is heard and what each counts: means written out, gates, temperatures, refusals."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from small_stores import drawn

from components.errors import UserError
from components.probabilities.ensemble_settings import Ensemble
from components.probabilities.mixing import Voice, mixed, pooled
from components.probabilities.voices import choose
from components.settings import Params

LOW = {"val/kind/accuracy": 0.0, "val/kind/loss": 9.0, "val/trim/accuracy": 0.0, "val/trim/loss": 9.0}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    sayings = drawn(tmp_path_factory.mktemp("drawn"), count=240)
    return sayings.store, sayings.dataset


def chosen(both, bar=LOW, **wish):
    return choose(*both, Ensemble(**wish), bar)


def heard(choir, task="kind"):
    return {one.source: one.weight for one in choir.voices[task]}


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_weighted_mean_of_probabilities_is_that_of_each_softened_one(temperature):
    chance = np.random.default_rng(0)
    logits = [chance.normal(size=(5, 4)) for _ in range(2)]
    said = [torch.log_softmax(torch.from_numpy(one), dim=1) for one in logits]
    voices = [Voice("a", 0.75, 2.0), Voice("b", 0.25, 0.5)]
    parts = []
    for one, voice in zip(logits, voices, strict=True):
        powers = np.exp(one / (voice.temperature * temperature))
        parts.append(voice.weight * powers / powers.sum(axis=1, keepdims=True))
    assert np.allclose(pooled(said, voices, temperature, "single", "probabilities"), sum(parts))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_mean_of_logits_is_the_geometric_mean_of_probabilities_made_to_sum_to_one(temperature):
    chance = np.random.default_rng(1)
    said = [torch.log_softmax(torch.from_numpy(chance.normal(size=(5, 4))), dim=1) for _ in range(2)]
    product = np.exp(said[0].numpy()) ** (0.75 / 2.0) * np.exp(said[1].numpy()) ** (0.25 / 0.5)
    product **= 1 / temperature
    voices = [Voice("a", 0.75, 2.0), Voice("b", 0.25, 0.5)]
    found = pooled(said, voices, temperature, "single", "logits")
    assert np.allclose(found, product / product.sum(axis=1, keepdims=True))
    odds = [chance.normal(size=(5, 3)) for _ in range(2)]
    labels = [torch.nn.functional.logsigmoid(torch.from_numpy(one)) for one in odds]
    expected = 1 / (1 + np.exp(-(0.75 * odds[0] / 2.0 + 0.25 * odds[1] / 0.5) / temperature))
    assert np.allclose(pooled(labels, voices, temperature, "multi", "logits"), expected)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_equal_voices_are_the_plain_mean(kind):
    said = [torch.log_softmax(torch.randn(6, 3, generator=torch.Generator().manual_seed(n)), dim=1) for n in range(3)]
    voices = [Voice(str(number), 1 / 3) for number in range(3)]
    assert torch.allclose(pooled(said, voices, 2.0, kind, "probabilities"), mixed(said, 2.0, kind), atol=1e-7)


def test_weights_are_shares_by_task_and_nought_leaves_out(both):
    choir = chosen(both, weights={"deep": 3.0}, tasks={"trim": {"wide": 0.0}})
    assert heard(choir) == {"deep": 0.75, "wide": 0.25}
    assert heard(choir, "trim") == {"deep": 1.0}


def test_each_voice_has_the_temperature_that_fits_the_untouched_images_of_val(both):
    store, dataset = both
    rows = dataset.rows("val")
    labels = dataset.labels(dataset.tasks[0])[rows]
    for voice in chosen(both).voices["kind"]:
        said = store.log_probabilities(voice.source, "kind", store.rows_of(dataset.ids[rows]))[:, 0].astype(float)

        def loss(temperature, said=said):
            scaled = said / temperature
            logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
            return -logs[np.arange(len(rows)), labels][labels >= 0].mean()

        assert voice.temperature == pytest.approx(minimize_scalar(loss, bounds=(0.05, 20)).x, rel=1e-3)
    assert {one.temperature for one in chosen(both, calibrate=False).voices["kind"]} == {1.0}


def test_fitted_weights_lower_the_loss_on_val_and_leave_out_who_was_given_none(both):
    choir = chosen(both, fit=True)
    assert sum(heard(choir).values()) == pytest.approx(1) and choir.voices["trim"]
    assert heard(chosen(both, fit=True, weights={"deep": 0.0})) == {"wide": 1.0}


def test_who_does_not_beat_the_plain_student_is_left_out_task_by_task_with_a_word(both):
    choir = chosen(both, bar=LOW | {"val/trim/accuracy": 1.0})
    assert set(heard(choir)) == {"deep", "wide"} and choir.voices["trim"] == ()
    assert len(choir.notes) == 3 and "deep is no better than the plain student at trim" in choir.notes[0]
    assert "macro F1" in choir.notes[0] and "learnt from labels alone" in choir.notes[2]
    forced = chosen(both, bar=LOW | {"val/trim/accuracy": 1.0}, force=True)
    assert set(heard(forced, "trim")) == {"deep", "wide"} and "all the same" in forced.notes[0]


def test_of_equal_accuracy_the_lower_loss_is_better(both):
    from components.probabilities.voices import gated, tried

    store, dataset = both
    (deep, _), _ = tried(store, dataset, dataset.tasks[0], store.sources, True)
    for loss, passes in ((deep.loss + 1e-6, True), (deep.loss, False), (deep.loss - 1e-6, False)):
        bar = {"val/kind/accuracy": deep.score, "val/kind/loss": loss}
        assert bool(gated(dataset.tasks[0], [deep], bar, False)[0]) is passes


def test_without_any_teacher_worth_hearing_nothing_is_learnt(both):
    with pytest.raises(UserError, match="no teacher is better") as caught:
        chosen(both, bar=LOW | {"val/trim/accuracy": 1.0, "val/kind/accuracy": 1.0})
    assert "force: true" in caught.value.remedy


def test_a_student_without_figures_is_no_bar(both):
    choir = chosen(both, bar={})
    assert set(heard(choir)) == {"deep", "wide"} and "no figures of kind on val" in choir.notes[0]


@pytest.mark.parametrize(("wish", "said"), [
    ({"weights": {"depe": 1.0}}, "weight to depe.*Did you mean 'deep'"),
    ({"tasks": {"kin": {"deep": 1.0}}}, "names kin, which is no task.*Did you mean 'kind'"),
    ({"tasks": {"kind": {"depe": 1.0}}}, "weight to depe"),
])
def test_names_that_are_not_there_are_refused(both, wish, said):
    with pytest.raises(UserError, match=said):
        chosen(both, **wish)


def test_weights_below_nought_are_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("distill: {teachers: {weights: {deep: -1}}}")
    with pytest.raises(UserError, match="weights of at least 0"):
        Params.load(tmp_path / "params.yaml")
